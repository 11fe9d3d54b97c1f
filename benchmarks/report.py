"""What a benchmark leaves behind: a table on the screen, and JSON in `results/`.

`python -m benchmarks.report chaos` makes results/chaos.md of results/chaos_*.json, and
`python -m benchmarks.report performance` renews the tables of docs/performance.md.
"""

from __future__ import annotations

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

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"

_PACKAGES = ("thor-geo", "torch", "lightning", "earthengine-api", "pyarrow", "zarr")

#: Exit codes of a benchmark that has run and whose claim does not hold, and of one that has not
#: run for want of a GPU. 1 is Python's own after an exception, 2 argparse's.
EXIT_FAULTS, EXIT_NO_GPU = 3, 4

#: A row of a table; all rows of a table have the same keys.
Row = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """Describe this machine and what is installed, without names of hosts, users or paths."""
    return {
        "processor": _processor(),
        "gpu": _gpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    """Return what the processor calls itself (Linux), or its architecture."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.exists() else []
    return names[0].strip() if names else platform.machine()


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
        name: Of the file in `results/`, without suffix; the campaigns' begin with ``chaos_``.
        claim: What must hold, in a sentence.
        command: How to repeat it.
        quick: Whether this is the short form, which is not the evidence.
        rows: What was done and found.
        faults: What does not hold, one sentence each; empty if the claim does.
        figures: Further numbers by name; a list of rows is a further table.
        notes: What a reader must know to judge the rows.
    """

    name: str
    claim: str
    command: str
    quick: bool = False
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic, repr=False)

    @property
    def holds(self) -> bool:
        """Whether the claim does."""
        return not self.faults

    def finish(self, folder: Path = RESULTS) -> int:
        """Print the tables and write ``<name>.json``; return the exit code.

        The short form is printed only: it must not take the place of the evidence.

        Returns:
            0, or `EXIT_FAULTS` if the claim does not hold.
        """
        content = asdict(self)
        content["seconds"] = round(time.monotonic() - content.pop("began"), 1)
        content["holds"] = self.holds
        content["machine"] = machine()
        content["finished"] = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        print(f"\n{self.claim}\n\n{table(self.rows)}\n")
        numbers, tables = told_apart(self.figures)
        for name, value in numbers.items():
            print(f"{name}: {value}")
        for name, rows in tables.items():
            print(f"\n{name}:\n\n{table(rows)}\n")
        for note in self.notes:
            print(f"note: {note}")
        for fault in self.faults:
            print(f"FAULT: {fault}")
        print("holds" if self.holds else f"does not hold: {len(self.faults)} faults")
        if not self.quick:
            folder.mkdir(exist_ok=True)
            path = folder / f"{self.name}.json"
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"written: {path.relative_to(ROOT)}")
        return 0 if self.holds else EXIT_FAULTS


def told_apart(figures: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Sequence[Row]]]:
    """Return a report's single numbers, and its further tables."""
    tables = {
        name: value
        for name, value in figures.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    return {name: figures[name] for name in figures if name not in tables}, tables


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table, whose columns line up on the screen too."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def renewed(text: str, blocks: Mapping[str, str]) -> str:
    """Return a page with its generated blocks replaced, each between its two comments.

    Args:
        text: The page, with ``<!-- table: NAME -->`` ... ``<!-- end -->`` for each block.
        blocks: The new blocks by name.

    Raises:
        ValueError: If a block has no place in the page.
    """
    for name, content in blocks.items():
        place = re.compile(f"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"no place for the table {name!r}")
        text = place.sub(lambda found, new=content: f"{found[1]}\n{new}\n\n{found[2]}", text)
    return text


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    if value is None:
        return ""
    return " ".join(str(value).split()).replace("|", "\\|")


def _document(content: dict[str, Any]) -> str:
    about = content["machine"]
    numbers, tables = told_apart(content["figures"])
    lines = [
        f"## {content['name'].removeprefix('chaos_')}",
        "",
        content["claim"],
        "",
        f"{'**Holds**' if content['holds'] else '**Does not hold**'}. `{content['command']}`, "
        f"{content['seconds']:,.0f} s on {about['cores']} cores, {about['memory_gb']} GB, Python "
        f"{about['python']}, torch {about['packages']['torch']}; {content['finished'][:10]}.",
        "",
        *(f"- Fault: {fault}" for fault in content["faults"]),
        *(f"- {name}: {_cell(value)}" for name, value in numbers.items()),
        *(f"- {note}" for note in content["notes"]),
        "",
        table(content["rows"]),
        "",
        *(f"{name}:\n\n{table(rows)}\n" for name, rows in tables.items()),
    ]
    return "\n".join(lines)


def main(group: str) -> int:
    """Write ``results/<group>.md`` from all ``results/<group>_*.json``.

    Returns:
        0, or 1 if one of the claims does not hold.
    """
    files = sorted(RESULTS.glob(f"{group}_*.json"))
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    parts = [f"# {group.capitalize()}", "", "Generated from the JSON files beside it.", ""]
    parts += [_document(content) for content in contents]
    path = RESULTS / f"{group}.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    for content in contents:
        print(f"{content['name']}: {'holds' if content['holds'] else 'DOES NOT HOLD'}")
    print(f"written: {path.relative_to(ROOT)}")
    return 0 if all(content["holds"] for content in contents) else 1


if __name__ == "__main__":
    if sys.argv[1] == "performance":
        from benchmarks.performance import renew

        sys.exit(renew())
    sys.exit(main(sys.argv[1]))
