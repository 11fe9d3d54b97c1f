"""Damaged inputs for everything that is parsed: the tests of `tests/fuzz`, with many more inputs.

`python -m benchmarks.chaos.fuzz [--quick] [--examples 2000]`
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import ROOT, Report, Row

_CLAIM = (
    "Whatever is in a file that the project parses, the answer is an error that says what is wrong "
    "or a result that its test finds correct: no other exception, no input that takes a minute, no "
    "more than 2 GB asked for, 500 MB kept, or 20 warnings."
)
#: Seconds that one parser's inputs may take together.
_PATIENCE_S = 7200


def run(examples: int, *, only: str = "", quick: bool = False) -> int:
    """Run the tests with so many new inputs for each parser, and report.

    Args:
        examples: Inputs for each parser.
        only: Tests to run, as pytest's -k takes them; their report stands beside the whole one's.
        quick: Write nothing.
    """
    report = Report(
        name="chaos_fuzz_again" if only else "chaos_fuzz",
        claim=_CLAIM,
        command="python -m benchmarks.chaos.fuzz" + (f" --only '{only}'" if only else ""),
        quick=quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-fuzz-") as folder:
        counts, log = Path(folder) / "counts.jsonl", Path(folder) / "log"
        command = [sys.executable, "-m", "pytest", "tests/fuzz", "-q", f"--timeout={_PATIENCE_S}"]
        command += ["-k", only] if only else []
        with log.open("wb") as out:
            done = subprocess.run(
                [*command, f"--basetemp={folder}/files"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "THOR_GEO_FUZZ_EXAMPLES": str(examples),
                    "THOR_GEO_FUZZ_REPORT": str(counts),
                },
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        said = log.read_text(encoding="utf-8", errors="replace")
        lines = counts.read_text(encoding="utf-8").splitlines() if counts.exists() else []
    for tally in map(json.loads, lines):
        report.rows.append(_row(tally))
        # A strategy that runs dry would leave the claim without its number.
        if tally["inputs"] < examples:
            report.faults.append(f"{tally['parser']}: {tally['inputs']} inputs, not {examples}")
    report.figures["inputs"] = sum(row["inputs"] for row in report.rows)
    report.figures["inputs per parser"] = examples
    report.figures["parsers"] = len(report.rows)
    report.notes.append(
        "clear errors: ThorGeoError, for cached blocks also that the block counts as absent, for "
        "`thor-geo validate` also that faults were told; correct: what the parser promises holds, "
        "and where there is a checksum, it is what was written."
    )
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    report.faults += [" ".join(line.split())[:300] for line in failed]
    if done.returncode and not failed:
        report.faults.append(f"pytest ended with {done.returncode}: {said[-500:]}")
    if report.faults:
        print(said[-20_000:])
    return report.finish()


def _row(tally: dict[str, float]) -> Row:
    return {
        "parser": tally["parser"],
        "inputs": tally["inputs"],
        "clear errors": tally["errors"],
        "correct": tally["results"],
        "seconds": round(tally["seconds"], 1),
        "slowest ms": round(1000 * tally["slowest_s"]),
        "memory MB": max(0, round(tally["memory_mb"])),
    }


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 inputs each, nothing written")
    parser.add_argument("--examples", type=int, default=2000, help="inputs for each parser")
    parser.add_argument("--only", default="", help="tests to run, as pytest's -k takes them")
    options = parser.parse_args()
    examples = 50 if options.quick else options.examples
    return run(examples, only=options.only, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
