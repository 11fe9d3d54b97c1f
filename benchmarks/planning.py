"""What planning costs, in seconds and memory: a million tiles, all land, a million places.

Claim (docs/performance.md, "Memory and large runs"): a million tiles, or a table of a million
places, are planned in under 60 s and 1.5 GB, and rank or job 517 of 1,024 starts in under 30 s.

    python -m benchmarks.planning            # 3 minutes
    python -m benchmarks.planning --quick    # the million tiles and the million places: 2 minutes

The areas are made up: land with ragged coasts, of 100,000 and of half a million corners, over many
zones and both hemispheres. So is the table: places on three continents, each with a day of five
years and labels, as Parquet. Every step runs in a process of its own, whose clock starts before
Python does and whose peak memory (VmHWM) is its own:

- plan: read the area or table, plan it, compute its digest;
- write: then also write plan.parquet;
- read: read plan.parquet back, without the area or table;
- start: what rank 517 of 1,024 does before its first batch. It imports Lightning and TorchGeo,
  plans, compares run.json, looks at the markers of its share (half of them exist), and lists its
  batches and its first 64 blocks. The ranks' exchange is not part of it: the shares of the others
  count as unfinished.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.support.processes import python, resident_mb
from benchmarks.support.report import Report, parser

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import shapely

    from thor_geo.ground.plan import Plan

RANK, RANKS = 517, 1024

#: Largest figures that the claim allows: seconds and gigabytes for a million tiles, seconds.
MOST_SECONDS, MOST_GB, MOST_START_SECONDS = 60.0, 1.5, 30.0


#: The plans that have limits of their own: an area's, and a table's.
MILLION, PLACES = "1 million", "1 million places"

#: Continents: longitude and latitude of the middle, half the height and width in degrees, corners.
AREAS: dict[str, list[tuple[float, float, float, float, int]]] = {
    MILLION: [(22.0, -3.0, 15.2, 15.5, 100_000)],
    "all land": [
        (20.0, 5.0, 36.0, 30.0, 80_000),
        (85.0, 50.0, 27.0, 66.0, 150_000),
        (105.0, 22.0, 13.0, 19.0, 50_000),
        (-100.0, 50.0, 24.0, 42.0, 90_000),
        (-60.0, -17.0, 32.0, 20.0, 60_000),
        (134.0, -25.0, 16.0, 22.0, 30_000),
        (-42.0, 71.0, 12.0, 22.0, 30_000),
        (46.0, -19.0, 7.0, 3.0, 10_000),
        (114.0, 0.0, 5.0, 6.0, 10_000),
        (171.0, -43.0, 5.0, 3.0, 10_000),
    ],
}


def coast(
    rng: np.random.Generator, continent: tuple[float, float, float, float, int]
) -> shapely.Geometry:
    """Return a continent whose coast is ragged at all scales, and valid by construction.

    The distance from its middle is a random function of the direction with a power-law spectrum.
    """
    import numpy as np
    import shapely

    lon, lat, height, width, corners = continent
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    waves = np.arange(2, corners // 3)
    spectrum = np.zeros(corners // 2 + 1, dtype=complex)
    spectrum[waves] = waves**-1.2 * np.exp(2j * np.pi * rng.random(len(waves)))
    rough = np.fft.irfft(spectrum, corners)
    reach: npt.NDArray[np.float64] = np.exp(0.35 * rough / rough.std())
    reach /= np.sqrt((reach**2).mean())
    reach = np.minimum(reach, 1.6)
    ring = np.column_stack(
        [lon + width * reach * np.cos(angle), lat + height * reach * np.sin(angle)]
    )
    return shapely.Polygon(ring)


def write_area(path: Path, continents: list[tuple[float, float, float, float, int]]) -> None:
    """Write continents as one area."""
    import geopandas as gpd
    import numpy as np
    import shapely

    rng = np.random.default_rng(0)
    land = [coast(rng, continent) for continent in continents]
    world = shapely.box(-179.8, -79.0, 179.8, 83.0)
    merged = shapely.intersection(shapely.union_all(land), world)
    gpd.GeoDataFrame(geometry=[merged], crs="OGC:CRS84").to_file(path)


def write_places(path: Path, count: int) -> None:
    """Write a table of places: ids, degrees, days of five years, and labels with gaps."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    middles = np.array([(22.0, 0.0), (15.0, 50.0), (-100.0, 40.0)])
    lon, lat = (middles[rng.integers(3, size=count)] + rng.uniform(-12, 12, (count, 2))).T
    days = np.datetime64("2018-01-01", "D") + rng.integers(5 * 365, size=count)
    crops = pa.array(["maize", "wheat", "grass", None]).take(pa.array(rng.integers(4, size=count)))
    columns = {
        "plot": pa.array([f"P{k:07d}" for k in range(count)]),
        "lon": lon,
        "lat": lat,
        "surveyed": pa.array(days),
        "crop": crops,
        "height_m": rng.uniform(0, 3000, count),
    }
    pq.write_table(pa.table(columns), path)


