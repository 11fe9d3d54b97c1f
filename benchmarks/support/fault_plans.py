"""What the emulator does wrong in `chaos.faults`, one plan each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thor_geo.composites import PrefetchStats
from thor_geo.emulator import FaultRule

PIXELS, LISTS = "image:computePixels", "value:compute"
RESTRICTED = {"x-earth-engine-quota-status": "parallelism_restricted=true"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to fail.

    Attributes:
        name: Its name in the table.
        rules: What the emulator does wrong.
        size: Side of a block in pixels.
        across: Blocks in a row.
        read_timeout_s: How long the client waits for an answer.
        concurrency: Requests in flight.
        remedy: What the message must name, if it ends the run.
        problem: Returns what is wrong with the statistics of a run that must have felt the faults.
    """

    name: str
    rules: tuple[FaultRule, ...]
    size: int = 64
    across: int = 12
    read_timeout_s: float = 330.0
    concurrency: int = 40
    remedy: str | None = None
    problem: Callable[[PrefetchStats], str | None] = lambda stats: (
        None if stats.retries else "No request was repeated."
    )


def _bursts(*starts: int, length: int) -> tuple[int, ...]:
    return tuple(number for start in starts for number in range(start, start + length))


def _split(stats: PrefetchStats) -> str | None:
    return None if stats.splits else "Nothing was quartered."


def _halved(stats: PrefetchStats) -> str | None:
    return None if stats.concurrency == 20 else f"{stats.concurrency} slots instead of 20."


def _anything(stats: PrefetchStats) -> str | None:
    return None


def _random(name: str, **fault: Any) -> Trial:
    return Trial(name=name, rules=(FaultRule(probability=0.15, **fault),))


def _refused(name: str, remedy: str, **fault: Any) -> Trial:
    rules = (FaultRule(after=400, **fault),)
    return Trial(name=name, rules=rules, across=20, remedy=remedy, problem=_anything)


_STALLS = (FaultRule(probability=0.05, seed=6, first_times=1, delay_s=30),)

TRIALS = (
    Trial(
        name="429 in bursts, Retry-After 1 s",
        rules=(
            FaultRule(nth=_bursts(20, 120, 220, length=30), status=429,
                      headers={"Retry-After": "1"}, message="Too many requests."),
        ),
    ),
    _random("429 without Retry-After", seed=1, status=429, message="Too many requests."),
    _random("503", seed=2, status=503, message="Unavailable."),
    _random("connection reset", seed=3, reset=True),
    _random("connection closed", seed=4, drop=True),
    _random("body cut in half", seed=5, truncate=0.5),
    Trial(name="stalls of 30 s, waited out", rules=_STALLS, problem=_anything),
    Trial(name="stalls of 30 s, given up after 5 s", rules=_STALLS, read_timeout_s=5.0),
    Trial(
        name="memory limit above 64 px",
        rules=(FaultRule(kind=PIXELS, min_pixels=64 * 64, status=400,
                         message="User memory limit exceeded."),),
        size=256,
        across=6,
        problem=_split,
    ),
    Trial(
        name="time limit above 128 px",
        rules=(FaultRule(kind=PIXELS, min_pixels=128 * 128, status=400,
                         message="Computation timed out."),),
        size=256,
        across=7,
        problem=_split,
    ),
    Trial(name="restricted mode", rules=(FaultRule(headers=RESTRICTED),), problem=_halved),
    _refused("credentials expire (401)", "earthengine authenticate", status=401,
             message="Request had invalid authentication credentials."),
    _refused("permission withdrawn (403)", "roles/serviceusage.serviceUsageConsumer", status=403,
             message="Caller does not have required permission to use project {project}."),
    Trial(
        name="everything at once",
        rules=(
            FaultRule(probability=0.05, seed=11, status=503, message="Unavailable."),
            FaultRule(probability=0.05, seed=12, status=429, message="Too many requests."),
            FaultRule(probability=0.05, seed=13, reset=True),
            FaultRule(probability=0.05, seed=14, truncate=0.7),
            FaultRule(kind=PIXELS, min_pixels=128 * 128, status=400,
                      message="User memory limit exceeded."),
        ),
        size=256,
        across=7,
        problem=_split,
    ),
)  # fmt: skip
