"""How many tiles, shards and blocks real outlines need, from a village to all land.

    python -m benchmarks.outlines

The outlines are Natural Earth's 1:110m countries (public domain), which pyogrio's wheel carries for
its own tests; ``--countries`` names another file with the columns ``name`` and ``continent``. At
that scale coasts are smooth and small islands are missing: the counts are good to a few percent.

Prints a table and writes ``benchmarks/results/outlines.json``, from which `benchmarks.planet`
reckons. The whole land takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from benchmarks.report import RESULTS, machine, table
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan

RESULT = RESULTS / "outlines.json"

#: Sides in tiles of the squares that are counted: shards of 2 to 16 tiles, blocks of 1 to 4.
SIDES = (1, 2, 3, 4, 6, 8, 12, 16)

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
    squares, filled = {}, {}
    for side in SIDES:
        col, row = plan.col.astype(np.int64) // side, -(-plan.row.astype(np.int64) // side)
        key = (zone << 48) + ((col + (1 << 20)) << 24) + (row + (1 << 20))
        _, tiles = np.unique(key, return_counts=True)
        squares[str(side)] = len(tiles)
        # How many of them hold 1, 2, ... tiles: what the simulator draws shards from.
        filled[str(side)] = np.bincount(tiles, minlength=side * side + 1)[1:].tolist()
    return {
        "tiles": len(plan),
        "zones": len(np.unique(zone)),
        "not_primary": int(len(plan) - plan.primary.sum()),
        "squares": squares,
        "squares_by_tiles": filled,
    }


def total(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up the counts of areas that share no zone."""
    first, *others = counts
    for other in others:
        first = {
            key: (
                total([value, other[key]])
                if isinstance(value, dict)
                else np.add(value, other[key]).tolist()
            )
            for key, value in first.items()
        }
    return first


def measure(areas: list[Area], what: str, km2: float) -> dict[str, Any]:
    """Plan areas with the default tiles and count."""
    begin = time.perf_counter()
    plans = [Plan.of(area, Lattice(epsg=32601)) for area in areas]
    seconds = time.perf_counter() - begin
    counted = total([count(plan) for plan in plans])
    return {"what": what, "km2": round(km2), **counted, "plan_seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--countries", type=Path, default=None, help="file of countries")
    parser.add_argument("--only", nargs="*", default=list(OUTLINES), help="which outlines")
    args = parser.parse_args()
    import geopandas

    countries = geopandas.read_file(args.countries or default_countries())
    village = AreaSpec(point=(10.75, 59.91), buffer_m=2500).load()
    counted = {"village": measure([village], "a square of 5 km", 25.0)}
    for name in args.only:
        areas = outline(countries, name)
        series = geopandas.GeoSeries([area.geometry for area in areas], crs="OGC:CRS84")
        km2 = float(series.to_crs(_EQUAL_AREA).area.sum()) / 1e6
        counted[name] = measure(areas, OUTLINES[name], km2)
        print(f"{name}: {counted[name]['tiles']:,} tiles", flush=True)
    rows = [
        {
            "outline": f"{name}: {found['what']}",
            "km2": f"{found['km2']:,}",
            "tiles": f"{found['tiles']:,}",
            "shards of 8": f"{found['squares']['8']:,}",
            "blocks of 576 px": f"{found['squares']['2']:,}",
            "seconds to plan": found["plan_seconds"],
        }
        for name, found in counted.items()
    ]
    print(table(rows))
    RESULT.parent.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "outlines": counted})
    RESULT.write_text(text.replace('}, "', '},\n "') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
