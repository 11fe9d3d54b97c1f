"""``thor-geo predict --help``, and that of fetch and stats, before anything heavy is loaded."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from thor_geo.cli.settings import CLASSES, SettingDoc, section_settings

#: Where to look for the keys.
HINT = "`thor-geo predict --help` lists the keys."

_HEAD = """\
usage: thor-geo predict -c CONFIG [-c CONFIG ...] [--section.key=value ...]

Embed an area: composites in, THOR embeddings out. Later configs and keys win.

  thor-geo predict -c configs/quickstart.yaml
  thor-geo predict -c configs/gee.yaml --data.earthengine.project=my-project --output.dir=out/oslo
  thor-geo predict -c configs/gee.yaml --job 17/64

  -h, --help         this page
  -c, --config FILE  YAML with the keys below; may be given several times
  --job I/N          do the I-th of N parts, each a process of its own; I/N%M if M run at once
  --strict           stop at the first tile that cannot be produced
  --print_config     the whole configuration as YAML, all of Lightning's Trainer too; runs nothing
  --seed_everything  int or bool, default 0: seed of everything random
"""

_TRAINER = """\
trainer.*: Lightning's Trainer, the keys that matter here
  accelerator  auto, cpu, gpu or mps
  devices      number of processes, one for each device; auto takes every device
  num_nodes    number of machines; each is started with the same command
  strategy     auto; ddp for several devices
  precision    32-true; bf16-mixed or 16-mixed on GPUs
  All of Lightning's Trainer can be set; --print_config shows everything.

Other models and data, by class_path:
  --model.class_path=package.MyModule --model.KEY=VALUE    any LightningModule with predict_step
  --data.class_path=package.MyData --data.KEY=VALUE        any LightningDataModule
  --model.help CLASS, --data.help CLASS                    the keys of a class

Exit codes: 0 complete; 2 the message says what to change; 3 tiles failed or are missing, the same
command tries them again; 75 a temporary failure, the same command continues; 130 stopped by Ctrl-C
and 143 by SIGTERM, likewise.
"""


_FETCH = """\
usage: thor-geo fetch -c CONFIG [--job I/N] [--section.key=value ...]

Fetch the composites of a run into the cache, e.g. on a machine without a GPU; `thor-geo predict`
with the same config then finds them there. Takes the arguments of `thor-geo predict`; nothing is
written to output.dir, and the model is not loaded.

  thor-geo fetch -c configs/gee.yaml
  thor-geo fetch -c configs/gee.yaml --job 3/8%2

Run it again to fetch what is missing and check what is there. Exit codes: 0 everything is in the
cache; 2 the message says what to change; 3 some blocks could not be fetched, run it again; 75 a
temporary failure, run it again.
"""


_STATS = """\
usage: thor-geo stats -c CONFIG [--to FILE] [--overwrite] [--section.key=value ...]

Measure mean and standard deviation of every channel over a run's composites, or a folder's
GeoTIFFs, to normalise by them. Takes the arguments of `thor-geo predict`; fetches what the cache
does not hold. Every pixel with an observation counts, in each tile that holds it; --job 3/64
measures a part of the area.

  thor-geo stats -c run.yaml
  thor-geo stats -c run.yaml --to oslo.json
  thor-geo stats -c configs/folder.yaml --to olci.json
  thor-geo predict -c run.yaml --data.normalize=dataset --data.statistics=oslo.json

  --to FILE    the file to write; else the config's data.statistics, else statistics.json in the
               current directory
  --overwrite  replace an earlier file

Nothing is written to output.dir, and the model is not loaded. Exit codes: 0 the file is written; 2
the message says what to change; 3 some tiles could not be read, nothing was written, run it again;
75 a temporary failure, run it again.
"""

# Characters of a default in the table of keys; a longer one is left out.
_LONG = 10

_PAGES = {"fetch": _FETCH, "stats": _STATS}


def wants_help(args: Sequence[str]) -> bool:
    """Return whether a command's page is asked for.

    Not with ``--data.help CLASS``, which is the parser's.

    Args:
        args: Arguments, the first being the command.
    """
    return args[0] in ("predict", *_PAGES) and ("-h" in args or "--help" in args)


def page(command: str = "predict", width: int | None = None) -> str:
    """Return the page of ``thor-geo predict`` or a command that takes its arguments.

    Args:
        command: Which of them: ``predict``, ``fetch`` or ``stats``.
        width: Columns of the table of keys; None for the terminal's, 60 to 120.
    """
    if command in _PAGES:
        return _PAGES[command]
    columns = width or min(shutil.get_terminal_size((100, 24)).columns, 120)
    sections = [_section(name, max(columns, 60)) for name in CLASSES]
    return "\n".join([_HEAD, *sections, _TRAINER])


def _section(section: str, width: int) -> str:
    """Return the tables of a section and its groups."""
    rows = section_settings(section)
    tables = [_table(section, CLASSES[section].rpartition(".")[2], rows, width)]
    groups = dict.fromkeys(row.group for row in rows if row.group)
    for group in groups:
        kind = next(row.kind for row in rows if row.key == group)
        members = [replace(row, key=row.name) for row in rows if row.group == group]
        tables.append(_table(f"{section}.{group}", kind, members, width))
    return "\n".join(tables)


def _table(title: str, kind: str, settings: Sequence[SettingDoc], width: int) -> str:
    rows = [(row.key, _what(row), row.text) for row in settings if not row.group]
    lines = [f"{title}.*: {kind}"]
    first, second = (max(len(row[k]) for row in rows) for k in (0, 1))
    for key, kind_text, text in rows:
        lead = f"  {key:<{first}}  {kind_text:<{second}}  "
        # Where the columns leave no room, the text goes below them.
        if width - len(lead) < 30:
            lines.append(lead.rstrip())
            lead = " " * 6
        indent = " " * len(lead)
        lines += textwrap.wrap(
            text, width, initial_indent=lead, subsequent_indent=indent, break_on_hyphens=False
        )
    return "\n".join(lines) + "\n"


def _what(row: SettingDoc) -> str:
    """Return type and default; no default where it is null, or too long for a column."""
    if row.default is None:
        return f"{row.kind}, required"
    silent = row.default == "null" or len(row.default) > _LONG
    return row.kind if silent else f"{row.kind} = {row.default}"
