#!/usr/bin/env bash
# shapely.segmentize: besides adding points, it repairs polygons that are not valid, by dropping ground.
#
# Versions: shapely 2.2.0 (GEOS 3.14.1), geopandas 1.2.0. It is documented to add points, and that is
# all it does to valid polygons. Files of parcels also hold some that cross themselves, have a ring
# over the edge, or parts that overlap. With an edge longer than all of theirs, where no point is
# to be added:
#
#                                        area   make_valid   segmentize   valid after it
#   a ring that crosses itself           0      800          400          yes
#   a hole over the edge                 64     104          84           yes
#   two parts that overlap               8      6            7            yes
#   two parts that share an edge         8      8            8            yes, as one Polygon
#
# (make_valid with method="structure": 800, 84, 7, 8.) Whoever prepares polygons for another CRS and
# checks them afterwards finds nothing to complain of, and the half of a parcel is gone.
#
# Needs Python 3.11 to 3.14: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import geopandas
import shapely
from shapely import MultiPolygon, Polygon, box

print(f"shapely {shapely.__version__}, GEOS {shapely.geos_version_string}")
cases = {
    "crossing": Polygon([(0, 0), (40, 40), (40, 0), (0, 40)]),
    "hole": Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [[(2, 2), (20, 2), (20, 4), (2, 4)]]),
    "overlap": MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)]),
    "edge": MultiPolygon([box(0, 0, 2, 2), box(2, 0, 4, 2)]),
    "valid": Polygon([(0, 0), (40, 0), (40, 40)]),
}
seen = {}
for name, polygon in cases.items():
    dense = shapely.segmentize(polygon, 1000)
    assert geopandas.GeoSeries([polygon]).segmentize(1000)[0].equals(dense)
    assert shapely.is_valid(polygon) == (name == "valid")
    assert shapely.is_valid(dense)
    repaired = [
        shapely.make_valid(polygon).area,
        shapely.make_valid(polygon, method="structure", keep_collapsed=False).area,
    ]
    seen[name] = polygon.area, *repaired, dense.area, dense.geom_type
    print(f"  {name}: area {polygon.area:g}, repaired {repaired}, {dense.geom_type} of {dense.area:g}")
assert seen == {
    "crossing": (0, 800, 800, 400, "Polygon"),
    "hole": (64, 104, 84, 84, "Polygon"),
    "overlap": (8, 6, 7, 7, "Polygon"),
    "edge": (8, 8, 8, 8, "Polygon"),
    "valid": (800, 800, 800, 800, "Polygon"),
}, seen
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check shapely==2.2.0 geopandas==1.2.0
"$folder/venv/bin/python" "$folder/check.py"
echo "as described"
