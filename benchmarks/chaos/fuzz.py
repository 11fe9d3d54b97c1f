"""Damaged inputs for everything that is parsed: the tests of `tests/fuzz`, with many more inputs.

Claim (docs/performance.md, "Robustness"): 2,000 mutated inputs for each kind of file that the
project parses give a clear error or a correct result.

    python -m benchmarks.chaos.fuzz                 # 20 minutes
    python -m benchmarks.chaos.fuzz --quick         # 50 inputs each: 1 minute
    python -m benchmarks.chaos.fuzz --only markers  # some tests, as pytest's -k takes them
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.report import ROOT, Report, Row, parser

_CLAIM = (
    "Whatever is in a file that the project parses, the answer is an error that says what is wrong "
    "or a result that its test finds correct: no other exception, no input that takes a minute, no "
    "more than 2 GB asked for, 500 MB kept, or 20 warnings."
)
#: Seconds that the inputs of one parser may take together.
_PATIENCE_S = 7200


def main() -> int:
    """Run the tests with new inputs for each parser; return the exit code."""
    arguments = parser(__doc__, "50 inputs each")
    arguments.add_argument("--examples", type=int, default=2000, help="inputs for each parser")
    arguments.add_argument("--only", default="", help="tests to run, as pytest's -k takes them")
    options = arguments.parse_args()
    examples, only = 50 if options.quick else options.examples, options.only
    report = Report(
        name="chaos_fuzz_again" if only else "chaos_fuzz",
        claim=_CLAIM,
        command="python -m benchmarks.chaos.fuzz" + (f" --only '{only}'" if only else ""),
        quick=options.quick,
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
        output = log.read_text(encoding="utf-8", errors="replace")
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
        "`thor-geo validate` also that it reported faults; correct: what is promised holds, "
        "and where there is a checksum, it is what was written."
    )
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    report.faults += [" ".join(line.split())[:300] for line in failed]
    if done.returncode and not failed:
        report.faults.append(f"pytest ended with {done.returncode}: {output[-500:]}")
    if report.faults:
        print(output[-20_000:])
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


if __name__ == "__main__":
    sys.exit(main())
