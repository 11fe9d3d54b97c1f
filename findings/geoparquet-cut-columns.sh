#!/usr/bin/env bash
# pyarrow: columns cut from a GeoParquet file without the geometry are still written as GeoParquet,
# and geopandas refuses such a file even for the columns it has.
#
# Versions: pyarrow 26.0.1, geopandas 1.2.0, duckdb 2.0.0, pandas 3.1.1; wheels from the package index.
# Input: a GeoParquet file of two points with three plain columns.
#
# read_table(columns=[...]) keeps the file's metadata, "geo" too, and write_table writes it: the new
# file names a primary column that it does not have. geopandas.read_parquet raises for it, with
# columns=["a"], too, and advises pandas; pandas and DuckDB read it as a plain table. A file that
# pandas has cut has no such metadata.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import duckdb
import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

print(f"pyarrow {pa.__version__}, geopandas {gpd.__version__}, duckdb {duckdb.__version__}")
points = gpd.points_from_xy([10, 11], [59, 60])
table = gpd.GeoDataFrame({"a": [1, 2], "lon": [10.0, 11.0], "lat": [59.0, 60.0]}, geometry=points)
table.set_crs(4326).to_parquet("whole.parquet")
pq.write_table(pq.read_table("whole.parquet", columns=["a", "lon", "lat"]), "cut.parquet")
schema = pq.read_schema("cut.parquet")
print(f"  pyarrow: columns {schema.names}, metadata {sorted(schema.metadata)}")
assert b"geo" in schema.metadata
assert "geometry" not in schema.names
for columns in (None, ["a"]):
    try:
        gpd.read_parquet("cut.parquet", columns=columns)
        raise SystemExit("geopandas reads it")
    except ValueError as error:
        print(f"  geopandas, columns={columns}: {' '.join(str(error).split())[:70]} ...")
assert pd.read_parquet("cut.parquet").columns.tolist() == ["a", "lon", "lat"]
assert len(duckdb.sql("select a from 'cut.parquet'").fetchall()) == 2
pd.read_parquet("whole.parquet", columns=["a"]).to_parquet("pandas.parquet")
assert b"geo" not in pq.read_schema("pandas.parquet").metadata
print("  pandas and DuckDB read it")
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    pyarrow==26.0.1 geopandas==1.2.0 duckdb==2.0.0 pandas==3.1.1
cd "$folder"
"$folder/env/bin/python" "$folder/check.py"
echo "as described"
