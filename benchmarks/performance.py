"""`make bench`: every benchmark of docs/performance.md, one after the other, then the page.

    python -m benchmarks.performance                # all of them; some need minutes each
    python -m benchmarks.performance growth merge   # some
    python -m benchmarks.performance --quick        # short forms, which write nothing
    python -m benchmarks.report performance         # runs none: renews the page from results/*.json

The page's tables are made of the results; its text and its history are written by hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import (
    EXIT_FAULTS,
    EXIT_NO_GPU,
    RESULTS,
    ROOT,
    Row,
    renewed,
    table,
    told_apart,
)

DOCS = ROOT / "docs" / "performance.md"

#: The results that the page shows, in its order (results/NAME.json), each with the benchmark that
#: writes it, a module here.
SHOWN = {
    "encoder": "encoder",
    "encoder_first_tile": "encoder",
    "encoder_memory": "encoder",
    "gpu_encoder": "gpu_encoder",
    "reading": "reading",
    "pipeline": "pipeline",
    "fetch": "fetch",
    "startup": "startup",
    "storage": "storage",
    "growth": "growth",
    "planning": "planning",
    "merge": "merge",
}

#: The benchmarks in the page's order.
BENCHMARKS = tuple(dict.fromkeys(SHOWN.values()))

#: What a benchmark's exit code says; any other is that of one which broke off.
_OUTCOMES = {0: "holds", EXIT_FAULTS: "DOES NOT HOLD", EXIT_NO_GPU: "not run: no GPU"}

# A table with more columns is shown on its side, if that makes it much narrower.
_WIDE = 7


def block(name: str, folder: Path = RESULTS) -> str:
    """Return what the page says of one result, the last of its benchmark.

    Args:
        name: One of `SHOWN`.
        folder: Where the results are.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return f"Not run yet: `python -m benchmarks.{SHOWN[name]}`."
    result = json.loads(path.read_text(encoding="utf-8"))
    numbers, tables = told_apart(result["figures"])
    lines = [
        f"**{'Holds' if result['holds'] else 'Does not hold'}:** {result['claim']}",
        "",
        f"`{result['command']}`, {result['seconds']:,.0f} s on {result['finished'][:10]}; "
        f"{described(result['machine'])}.",
        "",
        *(f"- **Does not hold:** {fault}" for fault in result["faults"]),
        *(f"- {what}: {_figure(value)}" for what, value in numbers.items()),
        *(f"- {note}" for note in result["notes"]),
        *([""] if result["faults"] or result["figures"] or result["notes"] else []),
        table(_turned(result["rows"])),
        *(f"\n{what}:\n\n{table(_turned(rows))}" for what, rows in tables.items()),
    ]
    return "\n".join(lines)


def described(machine: Mapping[str, Any]) -> str:
    """Return a machine in words: processor, cores, memory, GPU and versions."""
    packages = machine["packages"]
    parts = [
        machine.get("processor") or machine["system"],
        f"{machine['cores']} cores",
        f"{machine['memory_gb']} GB",
        machine.get("gpu") or "",
        f"Python {machine['python']}",
        *(f"{name} {packages[name]}" for name in ("torch", "lightning") if packages.get(name)),
    ]
    return ", ".join(filter(None, parts))


def _figure(value: object) -> str:
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value}"


def _turned(rows: Sequence[Row]) -> Sequence[Row]:
    """Return a wide table with its columns as rows; the runs are numbered."""
    if not rows or len(rows[0]) <= max(_WIDE, 2 * len(rows)):
        return rows
    return [
        {"": name, **{str(k): row[name] for k, row in enumerate(rows, start=1)}} for name in rows[0]
    ]


def outcome(code: int) -> str:
    """Return what a benchmark's exit code says."""
    return _OUTCOMES.get(code, f"BROKE OFF (exit code {code})")


def renew() -> int:
    """Renew the page; return 0."""
    text = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(renewed(text, {name: block(name) for name in SHOWN}), encoding="utf-8")
    print(f"written: {DOCS.relative_to(ROOT)}")
    return 0


def main() -> int:
    """Run benchmarks, each whatever the others say.

    Returns:
        0, or 1 if a claim does not hold or a benchmark broke off. One that needs a GPU is no fault
        where there is none.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="short forms, which write nothing")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    codes = {}
    for name in options.names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *["--quick"] * options.quick]
        codes[name] = subprocess.run(command, cwd=ROOT, check=False).returncode
    print()
    for name, code in codes.items():
        print(f"{name}: {outcome(code)}")
    if not options.quick:
        renew()
    return int(any(code not in (0, EXIT_NO_GPU) for code in codes.values()))


if __name__ == "__main__":
    sys.exit(main())
