#!/usr/bin/env bash
# Parquet's own GEOMETRY type: geopandas puts a file's places into another CRS without a word, and
# pyarrow gives bytes without any.
#
# Versions: DuckDB 2.0.0, pyarrow 26.0.1, geopandas 1.2.0. The Parquet format has a type for
# geometries since 2.11, and its CRS stands in the type. DuckDB writes it by GEOPARQUET_VERSION. A
# point at 666000, 6654000 in UTM zone 32 (EPSG:32632), written by COPY and read again:
#
#   the column's CRS in DuckDB   GEOPARQUET_VERSION   the file              geopandas.read_parquet
#   PROJJSON                     V1, V2               `geo` has the CRS     EPSG:32632
#   WKT 2                        V2                   only the type has it  OGC:CRS84, at 666000 degrees
#   PROJJSON or WKT 2            NONE                 only the type has it  ValueError: no geo metadata
#
# In the second row `geo` says version 2.0.0 and no `crs`, which to GeoParquet's readers means
# CRS84. pyarrow knows the type (its CRS is in `ParquetFile(f).schema.column(0).logical_type`), but
# the Arrow column is plain `binary` without any metadata, so pandas, and whoever follows
# geopandas' advice to use pandas.read_parquet, has bytes whose CRS is lost.
#
# Needs Python 3.11 to 3.14: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import json
import sys

import duckdb
import geopandas
import pandas
import pyarrow
import pyarrow.parquet as pq
import pyproj

print(f"DuckDB {duckdb.__version__}, pyarrow {pyarrow.__version__}, geopandas {geopandas.__version__}")
utm = pyproj.CRS("EPSG:32632")
definitions = {"PROJJSON": utm.to_json(), "WKT 2": utm.to_wkt()}
seen = {}
for name, version in [
    ("PROJJSON", "V1"), ("PROJJSON", "V2"), ("WKT 2", "V2"), ("PROJJSON", "NONE"), ("WKT 2", "NONE")
]:
    path = f"{sys.argv[1]}/a.parquet"
    duckdb.sql(
        f"COPY (SELECT 'POINT(666000 6654000)'::GEOMETRY('{definitions[name]}') AS geometry) "
        f"TO '{path}' (FORMAT parquet, GEOPARQUET_VERSION '{version}')"
    )
    opened = pq.ParquetFile(path)
    kind = json.loads(opened.schema.column(0).logical_type.to_json())
    if version != "V1":
        assert pyproj.CRS(kind["crs"]).equals(utm), kind
    field = opened.schema_arrow.field("geometry")
    assert (str(field.type), field.metadata) == ("binary", None), field
    assert isinstance(pandas.read_parquet(path).geometry[0], bytes)
    geo = json.loads((opened.schema_arrow.metadata or {}).get(b"geo", b"null"))
    written = geo and (geo["version"], "crs" in geo["columns"]["geometry"])
    try:
        frame = geopandas.read_parquet(path)
        outcome = f"{frame.crs.to_string()}, {frame.geometry[0]}"
    except ValueError as error:
        outcome = f"ValueError: {str(error).split(' in ')[0]}"
    seen[name, version] = written, outcome
    print(f"  {name}, {version}: type {kind['Type']}, geo metadata {written}: {outcome}")
point = "POINT (666000 6654000)"
missing = None, "ValueError: Missing geo metadata"
assert seen == {
    ("PROJJSON", "V1"): (("1.0.0", True), f"EPSG:32632, {point}"),
    ("PROJJSON", "V2"): (("2.0.0", True), f"EPSG:32632, {point}"),
    ("WKT 2", "V2"): (("2.0.0", False), f"OGC:CRS84, {point}"),
    ("PROJJSON", "NONE"): missing,
    ("WKT 2", "NONE"): missing,
}, seen
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  duckdb==2.0.0 geopandas==1.2.0 pandas==3.1.1 pyarrow==26.0.1 pyproj==3.7.2 shapely==2.2.0
"$folder/venv/bin/python" "$folder/check.py" "$folder"
echo "as described"
