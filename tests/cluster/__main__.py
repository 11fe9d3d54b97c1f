"""Run the shipped scripts through what happens to jobs, and write `tests/cluster/report.md`.

    python -m tests.cluster [part of a name ...]

Every run must give the bytes of an undisturbed one. With parts of names only those cases run, and
nothing is written.
"""

from __future__ import annotations

import datetime as dt
import platform
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cases import CASES, Case
from tests.cluster.daemons import NODES, Cluster
from tests.cluster.workplace import Workplace

REPORT = Path(__file__).with_name("report.md")

_HEAD = """# The cluster scripts under SLURM

Made by `make cluster` on {date}: {release}, {nodes} nodes on one machine (network, host name, /tmp
and control groups of their own), memory limits enforced, gloo on the CPU, Python {python},
thor-geo at {commit}. "Same bytes": every file of vectors, maps and plan is that of an undisturbed
run in one process.

| script | what happens | what must follow | seen | seconds |
|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: The case.
        seen: In words.
        passed: Whether that was right.
        seconds: How long it took.
    """

    case: Case
    seen: str
    passed: bool
    seconds: float

    def __str__(self) -> str:
        """Return a row of the report."""
        case, state = self.case, self.seen if self.passed else f"**wrong:** {self.seen}"
        return f"| {case.script} | {case.event} | {case.expected} | {state} | {self.seconds:.0f} |"


def outcome(case: Case, work: Workplace) -> Outcome:
    """Run a case."""
    began = time.monotonic()
    try:
        seen, passed = case.run(work), True
    except AssertionError as error:
        seen, passed = " ".join(str(error).split())[:600] or "see the traceback", False
        traceback.print_exc()
    return Outcome(case=case, seen=seen, passed=passed, seconds=time.monotonic() - began)


def main(names: list[str]) -> int:
    """Run the cases; return the exit code."""
    cases = [
        c for c in CASES if not names or any(name in f"{c.script} {c.event}" for name in names)
    ]
    outcomes = []
    with Cluster() as cluster:
        work = Workplace(cluster)
        work.prepare()
        for case in cases:
            outcomes.append(outcome(case, work))
            print(outcomes[-1], flush=True)
        release = cluster.run("scontrol", "--version")
    if not names:
        head = _HEAD.format(
            date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
            release=release,
            nodes=len(NODES),
            python=platform.python_version(),
            commit=work.commit(),
        )
        REPORT.write_text(head + "\n".join(map(str, outcomes)) + "\n")
    return 0 if all(each.passed for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
