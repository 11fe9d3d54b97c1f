"""A run of places without a model: its files by hand, embeddings that are functions of place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from thor_geo.ground.lattice import Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import Marker, ShardFile

CROPS = ("wheat", "maize", "barley", "rapeseed")
DIMENSION, CENTRE_DIMENSION = 6, 4


def table_of(
    lon: Any, lat: Any, *, seed: int = 0, years: tuple[int, ...] = (2021, 2022), offset: int = 0
) -> Places:
    """Return a table with ids, a crop, a country and a yield, each place in one of some summers."""
    lon, lat = np.asarray(lon, float), np.asarray(lat, float)
    n, rng = len(lon), np.random.default_rng(seed)
    starts = np.array([f"{years[k % len(years)]}-05-01" for k in range(n)], "datetime64[us]")
    crops = [CROPS[k] for k in np.minimum(rng.geometric(0.4, n) - 1, 3)]
    columns = pa.table(
        {
            "plot_id": [f"P{k:04d}" for k in range(n)],
            "yield": pa.array(rng.uniform(1, 9, n), pa.float32()),
            "crop": pa.array([None if k % 17 == 3 else crop for k, crop in enumerate(crops)]),
            "country": ["NO" if k % 2 else "SE" for k in range(n)],
        }
    )
    return Places(
        source="survey.csv",
        lon=lon,
        lat=lat,
        starts=starts,
        ends=starts + np.timedelta64(90 + offset, "D"),
        columns=columns,
        id="plot_id",
        polygons=None,
        skipped={},
        digests={
            "geometry": f"{hash((lon.tobytes(), lat.tobytes()))}",
            "datetime_start": str(years),
        },
    )


def plan_of_places(places: Places, *, shard_places: int = 8, tile_size: int = 96) -> PlacePlan:
    """Return the plan of a table, in small shards."""
    return PlacePlan.from_places(
        places,
        Lattice(epsg=32632, tile_size=tile_size),
        unit=2,
        shard_places=shard_places,
        block_size=None,
    )


def embed_place(lon: float, lat: float, year: int = 0) -> np.ndarray:
    """Return (D,): functions of longitude and latitude."""
    a, b = np.radians(lon), np.radians(lat)
    return np.array(
        [
            np.cos(b) * np.cos(a),
            np.cos(b) * np.sin(a),
            np.sin(b),
            np.sin(40 * a),
            np.cos(40 * b),
            year,
        ],
        np.float32,
    )


def write_place_run(
    path: Path,
    places: Places,
    plan: PlacePlan,
    *,
    failed: Collection[int] = (),
    empty: Collection[int] = (),
    only: int | None = None,
    centre: bool = True,
    **data: Any,
) -> RunDirectory:
    """Write a run; *failed* and *empty* are rows of the table, *only* so many shards."""
    run = RunDirectory(path)
    span = {
        "start": min(each.start for each in plan.windows).date().isoformat(),
        "end": max(each.end for each in plan.windows).date().isoformat(),
    }
    settings = {
        "data": {
            **span,
            "places": {
                "rows": len(places),
                "id": places.id,
                "columns": places.columns.column_names,
                "content": dict(places.digests),
                "within": False,
                "shard_places": plan.shard_places,
            },
            **data,
        },
        "model": {"patch_size": 16},
        "output": {"pooled": True, "grid": False, "dtype": "float32", "centre": centre},
    }
    info = {"model": {"model_key": "thor_v1_tiny", "pretrained": False}, "data": {"source": "test"}}
    run.prepare(settings, info, plan)
    run.pooled.mkdir(exist_ok=True)
    for shard in list(plan.shards)[:only]:
        _write_shard(run, places, plan, shard, set(failed), set(empty), centre)
    return run


def _write_shard(
    run: RunDirectory,
    places: Places,
    plan: PlacePlan,
    shard: Any,
    failed: set[int],
    empty: set[int],
    centre: bool,
) -> None:
    indices = range(shard.start, shard.stop)
    rows = [int(plan.place[k]) for k in indices]
    status = ["failed" if r in failed else "empty" if r in empty else "ok" for r in rows]
    vectors = [
        embed_place(plan.lon[k], plan.lat[k], plan.window_of(k).start.year - 2020).tolist()
        if status[k - shard.start] == "ok"
        else None
        for k in indices
    ]
    means = [
        None if s == "failed" else 0.0 if s == "empty" else r % 7 + 2.5
        for s, r in zip(status, rows, strict=True)
    ]
    table = {
        "id": [f"{plan.tile(k).id}_p{plan.place[k]}" for k in indices],
        "tile_id": [plan.tile(k).id for k in indices],
        "embedding": pa.array(vectors, pa.list_(pa.float32())),
        "datetime_start": pa.array(
            [plan.window_of(k).start for k in indices], pa.timestamp("us", "UTC")
        ),
        "observations_mean": pa.array(means, pa.float32()),
        "status": status,
        "place": pa.array(rows, pa.int64()),
        **(
            {
                "centre": pa.array(
                    [None if v is None else v[::-1][:CENTRE_DIMENSION] for v in vectors],
                    pa.list_(pa.float32()),
                )
            }
            if centre
            else {}
        ),
    }
    own = places.columns.take(pa.array(rows))
    whole = pa.table({**table, **{name: own[name] for name in own.column_names}})
    dimensions = b'{"dimensions": %d}'
    whole = whole.replace_schema_metadata(
        {"geoemb": dimensions % DIMENSION, "centre": dimensions % CENTRE_DIMENSION}
    )
    file = run.pooled_path(shard)
    pq.write_table(whole, file)
    now = dt.datetime.now(dt.UTC).isoformat()
    Marker(
        shard_id=shard.id,
        fingerprint=run.fingerprint,
        tiles=len(rows),
        ok=status.count("ok"),
        empty=status.count("empty"),
        failed=status.count("failed"),
        empty_tiles=tuple(f"p{r}" for r, s in zip(rows, status, strict=True) if s == "empty"),
        failed_tiles=tuple(f"p{r}" for r, s in zip(rows, status, strict=True) if s == "failed"),
        observations_mean=tuple(means),
        scenes=(),
        outputs={f"pooled/{file.name}": ShardFile.from_path(file)},
        started_at=now,
        finished_at=now,
        compute_seconds=1.0,
        write_seconds=0.1,
    ).write(run.marker_path(shard))
