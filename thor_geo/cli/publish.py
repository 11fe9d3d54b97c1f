"""``thor-geo publish``: a STAC collection and a page for a run, and a look at its address."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thor_geo.cli.options import add_overwrite, add_run, command_parser, run_of
from thor_geo.support.redact import redact
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from thor_geo.publish import ServedFault

_EXAMPLES = """\
examples:
  thor-geo publish out/oslo --licence CC-BY-4.0 --provider "Oslo Mapping"
  thor-geo publish s3://my-bucket/oslo --licence CC-BY-4.0 --url https://data.example.org/oslo

Writes into the run a STAC collection (collection.json), an item for each UTM zone and time window
(items/), one for the model (model.json), and a page for people (index.html). Their links are
relative, so that they stay right wherever the folder is copied. The same run and options give the
same bytes, and files that are right already stay.

With --url, asks that address for the files as browsers and libraries do, and says what keeps some
of them out: CORS, range requests, content types, compression. Exit codes: 0; 1 something is wrong
with the address; 2 the message says what to change.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo publish``."""
    parser = command_parser(
        "publish", "Describe a finished run for catalogues and for people.", _EXAMPLES
    )
    add_run(parser)
    parser.add_argument(
        "--licence",
        "--license",
        metavar="ID",
        help="licence of the embeddings, from the SPDX list, e.g. CC-BY-4.0 (default: none stated)",
    )
    parser.add_argument("--title", help="title (default: made from the name of the run)")
    parser.add_argument(
        "--description", help="a few sentences (default: made from the run's settings)"
    )
    parser.add_argument("--provider", metavar="NAME", help="who gives the embeddings away")
    parser.add_argument(
        "--url", metavar="URL", help="https:// address at which the run is served; it is checked"
    )
    add_overwrite(parser, "what was published before")
    return parser


def run_publish(args: Sequence[str]) -> int:
    """Publish a run, and check its address if there is one.

    Args:
        args: Arguments after ``thor-geo publish``.

    Returns:
        0, or 1 if something is wrong with the address.

    Raises:
        ConfigError: If an argument is invalid, or other files would be replaced.
        RunDirectoryError: If the directory holds no run, or an unfinished or a damaged one, or
            cannot be written.
    """
    options = parser().parse_args(args)
    from thor_geo.publish import Terms, check_served, publish_run
    from thor_geo.runs.opened_run import read_run

    terms = Terms(
        licence=options.licence,
        title=options.title,
        description=options.description,
        provider=options.provider,
        url=options.url,
    )
    opened = read_run(run_of(options))
    published = publish_run(opened, terms, overwrite=options.overwrite, progress=True)
    for name in published.contents:
        state = "written" if name in published.changed else "as it was"
        print(redact(f"  {state:<9} {opened.run.path / name}"), flush=True)
    if terms.licence is None:
        print("  note      no licence is stated: add --licence, e.g. --licence CC-BY-4.0")
    if terms.url is None:
        return 0
    faults = check_served(terms.url, published)
    print(redact(served_text(terms.url, faults)))
    return 1 if faults else 0


def served_text(url: str, faults: Sequence[ServedFault]) -> str:
    """Return what is wrong with an address as text: each remedy once.

    Args:
        url: The address.
        faults: What is wrong.
    """
    if not faults:
        return f"  served    {url}: CORS, ranges and content types are as readers need them"
    files: dict[str, dict[str, list[str]]] = {}
    for fault in faults:
        files.setdefault(fault.remedy, {}).setdefault(fault.problem, []).append(fault.file)
    lines = [f"  served    {url}: {counted(len(faults), 'fault')}"]
    for remedy, problems in files.items():
        lines += [f"    {', '.join(names)}: {problem}" for problem, names in problems.items()]
        lines.append(f"      {remedy}")
    return "\n".join(lines)
