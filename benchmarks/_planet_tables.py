"""The tables of docs/scale.md: what every limit allows, from a village to all land.

Counts are from `benchmarks.outlines`, sizes and rates from `benchmarks.costs`, both measured; what
is assumed stands in `Assumed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import _costmodel as cost
from benchmarks.preemption import (
    Fleet,
    Floats,
    exponential,
    shard_times,
    simulate,
    tiles_of_shards,
    traced,
)
from benchmarks.report import RESULTS, Row

#: Shard sides that are compared, tiles.
SHARD_SIDES = (2, 3, 4, 6, 8, 12, 16)

#: Times of day and year that the tables count in, seconds.
HOUR, DAY, MONTH = 3600, 86_400, 30 * 86_400

# Simulations with different random numbers, whose mean is shown.
_REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What nobody has measured here.

    Attributes:
        latency_s: Time of one pixel request to the real service, seconds.
        eecu_s: EECU-seconds of one block on the real service.
        tier: Monthly quota, EECU-hours.
        gpus: GPUs of a large run.
        peak_tflops: Peak of one GPU; 312 is an A100's for bfloat16 without sparsity (NVIDIA's data
            sheet).
        utilisation: Share of that peak which the encoder reaches.
        batch_s: Fixed time of a batch on a GPU, seconds.
        uptime_h: Mean time until a node is taken away, hours.
        restart_s: Time until it is replaced, seconds.
    """

    latency_s: float = 5.0
    eecu_s: float = 10.0
    tier: float = 1000.0
    gpus: int = 8
    peak_tflops: float = 312.0
    utilisation: float = 0.3
    batch_s: float = 0.01
    uptime_h: float = 1.0
    restart_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the tables are made of.

    Attributes:
        outlines: Counts by outline; see `benchmarks.outlines`.
        costs: Sizes and rates; see `benchmarks.costs`.
        assumed: The rest.
        replay: Seconds per tile to draw shard times from, instead of rates.
        uptimes: Seconds until interruption to draw from, instead of an exponential distribution.
    """

    outlines: dict[str, Any]
    costs: dict[str, Any]
    assumed: Assumed = field(default_factory=Assumed)
    replay: Floats | None = None
    uptimes: tuple[float, ...] = ()

    @classmethod
    def read(cls, **kwargs: Any) -> Inputs:
        """Read what the other benchmarks have measured."""
        outlines = json.loads((RESULTS / "outlines.json").read_text(encoding="utf-8"))["outlines"]
        costs = json.loads((RESULTS / "costs.json").read_text(encoding="utf-8"))
        return cls(outlines=outlines, costs=costs, **kwargs)

    def sizes(self) -> list[tuple[str, dict[str, Any]]]:
        """Return name and counts of every outline, the smallest first."""
        return sorted(self.outlines.items(), key=lambda item: item[1]["tiles"])

    @property
    def gpu_tiles_per_s(self) -> float:
        """Assumed rate of THOR base on one GPU."""
        return cost.gpu_tiles_per_s(
            "thor_v1_base", self.assumed.peak_tflops, self.assumed.utilisation
        )

    def core_tiles_per_s(self, model_key: str) -> float:
        """Measured rate of one CPU core."""
        return float(1 / self.costs["encoder"][model_key]["core_s_per_tile"])

    def write_s(self, kind: str = "vectors+grids") -> tuple[float, float]:
        """Seconds to write a shard, whatever its size, and for each of its tiles.

        The first is what the smallest shard of vectors took, most of it waiting for the disk; the
        second is CPU time, by the slope between shards of 4 and of 64 tiles.

        Args:
            kind: ``vectors`` or ``vectors+grids``.
        """
        measured = self.costs["write_seconds"]
        per_tile = (measured[kind]["8"]["cpu"] - measured[kind]["2"]["cpu"]) / 60
        return float(measured["vectors"]["2"]["wall"]), float(per_tile)


def si(value: float, unit: str = "") -> str:
    """Return a number with three digits and a decimal prefix."""
    if value < 1000 and value == round(value):
        return f"{value:.0f} {unit}".strip()
    prefixes = ("", "k", "M", "G", "T", "P")
    power = min(len(prefixes) - 1, max(0, int(np.floor(np.log10(abs(value)) / 3 + 1e-9))))
    short = value / 1000**power
    digits = 0 if short >= 99.5 else 1 if short >= 9.95 else 2
    return f"{short:.{digits}f} {prefixes[power]}{unit}".strip()


def span(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, length in (("months", MONTH), ("days", DAY), ("h", HOUR), ("min", 60)):
        if seconds >= 2 * length or (unit == "min" and seconds >= 60):
            return f"{seconds / length:,.{1 if seconds / length < 100 else 0}f} {unit}"
    return f"{seconds:.1f} s"


def counts(given: Inputs) -> list[Row]:
    """Tiles, shards and blocks."""
    return [
        {
            "size": f"{name}: {found['what']}",
            "km2": f"{found['km2']:,}",
            "tiles": f"{found['tiles']:,}",
            "km2 / 8.2944": f"{found['km2'] / cost.tile_km2():,.0f}",
            "shards of 8 x 8": f"{found['squares']['8']:,}",
            "blocks of 576 px": f"{found['squares']['2']:,}",
            "blocks of 1152 px": f"{found['squares']['4']:,}",
        }
        for name, found in given.sizes()
    ]


def requests(given: Inputs) -> list[Row]:
    """Requests and the time they take at full concurrency."""
    rows = []
    for name, found in given.sizes():
        blocks, large = found["squares"]["2"], found["squares"]["4"]
        row = {
            "size": name,
            "requests (576 px)": si(blocks * (1 + cost.pixel_requests(576))),
            "requests (1152 px)": si(large * (1 + cost.pixel_requests(1152))),
            "bytes sent": si(blocks * given.costs["block"]["raw_bytes"], "B"),
        }
        for latency in (0.5, 5, 30):
            row[f"{latency:g} s a request"] = span(cost.fetch_seconds(blocks, 576, latency))
        rows.append(row)
    return rows


def quota(given: Inputs) -> list[Row]:
    """What a block may cost, and months by what it does cost."""
    rows = []
    for name, found in given.sizes():
        blocks = found["squares"]["2"]
        row: dict[str, Any] = {"size": name}
        for tier in cost.QUOTA_TIERS:
            afford = si(cost.eecu_s_affordable(blocks, tier))
            row[f"{tier:,} EECU-h: a block may cost"] = f"{afford} EECU-s"
        for eecu in (1, 10, 100):
            hours = cost.eecu_hours(blocks, eecu)
            row[f"at {eecu} EECU-s"] = f"{si(hours)} EECU-h"
        rows.append(row)
    return rows


def meeting(given: Inputs) -> list[Row]:
    """The cost of a block from which the quota binds before the rate of requests."""
    return [
        {
            "quota a month": f"{tier:,} EECU-h",
            **{
                f"{latency:g} s a request": f"{cost.quota_binds_above(latency, tier):,.3f} EECU-s"
                for latency in (0.5, 5, 30)
            },
        }
        for tier in cost.QUOTA_TIERS
    ]


def storage(given: Inputs) -> list[Row]:
    """Bytes on disk, THOR base, patch 16."""
    rows = []
    for name, found in given.sizes():
        tiles, shards = found["tiles"], found["squares"]["8"]
        row: dict[str, Any] = {"size": name}
        for dtype in ("float32", "float16", "int8"):
            row[f"vectors {dtype}"] = si(cost.pooled_bytes(tiles, shards, dtype, given.costs), "B")
        for dtype in ("float32", "float16", "int8"):
            ratio = given.costs["grid_ratio"][dtype]
            row[f"grid {dtype}"] = si(cost.grid_bytes(tiles, dtype, ratio), "B")
        row["cache"] = si(cost.cache_bytes(found["squares"]["2"], given.costs["block"]), "B")
        rows.append(row)
    return rows


def computing(given: Inputs) -> list[Row]:
    """Hours of computing by size of the model."""
    rows = []
    for key in given.costs["encoder"]:
        rate, flops = given.core_tiles_per_s(key), cost.encoder_flops(key)
        gpu = cost.gpu_tiles_per_s(key, given.assumed.peak_tflops, given.assumed.utilisation)
        row: dict[str, Any] = {
            "model": key,
            "GFLOP a tile": f"{flops / 1e9:.1f}",
            "tiles/s of a core": f"{rate:.2f}",
            "GFLOP/s of a core": f"{rate * flops / 1e9:.0f}",
        }
        for name in ("country", "continent", "land"):
            row[f"{name}: core-hours"] = f"{given.outlines[name]['tiles'] / rate / HOUR:,.0f}"
        row["tiles/s of a GPU, assumed"] = f"{gpu:,.0f}"
        for name in ("continent", "land"):
            hours = given.outlines[name]["tiles"] / gpu / HOUR
            row[f"{name}: GPU-hours, assumed"] = f"{hours:,.1f}"
        rows.append(row)
    return rows


def files(given: Inputs) -> list[Row]:
    """Files that a run keeps, and what a start asks of the file system."""
    rows = []
    for name, found in given.sizes():
        row: dict[str, Any] = {"size": name}
        for side in (2, 4, 8, 16):
            row[f"run, shards of {side}"] = si(cost.files(found["squares"][str(side)], 0)["run"])
        row["cache, 576 px"] = si(cost.files(0, found["squares"]["2"])["cache"])
        row["cache, 1152 px"] = si(cost.files(0, found["squares"]["4"])["cache"])
        for jobs in (1, 64, 1024):
            row[f"start of 1 of {jobs:,}"] = si(cost.start_requests(found["squares"]["8"], jobs))
        rows.append(row)
    return rows


def limits(given: Inputs) -> list[Row]:
    """How long each limit alone would make a run take, and which binds."""
    rows, assumed, gpus = [], given.assumed, given.assumed.gpus
    for name, found in given.sizes():
        blocks, tiles, shards = found["squares"]["2"], found["tiles"], found["squares"]["8"]
        eecu = cost.eecu_hours(blocks, assumed.eecu_s)
        writing = {}
        for kind in ("vectors", "vectors+grids"):
            shard, tile = given.write_s(kind)
            writing[kind] = (shard * shards + tile * tiles) / gpus
        times = {
            "requests": cost.fetch_seconds(blocks, 576, assumed.latency_s),
            # What a month's quota allows may be used up in a day: within it, quota costs no time.
            "quota": 0.0 if eecu <= assumed.tier else eecu / assumed.tier * MONTH,
            f"{gpus} GPUs": tiles / given.gpu_tiles_per_s / gpus,
            f"{gpus} processes writing vectors": writing["vectors"],
            "grids as well": writing["vectors+grids"],
        }
        row = {"size": name} | {key: span(value) for key, value in times.items()}
        row["quota"] += f" ({eecu / assumed.tier:.1%} of a month's)" if not times["quota"] else ""
        rows.append(row | {"binds": max(times, key=lambda key: times[key])})
    return rows


def scenarios(given: Inputs) -> dict[str, tuple[str, Fleet]]:
    """Return outline and fleet of every simulation, by what it is called."""
    start, restart = given.costs["start_cpu_seconds"], given.assumed.restart_s
    shard_s, tile_s = given.write_s()
    # What the project's requests let through, in tiles of blocks of 2 x 2.
    fetched = 4 * cost.requests_per_second(given.assumed.latency_s)

    def fleet(nodes: int, rate: float, batch_s: float = 0.0) -> Fleet:
        return Fleet(
            nodes=nodes,
            jobs=64,
            tiles_per_s=rate,
            batch_s=batch_s,
            write_shard_s=shard_s,
            write_tile_s=tile_s,
            start_s=start,
            restart_s=restart,
        )

    gpus = given.assumed.gpus
    return {
        "country, 16 nodes of 2 cores": (
            "country",
            fleet(16, 2 * given.core_tiles_per_s("thor_v1_base")),
        ),
        "continent, empty cache, 8 jobs": ("continent", fleet(8, fetched / 8)),
        f"continent, cached, {gpus} GPUs": (
            "continent",
            fleet(gpus, given.gpu_tiles_per_s, given.assumed.batch_s),
        ),
    }


def shards(given: Inputs) -> list[Row]:
    """Which shard size survives pre-emption."""
    rows = []
    for what, (name, fleet) in scenarios(given).items():
        ideal = given.outlines[name]["tiles"] / fleet.tiles_per_s
        for side in SHARD_SIDES:
            found = []
            for seed in range(_REPEATS):
                tiles = tiles_of_shards(given.outlines[name]["squares_by_tiles"][str(side)], seed)
                times = shard_times(tiles, fleet, given.replay, seed)
                uptime = (
                    traced(given.uptimes, seed)
                    if given.uptimes
                    else exponential(given.assumed.uptime_h * HOUR, seed)
                )
                found.append(simulate(times, fleet, uptime))
            busy = float(np.mean([one.busy_s for one in found]))
            kept = float(np.mean([one.kept_s for one in found]))
            lost = float(np.mean([one.lost_s for one in found]))
            starts = float(np.mean([one.starts_s for one in found]))
            rows.append(
                {
                    "run": what,
                    "shard_tiles": side,
                    "shards": f"{len(tiles):,}",
                    "a full shard": span(float(shard_times(np.array([side**2]), fleet)[0])),
                    "interrupted": f"{np.mean([one.interruptions for one in found]):.0f}",
                    "lost": f"{lost / busy:.2%}",
                    "starts": f"{starts / busy:.1%}",
                    "batches, writing": f"{max(0.0, kept - ideal) / busy:.1%}",
                    "wall time": span(float(np.mean([one.wall_s for one in found]))),
                }
            )
    return rows


#: The tables by the name they have in docs/scale.md.
TABLES: dict[str, Callable[[Inputs], list[Row]]] = {
    "counts": counts,
    "requests": requests,
    "quota": quota,
    "meeting": meeting,
    "storage": storage,
    "computing": computing,
    "files": files,
    "limits": limits,
    "shards": shards,
}
