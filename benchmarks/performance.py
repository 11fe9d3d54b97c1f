"""`make bench`: every benchmark of speed and size, one after the other.

    python -m benchmarks.performance                # all of them: about an hour on 2 cores
    python -m benchmarks.performance growth merge   # some of them
    python -m benchmarks.performance --quick        # their short forms, which write nothing

The results go to `results/`, from which the site's page "Benchmark tables" is made.
docs/performance.md quotes the most important ones by hand, and a test compares them.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.support.report import EXIT_FAULTS, EXIT_NO_GPU, ROOT, parser

#: The benchmarks, in the order of docs/performance.md.
BENCHMARKS = (
    "encoder",
    "reading",
    "pipeline",
    "fetch",
    "startup",
    "storage",
    "growth",
    "planning",
    "merge",
    "open_run",
    "gpu_encoder",
)

_OUTCOMES = {0: "holds", EXIT_FAULTS: "DOES NOT HOLD", EXIT_NO_GPU: "not run: no GPU"}


def main() -> int:
    """Run benchmarks, each whatever the outcome of the others.

    Returns:
        0, or 1 if a claim does not hold or a benchmark broke off. One that needs a GPU and finds
        none counts as neither.
    """
    arguments = parser(__doc__, "short forms")
    arguments.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    options = arguments.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        arguments.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    codes = {}
    for name in options.names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *["--quick"] * options.quick]
        codes[name] = subprocess.run(command, cwd=ROOT, check=False).returncode
    print()
    for name, code in codes.items():
        print(f"{name}: {_OUTCOMES.get(code, f'BROKE OFF (exit code {code})')}")
    return int(any(code not in (0, EXIT_NO_GPU) for code in codes.values()))


if __name__ == "__main__":
    sys.exit(main())
