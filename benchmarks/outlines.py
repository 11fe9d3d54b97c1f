"""How many tiles, shards and blocks real outlines need, from a village to all land.

Backs the tables of docs/scale.md, which `benchmarks.planet` calculates from results/outlines.json.

    python -m benchmarks.outlines    # some minutes

The outlines are Natural Earth's 1:110m countries (public domain), which pyogrio's wheel carries for
its own tests; ``--countries`` names another file with the columns ``name`` and ``continent``. At
that scale coasts are smooth and small islands are missing: the counts are good to a few percent.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from benchmarks.support.report import machine, parser, table, write_result
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan

#: Sides in tiles of the squares that are counted: blocks of 576 and 1152 px, shards of 8 x 8.
SIDES = (1, 2, 4, 8)

#: A tile must not straddle the antimeridian: that much of both its sides is left out, degrees.
_ANTIMERIDIAN = 0.1

#: UTM's limits, degrees.
_SOUTH, _NORTH = -80.0, 84.0

#: An equal-area CRS for the whole Earth (EASE-Grid 2.0).
_EQUAL_AREA = "EPSG:6933"

#: What is counted: name in the tables, and which countries.
OUTLINES = {
    "country": "Norway, Svalbard included",
    "continent": "Africa",
    "land": "all land but Antarctica, which Sentinel-2 does not cover",
}


def default_countries() -> Path:
    """Return the path of the countries in pyogrio's wheel."""
    import pyogrio

    folder = Path(pyogrio.__file__).parent / "tests" / "fixtures" / "naturalearth_lowres"
    return folder / "naturalearth_lowres.shp"


def outline(countries: Any, name: str) -> list[Area]:
    """Return one of the outlines as areas, none of them wider than half the globe."""
    chosen = {
        "country": countries.name == "Norway",
        "continent": countries.continent == "Africa",
        "land": countries.continent != "Antarctica",
    }[name]
    land = shapely.union_all(shapely.make_valid(countries.geometry[chosen].to_numpy()))
    # Greenwich is a zone's edge, so halves share no tile.
    west = shapely.box(-180.0 + _ANTIMERIDIAN, _SOUTH, 0.0, _NORTH)
    east = shapely.box(0.0, _SOUTH, 180.0 - _ANTIMERIDIAN, _NORTH)
    halves = [shapely.intersection(land, half) for half in (west, east)]
    return [Area(geometry=half, source=OUTLINES[name]) for half in halves if half.area > 0]


def count(plan: Plan) -> dict[str, Any]:
    """Count the squares of tiles that a plan touches, by their side in tiles.

    Shards and blocks hang from the same corner, so a block of 576 px is a square of two tiles.
    """
    zone = plan.zone.astype(np.int64)
    squares = {}
    for side in SIDES:
        col, row = plan.col.astype(np.int64) // side, -(-plan.row.astype(np.int64) // side)
        key = (zone << 48) + ((col + (1 << 20)) << 24) + (row + (1 << 20))
        squares[str(side)] = len(np.unique(key))
    return {
        "tiles": len(plan),
        "zones": len(np.unique(zone)),
        "not_primary": int(len(plan) - plan.primary.sum()),
        "squares": squares,
    }


def measure(areas: list[Area], what: str, km2: float) -> dict[str, Any]:
    """Plan areas with the default tiles and count."""
    begin = time.perf_counter()
    plans = [Plan.from_area(area, Lattice(epsg=32601)) for area in areas]
    seconds = time.perf_counter() - begin
    parts = [count(plan) for plan in plans]  # areas that share no zone
    return {
        "what": what,
        "km2": round(km2),
        **{key: sum(part[key] for part in parts) for key in ("tiles", "zones", "not_primary")},
        "squares": {str(side): sum(part["squares"][str(side)] for part in parts) for side in SIDES},
        "plan_seconds": round(seconds, 1),
    }


def main() -> None:
    """Count, print and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--countries", type=Path, default=default_countries(), help="the file")
    options = arguments.parse_args()
    import geopandas

    countries = geopandas.read_file(options.countries)
    village = AreaSpec(point=(10.75, 59.91), buffer_m=2500).load()
    counted = {"village": measure([village], "a square of 5 km", 25.0)}
    for name in OUTLINES:
        areas = outline(countries, name)
        series = geopandas.GeoSeries([area.geometry for area in areas], crs="OGC:CRS84")
        km2 = float(series.to_crs(_EQUAL_AREA).area.sum()) / 1e6
        counted[name] = measure(areas, OUTLINES[name], km2)
        print(f"{name}: {counted[name]['tiles']:,} tiles", flush=True)
    rows = [
        {
            "outline": f"{name}: {outlined['what']}",
            "km2": f"{outlined['km2']:,}",
            "tiles": f"{outlined['tiles']:,}",
            "shards of 8": f"{outlined['squares']['8']:,}",
            "blocks of 576 px": f"{outlined['squares']['2']:,}",
            "seconds to plan": outlined["plan_seconds"],
        }
        for name, outlined in counted.items()
    ]
    print(table(rows))
    write_result("outlines", {"machine": machine(), "outlines": counted})


if __name__ == "__main__":
    main()
