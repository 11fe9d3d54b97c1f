"""kill -9 of the main process, the prefetch process or a worker, at random moments; then resume.

Claim (docs/performance.md, "Robustness"): after the kill the same command ends in the bytes of the
undisturbed run, and makes no finished shard again.

    python -m benchmarks.chaos.kill            # 20 minutes: ten kills of each
    python -m benchmarks.chaos.kill --quick    # one kill of each: 3 minutes
    python -m benchmarks.chaos.kill --seed N   # other moments
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from benchmarks.support.report import Report, Row, parser
from benchmarks.support.runs import (
    Started,
    State,
    Workspace,
    differences,
    end_on_sigterm,
    kill,
    markers,
    message,
    states,
    temporaries,
)
from thor_geo.cli.main import EXIT_RETRY

VICTIMS = ("main", "prefetch", "worker")

#: Kills in a row: whom, and when as a share of its life in the undisturbed run.
Draws: TypeAlias = list[tuple[str, float]]

# Kills of each victim, and how many of them hit a run that is already a resumed one.
_KILLS, _AGAIN = 10, 2
# Limits of the command itself after one of its children was killed, and of the others after it.
_SECONDS_TO_END, _SECONDS_TO_VANISH = 60.0, 10.0
# In place of an exit code, where the command did not end within the limit.
_HANGS = -999
_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The undisturbed run, in seconds from the start of the command.

    Attributes:
        lives: Begin and end of the processes, by role.
        marked: When each marker had appeared, ascending.
        end: When it ended.
    """

    lives: dict[str, tuple[float, float]]
    marked: list[float]
    end: float

    def moment(self, victim: str, share: float) -> Moment:
        """Return the moment at a share (0 to 1) of a process's life.

        A run on a busy machine is slower, so the moment counts shards done and seconds since then.
        """
        begin, end = self.lives[victim]
        moment = begin + share * (end - begin)
        shards = bisect_right(self.marked, moment)
        since = max(begin, self.marked[shards - 1]) if shards else begin
        return Moment(victim=victim, share=share, shards=shards, seconds=moment - since)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When to kill which process.

    Attributes:
        victim: Role of the process.
        share: Share of its life in the undisturbed run.
        shards: Markers that must be there first.
        seconds: How long to wait after that.
    """

    victim: str
    share: float
    shards: int
    seconds: float


@dataclass(kw_only=True)
class Kill:
    """One kill and what followed.

    Attributes:
        victim: Role of the process.
        moment: Seconds from the start of the command.
        shards_done: Markers on disk.
        code: Exit code of the command.
        seconds: From the kill to the command's end.
        message: Its last message.
        orphans: Processes that outlived it.
        done: Every marker when all had ended, by name.
    """

    victim: str
    moment: float
    shards_done: int
    code: int
    seconds: float
    message: str
    orphans: list[str]
    done: dict[str, State] = field(repr=False)

    @property
    def name(self) -> str:
        """Its name in faults."""
        return f"{self.victim} killed at {self.moment:.1f} s"

    def repeated(self, final: Mapping[str, State]) -> int:
        """Return how many finished shards were made again by the end."""
        return sum(final.get(name) != state for name, state in self.done.items())

    def faults(self, final: Mapping[str, State]) -> list[str]:
        """Return what does not hold."""
        child = self.victim != "main"
        checks = {
            f"{self.repeated(final)} finished shards were made again": self.repeated(final) > 0,
            f"{', '.join(self.orphans)} outlived it": bool(self.orphans),
            f"exit code {self.code} does not tell a scheduler to start it again": child
            and self.code not in (0, EXIT_RETRY),
            f"no message of its own, exit code {self.code}: {self.message}": child
            and self.code == EXIT_RETRY
            and "thor-geo: " not in self.message,
            "a traceback": "[with a traceback]" in self.message,
        }
        if self.code == _HANGS:
            return [f"{self.name}: the command did not end within {_SECONDS_TO_END:.0f} s"]
        return [f"{self.name}: {fault}" for fault, wrong in checks.items() if wrong]


def watch(started: Started, place: Workspace) -> Timeline:
    """Wait for a command, and return what happened when."""
    lives: dict[str, tuple[float, float]] = {}
    marked: list[float] = []
    while started.running:
        now = time.monotonic() - started.began
        for process in started.processes():
            lives[process.role] = (lives.get(process.role, (now, now))[0], now)
        marked += [now] * (len(markers(place.run)) - len(marked))
        time.sleep(_LOOK_S)
    end = time.monotonic() - started.began
    # The main process is there from the start, even before it can be seen.
    return Timeline(lives={**lives, "main": (0.0, end)}, marked=marked, end=end)


def strike(started: Started, place: Workspace, moment: Moment) -> Kill | None:
    """Kill a process of a command and wait until everything has ended.

    Args:
        started: The command.
        place: Its workspace.
        moment: Which process and when; the first of several workers.

    Returns:
        What happened; None if the process had ended before its moment came.
    """
    while started.running and not (
        len(markers(place.run)) >= moment.shards and started.processes(moment.victim)
    ):
        time.sleep(_LOOK_S)
    time.sleep(moment.seconds)
    chosen = started.processes(moment.victim)
    if not started.running or not chosen:
        started.wait()
        return None
    shards_done, killed = len(markers(place.run)), time.monotonic()
    if not kill(chosen[0].pid):
        started.wait()
        return None
    try:
        ended = started.wait(_SECONDS_TO_END)
        code, seconds = ended.code, time.monotonic() - killed
    except RuntimeError:  # `trial` makes a fault of it
        code, seconds = _HANGS, float("inf")
    orphans = [process.role for process in started.survivors(_SECONDS_TO_VANISH)]
    started.destroy()
    return Kill(
        victim=moment.victim,
        moment=killed - started.began,
        shards_done=shards_done,
        code=code,
        seconds=seconds,
        message=message(started.output, hide=place.folder),
        orphans=orphans,
        done=states(place.run),
    )


def disturb(place: Workspace, timeline: Timeline, draws: Draws) -> list[Kill] | None:
    """Kill a fresh run, and its continuations; None if one had ended before its moment came."""
    place.clear()
    kills: list[Kill] = []
    passed = 0.0
    for victim, share in draws:
        # The share of a continuation is that of what is left.
        passed += share * (1 - passed)
        done = strike(place.start(), place, timeline.moment(victim, passed))
        if done is None:
            return None
        kills.append(done)
    return kills


def trial(
    place: Workspace, reference: Path, timeline: Timeline, draws: Draws
) -> tuple[list[Row], list[str]]:
    """Kill a fresh run, and its continuations, at drawn moments; then let it end.

    Args:
        place: The workspace.
        reference: Directory of the undisturbed run.
        timeline: The undisturbed run's.
        draws: Victim and moment as a share of its life, one for each kill.

    Returns:
        A row for each kill, and what does not hold.
    """
    while (kills := disturb(place, timeline, draws)) is None:
        # It was faster than the undisturbed run, and over.
        draws = [(victim, 0.95 * share) for victim, share in draws]
    again, resumed = 1, place.finish()
    while resumed.code != 0 and again < 3:
        again, resumed = again + 1, place.finish()
    final = states(place.run)
    different = differences(place.run, reference)
    left = temporaries(place.run, place.cache)
    valid = place.validate()
    rows: list[Row] = []
    for number, event in enumerate(kills):
        last = number == len(kills) - 1
        rows.append(
            {
                "killed": event.victim,
                "at s": round(event.moment, 1),
                "of a resumed run": "yes" if number else "",
                "shards done": event.shards_done,
                "exit": event.code,
                "after s": round(event.seconds, 1),
                "orphans": len(event.orphans),
                "done shards made again": event.repeated(final),
                "runs until 0": again if last else "",
                "other bytes": len(different) if last else "",
                "validate": valid.code if last else "",
                "temporaries": len(left) if last else "",
                "said": "" if event.victim == "main" else event.message,
            }
        )
    faults = [fault for event in kills for fault in event.faults(final)]
    whole = " and ".join(event.name for event in kills)
    if resumed.code != 0:
        faults.append(f"{whole}: the command ends with {resumed.code}: {resumed.output[-300:]}")
    if different:
        faults.append(f"{whole}: {len(different)} files differ: {', '.join(different[:5])}")
    if valid.code != 0:
        faults.append(f"{whole}: validate ends with {valid.code}: {valid.output[-300:]}")
    return rows, faults


def plan(rng: random.Random, kills: int, again: int) -> list[Draws]:
    """Draw the trials: each a list of kills, most of one, some of two in a row.

    The moments of a victim's kills are spread: one in each of as many equal parts of its life.
    """
    firsts: Draws = []
    seconds: Draws = []
    for victim in VICTIMS:
        draws = [(victim, (k + rng.random()) / kills) for k in range(kills)]
        rng.shuffle(draws)
        seconds += draws[:again]
        firsts += draws[again:]
    rng.shuffle(firsts)
    rng.shuffle(seconds)
    return [[first, *seconds[k : k + 1]] for k, first in enumerate(firsts)]


def main() -> int:
    """Run the campaign; return the exit code."""
    arguments = parser(__doc__, "one kill of each")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = arguments.parse_args()
    end_on_sigterm()
    kills, again = (1, 0) if options.quick else (_KILLS, _AGAIN)
    report = Report(
        name="chaos_kill",
        claim=(
            "After kill -9 of the main process, the prefetch process or a worker, the same command "
            "ends in the bytes of the undisturbed run, and makes no finished shard again."
        ),
        command=f"python -m benchmarks.chaos.kill --seed {options.seed}",
        quick=options.quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-kill-") as folder:
        place = Workspace(folder=Path(folder))
        started = place.start()
        timeline = watch(started, place)
        undisturbed = started.wait()
        if undisturbed.code != 0:
            raise RuntimeError(f"The undisturbed run failed: {undisturbed.output}")
        report.figures = {
            "seconds of the undisturbed run": round(timeline.end, 1),
            "its shards": len(markers(place.run)),
            "lives of its processes, s": {
                victim: [round(when, 1) for when in timeline.lives[victim]] for victim in VICTIMS
            },
        }
        if place.validate().code != 0:
            report.faults.append("`thor-geo validate` does not accept the undisturbed run")
        reference = place.keep("reference")
        for draws in plan(random.Random(options.seed), kills, again):
            rows, faults = trial(place, reference, timeline, draws)
            for row in rows:
                report.add(row)
            report.faults += faults
    ends = [row["after s"] for row in report.rows if row["killed"] != "main"]
    report.figures["kills"] = len(report.rows)
    report.figures["seconds from a child's death to the command's end, median and most"] = (
        round(statistics.median(ends), 1),
        max(ends),
    )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
