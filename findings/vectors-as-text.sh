#!/usr/bin/env bash
# pandas, geopandas: a column of arrays loses its values in CSV and GeoPackage from 1,001 on.
#
# Versions: pandas 3.1.1, geopandas 1.2.0, numpy 2.4.6, pyogrio 0.13.0; wheels from the package index.
# Input: two points with a vector of 768 or 1,024 values, as float32 arrays or as lists.
#
# `to_csv` and `to_file` write an array as NumPy prints it. Up to 1,000 values that is all of them,
# with eight digits; from 1,001 on it is the first three, "..." and the last three, without an error
# or a warning. So embeddings of 768 survive a CSV, a GeoPackage or a GeoJSON, and those of 1,024 are
# gone, from the same line of code. Lists of floats are written whole. A shapefile keeps 254
# characters of either, with a warning.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import csv
import sys
import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio

folder = sys.argv[1]
csv.field_size_limit(10**7)
print(f"pandas {pd.__version__}, geopandas {gpd.__version__}, numpy {np.__version__}")


def written(values, as_lists):
    vectors = np.random.default_rng(0).normal(size=(2, values)).astype(np.float32)
    column = vectors.tolist() if as_lists else list(vectors)
    place = gpd.points_from_xy([10.0, 11.0], [60.0, 61.0])
    frame = gpd.GeoDataFrame({"embedding": column}, geometry=place, crs=4326)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        frame.to_csv(f"{folder}/a.csv", index=False)
    with open(f"{folder}/a.csv", newline="") as file:
        text = list(csv.DictReader(file))[0]["embedding"]
    return frame, text, len(text.strip("[]").replace(",", " ").split()), len(told)


for values, as_lists, expected in ((768, False, 768), (1024, False, 7), (1024, True, 1024)):
    frame, text, found, told = written(values, as_lists)
    kind = "lists" if as_lists else "arrays"
    print(f"  {values} values as {kind}: {found} parts in the CSV, {told} warnings: {text[:24]!r}")
    assert found == expected, (values, kind, found)
    assert told == 0
    assert ("..." in text) == (expected == 7)

for values, expected in ((768, 768), (1024, 7)):
    frame, _, _, _ = written(values, as_lists=False)
    for name in ("a.gpkg", "a.geojson"):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            frame.to_file(f"{folder}/{name}")
        text = str(pyogrio.read_dataframe(f"{folder}/{name}")["embedding"][0])
        found = len(text.strip("[]").replace(",", " ").split())
        print(f"  {values} values as arrays: {found} parts in {name}, {len(told)} warnings")
        assert found == expected, (name, values, found)
        assert not told
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    frame.assign(embedding=[v.tolist() for v in frame.embedding]).to_file(f"{folder}/a.shp")
short = pyogrio.read_dataframe(f"{folder}/a.shp")["embedding"][0]
print(f"  shapefile: {len(short)} characters, {len(told)} warnings")
assert len(short) == 254
assert told
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  pandas==3.1.1 geopandas==1.2.0 numpy==2.4.6 pyogrio==0.13.0
"$folder/env/bin/python" "$folder/check.py" "$folder"
echo "as described"