# --- what runs in a process of its own ---


def load_plan(folder: Path) -> Plan:
    """Plan an area or a table with the default tiles."""
    from thor_geo.ground.area import AreaSpec
    from thor_geo.ground.lattice import Lattice
    from thor_geo.ground.place_plan import PlacePlan
    from thor_geo.ground.places import PlacesSpec
    from thor_geo.ground.plan import Plan

    lattice, table = Lattice(epsg=32601), folder / "places.parquet"
    if not table.exists():
        return Plan.from_area(AreaSpec(file=folder / "area.gpkg").load(), lattice)
    places = PlacesSpec(file=table, id="plot", date="surveyed").load()
    return PlacePlan.from_places(places, lattice, unit=2, shard_places=64, block_size=576)


def settings(folder: Path) -> dict[str, Any]:
    """Return the settings that run.json is compared with: a table's run writes no maps."""
    grid = not (folder / "places.parquet").exists()
    return {"output": {"pooled": True, "grid": grid, "dtype": "float32"}}


def step_plan(folder: Path) -> dict[str, Any]:
    """Plan the area or table."""
    began = time.monotonic()
    plan = load_plan(folder)
    digest, shards = plan.digest, len(plan.shards)
    return {
        "seconds": time.monotonic() - began,
        "tiles": len(plan),
        "shards": shards,
        "zones": len(plan.lattices),
        "columns_mb": sum(c.nbytes for c in (plan.zone, plan.col, plan.row, plan.primary)) / 1e6,
        "digest": digest,
    }


def step_write(folder: Path) -> dict[str, Any]:
    """Plan the area or table and write run.json and plan.parquet."""
    from thor_geo.runs import RunDirectory

    plan = load_plan(folder)
    run = RunDirectory(folder / "run")
    began = time.monotonic()
    run.prepare(settings(folder), {}, plan)
    return {
        "seconds": time.monotonic() - began,
        "tiles": len(plan),
        "file_mb": run.plan_parquet.stat().st_size / 1e6,
        "digest": plan.digest,
    }


def step_read(folder: Path) -> dict[str, Any]:
    """Read plan.parquet back."""
    from thor_geo.runs import RunDirectory

    began = time.monotonic()
    plan = RunDirectory(folder / "run").plan()
    return {"seconds": time.monotonic() - began, "tiles": len(plan), "digest": plan.digest}


def step_mark(folder: Path) -> dict[str, Any]:
    """Finish every second shard of the rank's share."""
    from thor_geo.ground.job import part
    from thor_geo.ground.place_plan import PlacePlan
    from thor_geo.runs import RunDirectory
    from thor_geo.runs.grid import GridStore
    from thor_geo.runs.markers import Marker, ShardFile

    run = RunDirectory(folder / "run")
    plan = run.plan()
    store = None if isinstance(plan, PlacePlan) else GridStore(run.grid, plan, (768, 18, 18))
    for index in part(len(plan.shards), RANK, RANKS)[::2]:
        shard = plan.shards[index]
        outputs = [run.pooled_path(shard)]
        outputs += [] if store is None else [store.embeddings_path(shard)]
        for output in outputs:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_bytes(b"embeddings")
        Marker(
            shard_id=shard.id,
            fingerprint=run.fingerprint,
            tiles=len(shard),
            ok=len(shard),
            empty=0,
            failed=0,
            empty_tiles=(),
            failed_tiles=(),
            observations_mean=(3.25,) * len(shard),
            scenes=tuple(f"20220601T10{k:04d}_20220601T10{k:04d}_T32VNM" for k in range(100)),
            outputs={
                path.relative_to(run.path).as_posix(): ShardFile.from_path(path) for path in outputs
            },
            started_at="2022-09-01T00:00:00+00:00",
            finished_at="2022-09-01T00:01:00+00:00",
            compute_seconds=59.0,
            write_seconds=1.0,
        ).write(run.marker_path(shard))
    return {}


