"""``thor-geo predict --help``: a page made from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser

from datamodules import CompositeDataModule
from thor_geo.arguments import LINKED
from thor_geo.tasks import THOREmbeddingTask
from thor_geo.writers import RunWriter

#: The sections of a run, and the classes they configure unless another is named.
CLASSES: Mapping[str, type] = {
    "model": THOREmbeddingTask,
    "data": CompositeDataModule,
    "output": RunWriter,
}

#: Where to look for the keys.
HINT = "`thor-geo predict --help` lists the keys."

# Longer defaults go into the text, so that the column stays narrow.
_LONG = 16

_HEAD = """\
usage: thor-geo predict -c CONFIG [-c CONFIG ...] [--section.key=value ...]

Embed an area: composites in, THOR embeddings out. Later configs and keys win.

  thor-geo predict -c configs/quickstart.yaml
  thor-geo predict -c configs/gee.yaml --data.project=my-project --output.dir=out/oslo
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
command tries them again; 75 a passing trouble, the same command continues; 130 stopped by Ctrl-C
and 143 by SIGTERM, likewise.
"""


def wants_help(args: list[str]) -> bool:
    """Return whether the page is asked for (not ``--data.help``, which is the parser's)."""
    return "-h" in args or "--help" in args


def page(width: int | None = None) -> str:
    """Return the page of ``thor-geo predict``.

    Args:
        width: Columns; None for the terminal's, 60 to 120.
    """
    columns = width or min(shutil.get_terminal_size((100, 24)).columns, 120)
    sections = [_section(name, kind, max(columns, 60)) for name, kind in CLASSES.items()]
    return "\n".join([_HEAD, *sections, _TRAINER])


def _section(name: str, kind: type, width: int) -> str:
    lines = [f"{name}.*: {kind.__name__}"]
    rows = list(_rows(name, kind))
    first, second = (max(len(row[k]) for row in rows) for k in (0, 1))
    for key, what, doc in rows:
        lead = f"  {key:<{first}}  {what:<{second}}  "
        # Where the columns leave no room, the text goes below them.
        if width - len(lead) < 30:
            lines.append(lead.rstrip())
            lines += textwrap.wrap(doc, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
        else:
            lines += textwrap.wrap(
                doc, width, initial_indent=lead, subsequent_indent=" " * len(lead)
            )
    return "\n".join(lines) + "\n"


def _rows(section: str, kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield key, type with default, and meaning of every key that can be set."""
    init = inspect.getattr_static(kind, "__init__")
    hints = get_type_hints(init)
    parsed = docstring_parser.parse(inspect.getdoc(init) or "").params
    docs = {param.arg_name: param.description or "" for param in parsed}
    for name, parameter in inspect.signature(init).parameters.items():
        if name == "self" or (section == "model" and name in LINKED):
            continue
        hint, doc, default = hints[name], _plain(docs[name]), parameter.default
        if any(choice not in doc for choice in _choices(hint)):
            doc = f"{doc} One of {', '.join(_choices(hint))}."
        what = " required" if default is parameter.empty else f" = {_yaml(default)}"
        if len(what) > _LONG:
            what, doc = "", f"{doc} Default {_yaml(default)}."
        yield name, f"{_type(hint)}{what}", doc
        if is_dataclass(hint):
            fields = docstring_parser.parse(inspect.getdoc(hint) or "").params
            types = get_type_hints(hint)
            for field in fields:
                key = field.arg_name
                yield f"{name}.{key}", _type(types[key]), _plain(field.description or "")


def _plain(doc: str) -> str:
    """Return a docstring's text on one line, and null as YAML calls it."""
    return re.sub(r"\bNone\b", "null", " ".join(doc.split()).replace("``", "").replace("`", ""))


def _choices(hint: Any) -> list[str]:
    return [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []


def _type(hint: Any) -> str:
    """Return a type as the configs name it."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Literal:
        return "str"
    if NoneType in get_args(hint):
        return " | ".join(_type(part) for part in parts)
    if get_origin(hint) is tuple:
        return f"{len(parts)} {_type(parts[0])}s"
    if get_origin(hint) is not None:
        return "list"
    return "path" if hint is Path else str(hint.__name__)


def _yaml(value: object) -> str:
    """Return a default as YAML has it."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
