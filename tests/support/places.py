"""Plans of places without a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from thor_geo.ground.lattice import Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places

#: Start and day after the end.
Span = tuple[str, str]
SUMMER: Span = ("2022-06-01", "2022-09-01")


def places_at(
    points: Sequence[tuple[float, float]],
    windows: Sequence[Span] | Span = SUMMER,
    polygons: Sequence[object] | None = None,
) -> Places:
    """Return a table of points.

    Args:
        points: Longitude and latitude of each row.
        windows: The window of each row, or one for all.
        polygons: What each row covers; None for points alone.
    """
    lon, lat = np.array(points, dtype=np.float64).reshape(-1, 2).T
    rows = windows if len(windows) and not isinstance(windows[0], str) else [windows] * len(lon)
    spans = np.array(rows, dtype="datetime64[us]").reshape(-1, 2)
    shapes = None
    if polygons is not None:
        shapes = np.empty(len(lon), dtype=object)
        shapes[:] = polygons
    return Places(
        source="points",
        lon=lon,
        lat=lat,
        starts=spans[:, 0],
        ends=spans[:, 1],
        columns=pa.table({}),
        id=None,
        polygons=shapes,
        skipped={},
        digests={"geometry": str(hash((lon.tobytes(), lat.tobytes()))), "end": str(spans)},
    )


def place_plan(
    points: Sequence[tuple[float, float]],
    windows: Sequence[Span] | Span = SUMMER,
    *,
    tile_size: int = 288,
    block_size: int | None = 576,
    unit: int = 2,
    shard_places: int = 64,
) -> PlacePlan:
    """Return the plan of a table of points; see `places_at` and `PlacePlan.from_places`."""
    return PlacePlan.from_places(
        places_at(points, windows),
        Lattice(epsg=32601, tile_size=tile_size),
        unit=unit,
        shard_places=shard_places,
        block_size=block_size,
    )
