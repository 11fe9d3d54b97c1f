#!/usr/bin/env bash
# torchgeo's time_series_split refuses every list of fractions under pandas 3 for datasets whose times
# come from file names; under pandas 2 the same call works.
#
# Versions: torchgeo 0.9.0 (0.10.1 is the same) with pandas 2.3.3 and 3.1.1. torchgeo ends a day at
# 23:59:59.999999, and pandas 3 counts such times in microseconds where pandas 2 counted nanoseconds.
# Four days are then an odd number of microseconds, half of which pandas truncates, and torchgeo wants
# the parts to add up exactly. Seen with files of four days:
#
#   fractions                  pandas 2.3.3     pandas 3.1.1
#   [0.5, 0.5]                 [2, 2] files     ValueError: ... must cover dataset's time bounds
#   [0.25, 0.25, 0.25, 0.25]   [1, 1, 1, 1]     the same
#   [0.6, 0.4]                 [3, 2]           the same
#
# The message speaks of time stamps, of which the caller gave none.
#
# Needs Python 3.12 or 3.13 (PYTHON=python3.13 by default) and 5 GB, in a folder that ENVIRONMENT names
# and keeps for the other scripts on torchgeo; by default in a temporary one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import from_origin
from torchgeo.datasets import RasterDataset, time_series_split


class Dated(RasterDataset):
    filename_regex = r"(?P<date>\d{8})"


folder = Path(tempfile.mkdtemp())
for day in ("20220601", "20220602", "20220603", "20220604"):
    with rasterio.open(
        folder / f"{day}.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8",
        crs="EPSG:32632", transform=from_origin(600_000, 6_600_000, 10, 10),
    ) as out:
        out.write(np.ones((1, 8, 8), np.uint8))
data = Dated(str(folder))
print(f"pandas {pd.__version__}: ends {data.bounds[2].stop}, unit {data.index.index.dtype.subtype}")
failed = []
for shares in ([0.5, 0.5], [0.25, 0.25, 0.25, 0.25], [0.6, 0.4]):
    try:
        print(f"  {shares}: {[len(part) for part in time_series_split(data, shares)]} files")
    except ValueError as error:
        print(f"  {shares}: {error}")
        failed.append("must cover dataset's time bounds" in str(error))
assert failed == ([True] * 3 if pd.__version__.startswith("3.") else []), failed
PY
venv=${ENVIRONMENT:-$folder/venv}
"${PYTHON:-python3.13}" -m venv "$venv"
for version in 2.3.3 3.1.1; do
  "$venv/bin/pip" install --quiet --disable-pip-version-check torchgeo==0.9.0 requests "pandas==$version"
  "$venv/bin/python" -W ignore "$folder/check.py"
done
echo "as described"
