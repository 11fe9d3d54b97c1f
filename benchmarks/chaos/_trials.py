"""What the emulator does wrong in the campaign of faults, one plan each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thor_geo.composites import PrefetchStats
from thor_geo.emulator import FaultRule

PIXELS, LISTS = "image:computePixels", "value:compute"
RESTRICTED = {"x-earth-engine-quota-status": "parallelism_restricted=true"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to fail.

    Attributes:
        name: What it is called in the table.
        rules: What the emulator does wrong.
        size: Side of a block in pixels.
        across: Blocks in a row.
        read_timeout_s: How long the client waits for an answer.
        concurrency: Requests in flight.
        remedy: What the message must name, if it ends the run.
        holds: Says what is wrong with the statistics of a run that must have felt the faults.
    """

    name: str
    rules: tuple[FaultRule, ...]
    size: int = 64
    across: int = 12
    read_timeout_s: float = 330.0
    concurrency: int = 40
    remedy: str | None = None
    holds: Callable[[PrefetchStats], str | None] = lambda stats: (
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


TRIALS = (
    Trial(
        name="429 in bursts, Retry-After 1 s",
        rules=(
            FaultRule(nth=_bursts(20, 120, 220, length=30), status=429,
                      headers={"Retry-After": "1"}, message="Too many requests."),
        ),
    ),
    Trial(
        name="429 without Retry-After",
        rules=(FaultRule(probability=0.15, seed=1, status=429, message="Too many requests."),),
    ),
    Trial(
        name="503",
        rules=(FaultRule(probability=0.15, seed=2, status=503, message="Unavailable."),),
    ),
    Trial(name="connection reset", rules=(FaultRule(probability=0.15, seed=3, reset=True),)),
    Trial(name="connection closed", rules=(FaultRule(probability=0.15, seed=4, drop=True),)),
    Trial(name="body cut in half", rules=(FaultRule(probability=0.15, seed=5, truncate=0.5),)),
    Trial(
        name="stalls of 30 s, waited out",
        rules=(FaultRule(probability=0.05, seed=6, first_times=1, delay_s=30),),
        holds=_anything,
    ),
    Trial(
        name="stalls of 30 s, given up after 5 s",
        rules=(FaultRule(probability=0.05, seed=6, first_times=1, delay_s=30),),
        read_timeout_s=5.0,
    ),
    Trial(
        name="memory limit above 64 px",
        rules=(FaultRule(kind=PIXELS, min_pixels=64 * 64, status=400,
                         message="User memory limit exceeded."),),
        size=256,
        across=6,
        holds=_split,
    ),
    Trial(
        name="time limit above 128 px",
        rules=(FaultRule(kind=PIXELS, min_pixels=128 * 128, status=400,
                         message="Computation timed out."),),
        size=256,
        across=7,
        holds=_split,
    ),
    Trial(
        name="restricted mode",
        rules=(FaultRule(headers=RESTRICTED),),
        holds=_halved,
    ),
    Trial(
        name="credentials expire (401)",
        rules=(FaultRule(after=400, status=401,
                         message="Request had invalid authentication credentials."),),
        across=20,
        remedy="earthengine authenticate",
        holds=_anything,
    ),
    Trial(
        name="permission withdrawn (403)",
        rules=(FaultRule(after=400, status=403, message="Caller does not have required permission "
                         "to use project {project}."),),
        across=20,
        remedy="roles/serviceusage.serviceUsageConsumer",
        holds=_anything,
    ),
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
        holds=_split,
    ),
)  # fmt: skip
