"""A simulator of jobs on pre-emptible nodes, where a finished shard is the only thing that lasts.

Nodes take jobs from a queue; a job is a contiguous part of the shards. A job that is interrupted
loses the shard it was at, and goes back to the head of the queue; its node is replaced after a
while. Shard times are given, or drawn from the markers of a run that took place.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thor_geo.ground.job import part

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Launches per job after which a simulation is given up: its shards are longer than its nodes last.
_GIVE_UP = 2_000


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What runs the jobs.

    Attributes:
        nodes: Nodes that work at the same time.
        jobs: Jobs that the shards are divided into, at least as many as there are nodes.
        tiles_per_s: Rate of one node while it computes.
        batch_size: Tiles of a full batch; a batch never crosses a shard.
        batch_s: Time that a batch costs whatever its size, seconds.
        write_shard_s: Time to write a shard, seconds, whatever its size ...
        write_tile_s: ... and for each of its tiles. A shard is written while the next is computed.
        start_s: Time from a job's launch to its first batch, seconds.
        restart_s: Time until an interrupted node is replaced, seconds.
    """

    nodes: int
    jobs: int
    tiles_per_s: float
    batch_size: int = 32
    batch_s: float = 0.0
    write_shard_s: float = 0.0
    write_tile_s: float = 0.0
    start_s: float = 0.0
    restart_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulation found, in seconds of node time unless said otherwise.

    Attributes:
        wall_s: From the first launch to the last shard.
        kept_s: Work on shards that were finished: the sum of all shard times.
        lost_s: Work on shards that an interruption cut short.
        starts_s: Starting jobs, the first time and again.
        interruptions: How often a job was interrupted.
    """

    wall_s: float
    kept_s: float
    lost_s: float
    starts_s: float
    interruptions: int

    @property
    def busy_s(self) -> float:
        """Node time in all, but for waiting."""
        return self.kept_s + self.lost_s + self.starts_s


def exponential(mean_s: float, seed: int) -> Callable[[], float]:
    """Return a source of times until interruption: no memory, as pre-emption is usually modelled.

    Args:
        mean_s: Mean time from a launch to its interruption, seconds; infinity for none.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    return (lambda: float("inf")) if np.isinf(mean_s) else lambda: float(rng.exponential(mean_s))


def traced(uptimes: Sequence[float], seed: int) -> Callable[[], float]:
    """Return a source of times until interruption, drawn from those that a cluster has seen.

    Args:
        uptimes: Seconds from launch to interruption.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    values = np.asarray(uptimes, dtype=np.float64)
    return lambda: float(rng.choice(values))


def tiles_of_shards(by_tiles: Sequence[int], seed: int) -> Ints:
    """Return the tiles of every shard, in a random order.

    Args:
        by_tiles: How many shards hold 1, 2, ... tiles; see `benchmarks.outlines`.
        seed: Of the order.
    """
    tiles = np.repeat(np.arange(1, len(by_tiles) + 1), by_tiles)
    np.random.default_rng(seed).shuffle(tiles)
    return tiles


def shard_times(tiles: Ints, fleet: Fleet, replay: Floats | None = None, seed: int = 0) -> Floats:
    """Return the time of every shard, seconds: to compute or to write it, whichever is longer.

    Args:
        tiles: Tiles of every shard.
        fleet: Rates and fixed costs.
        replay: Seconds per tile of shards that were computed, to draw from; see `replayed`. They
            take the place of the rate and of what a batch costs.
        seed: Of the draws.
    """
    computing: Floats
    if replay is not None:
        computing = tiles * np.random.default_rng(seed).choice(replay, len(tiles))
    else:
        batches = -(-tiles // fleet.batch_size)
        computing = tiles / fleet.tiles_per_s + batches * fleet.batch_s
    return np.maximum(computing, fleet.write_shard_s + tiles * fleet.write_tile_s)


def replayed(run: Path) -> Floats:
    """Return the seconds per tile of a run's shards, from its markers.

    Args:
        run: A run directory.

    Raises:
        ValueError: If it has no markers.
    """
    markers = [json.loads(path.read_bytes()) for path in sorted((run / "markers").glob("*.json"))]
    if not markers:
        raise ValueError(f"{run} has no markers: give the output.dir of a run.")
    return np.array([marker["compute_seconds"] / marker["tiles"] for marker in markers])


def simulate(times: Floats, fleet: Fleet, uptime: Callable[[], float]) -> Outcome:
    """Play a run to its end.

    Args:
        times: Seconds of every shard, in plan order.
        fleet: What runs it.
        uptime: Time from a launch to its interruption, seconds; asked at every launch.

    Raises:
        ValueError: If there are fewer jobs than nodes, or interruptions come so often that the run
            makes no headway.
    """
    if fleet.jobs < fleet.nodes:
        raise ValueError(f"{fleet.jobs} jobs for {fleet.nodes} nodes: some would have none.")
    parts = [part(len(times), k, fleet.jobs) for k in range(fleet.jobs)]
    done = np.concatenate([[0.0], np.cumsum(times)])
    queue = deque((k, parts[k].start) for k in range(fleet.jobs) if len(parts[k]))
    # (when, order, job or -1 for a node that is free again, the shard it stands at then)
    events: list[tuple[float, int, int, int]] = [(0.0, k, -1, 0) for k in range(fleet.nodes)]
    idle = launches = interruptions = 0
    lost = starts = wall = 0.0
    while events:
        now, _, job, shard = heapq.heappop(events)
        free = 1
        if job >= 0:
            if shard < parts[job].stop:
                interruptions += 1
                queue.appendleft((job, shard))
                free = 0  # its node comes back later
                heapq.heappush(events, (now + fleet.restart_s, launches + fleet.nodes, -1, 0))
                launches += 1
            else:
                wall = max(wall, now)
        idle += free
        while idle and queue:
            job, shard = queue.popleft()
            idle -= 1
            launches += 1
            if launches > _GIVE_UP * fleet.jobs:
                raise ValueError("the shards take longer than nodes last: no headway")
            limit, stop = uptime(), parts[job].stop
            need = fleet.start_s + done[stop] - done[shard]
            if need <= limit:
                starts += fleet.start_s
                end, reached = need, stop
            else:
                work = max(0.0, limit - fleet.start_s)
                reached = int(np.searchsorted(done, done[shard] + work, side="right")) - 1
                reached = min(max(reached, shard), stop - 1)
                lost += work - (done[reached] - done[shard])
                starts += min(limit, fleet.start_s)
                end = limit
            heapq.heappush(events, (now + end, launches + fleet.nodes, job, reached))
    return Outcome(
        wall_s=wall,
        kept_s=float(times.sum()),
        lost_s=lost,
        starts_s=starts,
        interruptions=interruptions,
    )
