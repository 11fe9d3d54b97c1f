#!/usr/bin/env bash
# A FlatGeobuf read as Arrow has lost the zones of its times: 10:00+02:00 comes as 10:00 without a
# zone, two hours off the same table as GeoPackage, whose Arrow times are the right instants in UTC.
#
# Versions: pyogrio 0.13.0 with GDAL 3.12.4, geopandas 1.2.0, pyarrow 26.0.1. Seen with two times
# that have +02:00, written by geopandas:
#
#                                  read_arrow                      read_dataframe
#   FlatGeobuf                     timestamp[ms], 10:00            10:00+02:00
#   GeoPackage                     timestamp[ms, UTC], 08:00       10:00+02:00
#   GeoJSON                        timestamp[ms, +02:00], 10:00    10:00+02:00
#   FlatGeobuf, as strings         2021-06-14T10:00:00+02:00
#
# Whoever compares the days of a survey with those of satellite scenes is off by a day around
# midnight, depending on the format alone. read_dataframe gets the zones in both of its modes; for
# read_arrow there is datetime_as_string=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyogrio==0.13.0 geopandas==1.2.0 pyarrow==26.0.1
cat > "$folder/check.py" <<'PY'
import datetime as dt
import sys
import warnings

import geopandas
import pandas
import pyarrow
import pyogrio
import shapely

warnings.simplefilter("ignore")  # "Non-conformant content", of GeoPackage's times with a zone
print(f"pyogrio {pyogrio.__version__}, GDAL {pyogrio.__gdal_version_string__}, "
      f"geopandas {geopandas.__version__}, pyarrow {pyarrow.__version__}")
instants = [dt.datetime(2021, 6, day, 8, tzinfo=dt.timezone.utc) for day in (14, 15)]
frame = geopandas.GeoDataFrame(
    {"day": pandas.to_datetime(["2021-06-14T10:00:00+02:00", "2021-06-15T10:00:00+02:00"])},
    geometry=shapely.points([[10, 50], [11, 51]]),
    crs=4326,
)
seen = {}
for driver, suffix in (("FlatGeobuf", "fgb"), ("GPKG", "gpkg"), ("GeoJSON", "geojson")):
    path = f"{sys.argv[1]}/times.{suffix}"
    frame.to_file(path, driver=driver)
    column = pyogrio.read_arrow(path)[1]["day"]
    arrow = sorted(column.to_pylist())
    texts = sorted(pyogrio.read_arrow(path, datetime_as_string=True)[1]["day"].to_pylist())
    frames = [
        sorted(pyogrio.read_dataframe(path, use_arrow=use)["day"].tolist()) for use in (False, True)
    ]
    print(f"  {driver}: read_arrow {column.type} {arrow[0]}, read_dataframe {frames[0][0]}, "
          f"text {texts[0]}")
    seen[driver] = column.type.tz, arrow
    assert frames == [instants, instants], frames
assert seen["FlatGeobuf"] == (None, [i.replace(hour=10, tzinfo=None) for i in instants]), seen
assert seen["GPKG"] == ("UTC", instants), seen
assert seen["GeoJSON"] == ("+02:00", instants), seen
PY
"$folder/venv/bin/python" "$folder/check.py" "$folder"
echo "as described"
