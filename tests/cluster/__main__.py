"""Run the shipped scripts through what happens to jobs, and write `tests/cluster/report.md`.

    python -m tests.cluster [part of a name ...]

Every run must give the bytes of an undisturbed one. With parts of names only those cases run, and
only their rows of the report are made anew: each row says of which commit it is.
"""

from __future__ import annotations

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

Made by `make cluster`: {release}, {nodes} nodes on one machine (network, host name, /tmp and
control groups of their own), memory limits enforced, gloo on the CPU, Python {python}. "Same
bytes": every file of vectors, maps and plan is that of an undisturbed run in one process. Cases can
be run alone (`python -m tests.cluster "time limit"`), so each row says of which commit it is.

| script | what happens | what must follow | seen | seconds | thor-geo at |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: The case.
        seen: In words.
        passed: Whether that was right.
        seconds: How long it took.
        commit: The checkout's, and the day.
    """

    case: Case
    seen: str
    passed: bool
    seconds: float
    commit: str

    def __str__(self) -> str:
        """Return a row of the report."""
        case, state = self.case, self.seen if self.passed else f"**wrong:** {self.seen}"
        return f"{_beginning(case)}{case.expected} | {state} | {self.seconds:.0f} | {self.commit} |"


def _beginning(case: Case) -> str:
    """Return the cells of a row that say which case it is of."""
    return f"| {case.script} | {case.event} | "


def rows(outcomes: list[Outcome], before: list[str]) -> list[str]:
    """Return the report's rows in the order of the cases.

    Args:
        outcomes: What was run now.
        before: The report's lines as they were, for the other cases.
    """
    made = {_beginning(each.case): str(each) for each in outcomes}
    found = []
    for beginning in map(_beginning, CASES):
        old = [line for line in before if line.startswith(beginning)]
        found += [made[beginning]] if beginning in made else old[:1]
    return found


def outcome(case: Case, work: Workplace) -> Outcome:
    """Run a case."""
    began = time.monotonic()
    try:
        seen, passed = case.run(work), True
    except AssertionError as error:
        seen, passed = " ".join(str(error).split())[:600] or "see the traceback", False
        traceback.print_exc()
    seconds = time.monotonic() - began
    return Outcome(case=case, seen=seen, passed=passed, seconds=seconds, commit=work.commit)


def main(names: list[str]) -> int:
    """Run the cases; return the exit code."""
    cases = [
        c for c in CASES if not names or any(name in f"{c.script} {c.event}" for name in names)
    ]
    outcomes = []
    with Cluster() as cluster:
        head = _HEAD.format(
            release=cluster.run("scontrol", "--version"),
            nodes=len(NODES),
            python=platform.python_version(),
        )
        work = Workplace(cluster)
        work.prepare()
        for case in cases:
            outcomes.append(outcome(case, work))
            print(outcomes[-1], flush=True)
            lines = rows(outcomes, before=REPORT.read_text().splitlines())
            REPORT.write_text(head + "\n".join(lines) + "\n")
    return 0 if all(each.passed for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
