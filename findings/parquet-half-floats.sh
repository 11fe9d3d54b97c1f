#!/usr/bin/env bash
# Parquet: a column of half floats is two bytes a value in DuckDB 1.2 and in fastparquet.
#
# Versions: pyarrow 26.0.1 writes; polars 2.1.0, datafusion 55.0.0, duckdb 1.3.2 and 1.2.2, and
# fastparquet 2026.9.0 read; wheels from the package index.
# Input: 1.5, -2 and 0.1 as float16, in a plain column and in a list.
#
# Parquet stores half floats as FIXED_LEN_BYTE_ARRAY(2) and says FLOAT16 in the logical type, which
# is newer than most readers. polars, datafusion and DuckDB 1.3 give numbers. DuckDB 1.2 (as BLOB)
# and fastparquet, in its newest release, give the two bytes of each value, b"\x00>" for 1.5, and no
# error or warning: a list of embeddings arrives with the right length and no number in it. The
# bytes even compare and sort, in the order of their bits.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1]
halves = np.array([1.5, -2.0, 0.1], np.float16)
numbers, raw = halves.tolist(), [bytes(value.tobytes()) for value in halves]
columns = {"plain": pa.array(halves), "list": pa.array([halves] * 3, pa.list_(pa.float16()))}
pq.write_table(pa.table(columns), path)


def told(name, plain, listed, expected):
    plain, listed = list(plain), [bytes(v) if isinstance(v, bytes) else v for v in listed[0]]
    print(f"  {name}: {plain}, {listed}")
    assert plain == expected, name
    assert listed == expected, name


rows = duckdb.sql(f"select * from '{path}'").fetchall()
old = duckdb.__version__ == "1.2.2"
told(f"duckdb {duckdb.__version__}", *zip(*rows), expected=raw if old else numbers)
if old:
    sys.exit(0)

import datafusion
import fastparquet
import polars

frame = polars.read_parquet(path)
told(f"polars {polars.__version__}", frame["plain"], frame["list"].to_list(), numbers)
table = datafusion.SessionContext().read_parquet(path).to_pydict()
told(f"datafusion {datafusion.__version__}", table["plain"], table["list"], numbers)
file = fastparquet.ParquetFile(path).to_pandas()
told(f"fastparquet {fastparquet.__version__}", file["plain"], file["list"], raw)
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
install() { "$folder/env/bin/pip" install --quiet --disable-pip-version-check "$@"; }
install pyarrow==26.0.1 numpy==2.4.6 pandas==3.1.1 polars==2.1.0 datafusion==55.0.0 \
  fastparquet==2026.9.0 duckdb==1.3.2
"$folder/env/bin/python" "$folder/check.py" "$folder/halves.parquet"
install duckdb==1.2.2
"$folder/env/bin/python" "$folder/check.py" "$folder/halves.parquet"
echo "as described"