def step_start(folder: Path) -> dict[str, Any]:
    """Start as the rank does."""
    began = time.monotonic()
    import numpy as np

    import thor_geo.datamodules.composite  # noqa: F401  (all of what a run imports)
    from thor_geo.datamodules.sampler import ShardBatchSampler
    from thor_geo.ground.job import part
    from thor_geo.runs import RunDirectory
    from thor_geo.runs.reading import read_markers

    imported = time.monotonic()
    plan = load_plan(folder)
    planned = time.monotonic()
    run = RunDirectory(folder / "run")
    run.prepare(settings(folder), {}, plan, with_plan=False)
    share = part(len(plan.shards), RANK, RANKS)
    states = np.zeros(len(plan.shards), dtype=np.bool_)
    states[share.start : share.stop] = [
        marker is not None and run.confirms(marker, shard)
        for shard, marker in read_markers(run, plan, share)
    ]
    sampler = ShardBatchSampler(
        plan, 32, rank=RANK, world_size=RANKS, shards=np.flatnonzero(~states)
    )
    batch = next(iter(sampler))
    blocks = list(islice(sampler.blocks(576), 64))
    return {
        "seconds": time.monotonic() - began,
        "import_seconds": imported - began,
        "plan_seconds": planned - imported,
        "rest_seconds": time.monotonic() - planned,
        "tiles": len(plan),
        "own_shards": len(share),
        "finished": int(states.sum()),
        "first_tile": batch[0],
        "blocks": len(blocks),
    }


STEPS = {
    "plan": step_plan,
    "write": step_write,
    "read": step_read,
    "mark": step_mark,
    "start": step_start,
}


# --- what starts them ---


def measure(step: str, folder: Path) -> dict[str, Any]:
    """Run a step in a process of its own; return what it measured."""
    done = python("-m", "benchmarks.planning", "--step", step, folder)
    measured: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    return {**measured, "process_seconds": done.seconds, "load": os.getloadavg()[0]}


def main() -> int:
    """Run the benchmark, or one step of it; return the exit code."""
    arguments = parser(__doc__, "the million tiles and the million places")
    arguments.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.step:
        measured = STEPS[options.step[0]](Path(options.step[1]))
        measured |= {"peak_gb": resident_mb() / 1e3, "cpu_seconds": sum(os.times()[:2])}
        print(json.dumps(measured))
        return 0
    report = Report(
        name="planning",
        claim="A million tiles, or a table of a million places, are planned in under 60 s and 1.5 "
        "GB, and rank 517 of 1,024 starts in under 30 s.",
        quick=options.quick,
        notes=[
            "Each step has a process of its own; peak memory is VmHWM, GB are 10^9 bytes.",
            f"start: what rank {RANK} of {RANKS:,} does before its first batch. The land is made "
            "up, with ragged coasts; so is the table, with a window of 91 days for each place.",
        ],
    )
    starts: list[dict[str, Any]] = []
    for name in [MILLION, PLACES] if options.quick else [*AREAS, PLACES]:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            if name == PLACES:
                write_places(folder / "places.parquet", 1_000_000)
            else:
                write_area(folder / "area.gpkg", AREAS[name])
            steps = {step: measure(step, folder) for step in STEPS}
        report.rows += [row(name, step, steps[step]) for step in steps if step != "mark"]
        report.faults += faults(name, steps)
        report.figures[f"{name}: zones"] = steps["plan"]["zones"]
        report.figures[f"{name}: columns of the plan, MB"] = round(steps["plan"]["columns_mb"], 1)
        report.figures[f"{name}: plan.parquet, MB"] = round(steps["write"]["file_mb"], 1)
        parts = {key: steps["start"][f"{key}_seconds"] for key in ("import", "plan", "rest")}
        starts.append({"area": name, **parts})
    report.figures[f"start of rank {RANK}, s"] = starts
    return report.finish()


def row(name: str, step: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "area": name,
        "step": step,
        "tiles": f"{measured['tiles']:,}",
        "seconds": measured["seconds"],
        "with starting Python": measured["process_seconds"],
        "of work (CPU)": measured["cpu_seconds"],
        "load": measured["load"],
        "peak GB": measured["peak_gb"],
    }


def faults(name: str, steps: dict[str, dict[str, Any]]) -> list[str]:
    """Return what does not hold, for one area."""
    plan, start = steps["plan"], steps["start"]
    checks = {
        "what was read is not what was planned": len(
            {steps[step]["digest"] for step in ("plan", "write", "read")}
        )
        > 1,
        f"rank {RANK} did not find its own work": start["finished"] != -(-start["own_shards"] // 2)
        or start["blocks"] != 64,
        "it has fewer than a million tiles": plan["tiles"] < 1_000_000,
        f"rank {RANK} started after {start['process_seconds']:.0f} s": start["process_seconds"]
        > MOST_START_SECONDS,
    }
    if name in (MILLION, PLACES):
        took = f"planning took {plan['process_seconds']:.0f} s and {plan['peak_gb']:.2f} GB"
        checks[took] = plan["process_seconds"] > MOST_SECONDS or plan["peak_gb"] > MOST_GB
    return [f"{name}: {fault}" for fault, wrong in checks.items() if wrong]


if __name__ == "__main__":
    sys.exit(main())
