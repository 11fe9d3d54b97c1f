"""Tables of many places, and runs of them whose vectors are functions of place and window."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.support.place_run import PlaceData, write_places
from tests.support.synthetic_run import embed
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.runs import RunDirectory

CROPS = ("wheat", "maize", "barley", "rapeseed")


def table_of(lon: Any, lat: Any, *, seed: int = 0, years: tuple[int, ...] = (2021, 2022)) -> Places:
    """Return a table with ids, a yield, a crop and a country, each place in one of some summers."""
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
        ends=starts + np.timedelta64(90, "D"),
        columns=columns,
        id="plot_id",
        polygons=None,
        skipped={},
        digests={
            "geometry": hashlib.sha256(lon.tobytes() + lat.tobytes()).hexdigest(),
            "datetime_start": str(years),
        },
    )


def plan_of_places(places: Places, *, shard_places: int = 8) -> PlacePlan:
    """Return the plan of a table, in small shards."""
    return PlacePlan.from_places(
        places,
        Lattice(epsg=32632, tile_size=288),
        unit=2,
        shard_places=shard_places,
        block_size=None,
    )


def write_place_run(
    path: Path,
    places: Places,
    plan: PlacePlan,
    *,
    failed: Collection[int] = (),
    empty: Collection[int] = (),
    only: int | None = None,
    **data: Any,
) -> RunDirectory:
    """Write a run; *failed* and *empty* are rows of the table, *only* so many shards."""
    span = {
        "start": min(each.start for each in plan.windows).date().isoformat(),
        "end": max(each.end for each in plan.windows).date().isoformat(),
    }
    given = PlaceData(places, plan, **data)
    given._settings |= span
    return write_places(
        path,
        places,
        plan,
        failed=dict.fromkeys(failed, "no such block"),
        empty=empty,
        only=only,
        data=given,
    ).run


def vector_of(plan: PlacePlan, index: int) -> np.ndarray:
    """Return the embedding (D,) of a place of the plan, float64."""
    vector: np.ndarray = embed(plan.tile(index))[0].astype(np.float64) + float(plan.window[index])
    return vector
