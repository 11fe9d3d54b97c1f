"""What a benchmark leaves behind: tables on the screen, and JSON in `results/`.

docs/_hooks/benchmark_tables.py turns the JSON into the site's page of tables.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

_PACKAGES = ("thor-geo", "torch", "lightning", "earthengine-api", "pyarrow", "zarr")

#: Exit codes of a benchmark that ran to its end and whose claim does not hold, and of one that did
#: not run because there is no GPU. 1 is Python's own after an exception, 2 argparse's.
EXIT_FAULTS, EXIT_NO_GPU = 3, 4

# A table with more columns is shown on its side, if that makes it much narrower.
_WIDE = 7

#: A row of a table; all rows of a table have the same keys.
Row = dict[str, Any]


def parser(description: str | None, quick: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of a benchmark's arguments.

    Args:
        description: The module's docstring.
        quick: What `--quick` leaves out; None for a benchmark without a short form.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if quick is not None:
        made.add_argument("--quick", action="store_true", help=f"{quick}; writes nothing")
    return made


def machine() -> dict[str, Any]:
    """Describe this machine and its packages, without names of hosts, users or paths."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.exists() else []
    return {
        "processor": names[0].strip() if names else platform.machine(),
        "gpu": _gpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _gpu() -> str | None:
    """Return the GPU's name where the benchmark has loaded PyTorch and there is one."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@dataclass(kw_only=True)
class Report:
    """The outcome of one benchmark.

    Attributes:
        name: Name of the file in `results/`, without suffix; campaigns begin with ``chaos_``.
        claim: What must hold, in a sentence.
        quick: Whether this is the short form, which is not evidence.
        command: How to repeat it.
        rows: What was measured.
        faults: What does not hold, one sentence each; empty if the claim holds.
        figures: Further numbers by name; a list of rows is a further table.
        notes: What a reader must know to judge the rows.
    """

    name: str
    claim: str
    quick: bool = False
    command: str = ""
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        """Name the command after the file, unless it is given."""
        module = self.name.replace("chaos_", "chaos.")
        self.command = self.command or f"python -m benchmarks.{module}"

    def add(self, row: Row, faults: Sequence[str] = ()) -> None:
        """Add a row and what it shows to be wrong, and print both: some benchmarks take hours."""
        self.rows.append(row)
        self.faults += faults
        print(*(f"{key}={_cell(value)}" for key, value in row.items() if value != ""), sep="  ")
        for fault in faults:
            print(f"    FAULT: {fault}")
        sys.stdout.flush()

    def finish(self, folder: Path = RESULTS) -> int:
        """Print the tables and write ``<name>.json``; return the exit code.

        The short form is only printed: it must not replace the evidence.

        Returns:
            0, or `EXIT_FAULTS` if the claim does not hold.
        """
        content = asdict(self)
        content["seconds"] = round(time.monotonic() - content.pop("began"), 1)
        content["holds"] = not self.faults
        content["machine"] = machine()
        content["finished"] = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        print(f"\n{document(content)}\n")
        if not self.quick:
            write_result(self.name, content, folder)
        return EXIT_FAULTS if self.faults else 0


def write_result(name: str, content: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Write ``<name>.json`` and say so."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def document(result: Mapping[str, Any]) -> str:
    """Return a result as Markdown: claim, command and machine, faults, figures and tables.

    Args:
        result: The content of one file of `results/` that a `Report` wrote.
    """
    about, figures = result["machine"], result["figures"]
    tables = {
        name: value
        for name, value in figures.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    parts = [
        about.get("gpu") or about.get("processor") or about["system"],
        f"{about['cores']} cores",
        f"{about['memory_gb']} GB",
        f"Python {about['python']}",
        *(f"{name} {about['packages'].get(name)}" for name in ("torch", "lightning")),
    ]
    lines = [
        f"**{'Holds' if result['holds'] else 'Does not hold'}:** {result['claim']}",
        "",
        f"`{result['command']}`, {result['seconds']:,.0f} s on {result['finished'][:10]}; "
        f"{', '.join(parts)}.",
        "",
        *(f"- **Does not hold:** {fault}" for fault in result["faults"]),
        *(f"- {name}: {_figure(v)}" for name, v in figures.items() if name not in tables),
        *(f"- {note}" for note in result["notes"]),
        "",
        table(_turned(result["rows"])),
        *(f"\n{name}:\n\n{table(_turned(rows))}" for name, rows in tables.items()),
    ]
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table whose columns line up on the screen as well."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def renewed(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with its generated tables replaced.

    Args:
        text: The page, with ``<!-- table: NAME -->`` ... ``<!-- end -->`` around each table.
        tables: The new tables by name.

    Raises:
        ValueError: If the page has no place for a table.
    """
    for name, content in tables.items():
        place = re.compile(f"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"no place for the table {name!r}")
        text = place.sub(lambda match, new=content: f"{match[1]}\n{new}\n\n{match[2]}", text)
    return text


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    if value is None:
        return ""
    return " ".join(str(value).split()).replace("|", "\\|")


def _figure(value: object) -> str:
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value}"


def _turned(rows: Sequence[Row]) -> Sequence[Row]:
    """Return a wide table with its columns as rows; the runs are numbered."""
    if not rows or len(rows[0]) <= max(_WIDE, 2 * len(rows)):
        return rows
    return [
        {"": name, **{str(k): row[name] for k, row in enumerate(rows, start=1)}} for name in rows[0]
    ]
