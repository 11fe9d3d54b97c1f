"""Runs without a model: shards, markers and plan as a real run writes them, with random vectors."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs import RunDirectory
from thor_geo.runs.failures import Failure
from thor_geo.runs.markers import Marker, ShardFile, failures_bytes
from thor_geo.runs.pooled import pooled_bytes, pooled_table
from thor_geo.runs.shard import Shapes, ShardResult
from thor_geo.specs import TemporalSpec
from thor_geo.storage.files import write_bytes

WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
#: Scenes of every tile: as many clear ones as a summer has over a place.
SCENES = tuple(f"202206{1 + k:02d}T103629_202206{1 + k:02d}T104000_T32UNC" for k in range(12))
# Centre of the square that is planned: on the edge between zones 32 and 33, which overlap there.
_LON, _LAT = 12.0, 50.0
_KM_PER_DEGREE = 111.2


def square_plan(tiles: int, *, tile_size: int = 288, shard_tiles: int = 8) -> Plan:
    """Return the plan of a square on a zone's edge, of about so many tiles."""
    half = math.sqrt(tiles) * tile_size * 0.01 / 2 / _KM_PER_DEGREE
    wide = half / math.cos(math.radians(_LAT))
    box = (_LON - wide, _LAT - half, _LON + wide, _LAT + half)
    lattice = Lattice(epsg=32632, tile_size=tile_size, shard_tiles=shard_tiles)
    return Plan.from_area(AreaSpec(bbox=box).load(), lattice)


def prepare(path: Path, plan: Plan, dimension: int) -> RunDirectory:
    """Create a run directory without shards."""
    run = RunDirectory(path)
    settings = {
        "data": {"start": "2022-06-01", "end": "2022-09-01", "source": "synthetic"},
        "model": {"dimension": dimension},
        "output": {"pooled": True, "grid": False, "dtype": "float32"},
    }
    run.prepare(settings, {"statistics": {"B2": [0.17, 0.26]}}, plan)
    return run


def write_shards(run: RunDirectory, plan: Plan, dimension: int) -> None:
    """Write every shard: normal random vectors, one failed tile in a thousand."""
    random = np.random.default_rng(0)
    shapes = Shapes(pooled=(dimension,), grid=None)
    for shard in plan.shards:
        result = ShardResult(plan, shard, shapes)
        n = len(shard)
        result.pooled = random.standard_normal((n, dimension), dtype=np.float32)
        result.valid_fraction[:] = 1
        result.observations_mean[:] = random.uniform(2, 9, n)
        result.status, result.scenes = ["ok"] * n, [SCENES] * n
        for k in np.flatnonzero(random.random(n) < 0.001).tolist():
            result.status[k], result.error[k], result.scenes[k] = "failed", "no such block", ()
        content = pooled_bytes(pooled_table(result, plan, WINDOW, "float32", run.metadata))
        write_bytes(run.pooled_path(shard), content)
        failed = [
            plan.tile(shard.start + k).id
            for k, word in enumerate(result.status)
            if word == "failed"
        ]
        outputs = {f"pooled/{shard.id}.parquet": ShardFile.of(content)}
        observed = [
            None if status == "failed" else round(float(mean), 2)
            for status, mean in zip(result.status, result.observations_mean, strict=True)
        ]
        write_marker(run, shard, failed=failed, outputs=outputs, observations=observed)


def write_marker(
    run: RunDirectory,
    shard: Shard,
    *,
    failed: list[str],
    outputs: dict[str, ShardFile],
    observations: Sequence[float | None] | None = None,
) -> None:
    """Write a shard's marker, without waiting for the disk: that is not measured here."""
    if observations is None:
        observations = (None,) * len(failed) + (4.25,) * (len(shard) - len(failed))
    now = dt.datetime.now(dt.UTC).isoformat()
    marker = Marker(
        shard_id=shard.id,
        fingerprint=run.fingerprint,
        tiles=len(shard),
        ok=len(shard) - len(failed),
        empty=0,
        failed=len(failed),
        empty_tiles=(),
        failed_tiles=tuple(failed),
        observations_mean=tuple(observations),
        scenes=SCENES,
        outputs=outputs,
        started_at=now,
        finished_at=now,
        compute_seconds=20.0,
        write_seconds=0.1,
        session="0" * 16,
        batches=((32, 10, 288, 288), (32, 10, 288, 288)),
        threads=2,
        fetch={"requests": 40, "retries": 1, "splits": 0, "bytes": 1e8, "seconds": 60.0},
    )
    text = json.dumps(asdict(marker), indent=1, sort_keys=True)
    run.marker_path(shard).write_text(text + "\n", encoding="utf-8")
    if failed:
        failures = [Failure(tile=tile, error="no such block") for tile in failed]
        content = failures_bytes(failures)
        assert content is not None
        write_bytes(run.failures_path(shard), content)
