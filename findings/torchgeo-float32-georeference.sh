#!/usr/bin/env bash
# The georeference in torchgeo's samples is rounded to float32, or not, by who made the query.
#
# Versions: torchgeo 0.9.0 and 0.10.1, where samples carry `bounds` and `transform` as tensors.
# `transform` is always float32, whose step is 0.5 m at a northing of 6,640 km: for an orthophoto with
# pixels of 20 cm near Oslo it names another row. `bounds` is float64 for the dataset's own bounds
# (NumPy's floats) and float32 for a sampler's (Python's floats), and holds times as seconds since 1970,
# in float32 to 128 s. Seen, for a file whose top is 6,640,000.2 and whose time is 10:36:29:
#
#   query             transform's top    bounds              bounds' top    bounds' start
#   dataset.bounds    6640000.0          torch.float64       6640000.2      10:36:29
#   GridGeoSampler    6640000.0          torch.float32       6640000.0      10:35:44
#
# Predictions that are written with this transform lie a pixel off.
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
import torch
import torchgeo
from rasterio.transform import from_origin
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GridGeoSampler

TOP = 6_640_000.2


class Dated(RasterDataset):
    filename_regex = r"(?P<date>\d{8}T\d{6})"
    date_format = "%Y%m%dT%H%M%S"


path = Path(tempfile.mkdtemp(), "20220615T103629.tif")
with rasterio.open(
    path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8",
    crs="EPSG:32632", transform=from_origin(600_000.2, TOP, 0.2, 0.2),
) as out:
    out.write(np.ones((1, 64, 64), np.uint8))
data = Dated(str(path))
print(f"torchgeo {torchgeo.__version__}")
seen = {}
sampled = list(GridGeoSampler(data, size=32))[-1]
for name, query in (("dataset.bounds", data.bounds), ("GridGeoSampler", sampled)):
    sample = data[query]
    bounds, top = sample["bounds"], float(sample["transform"][5])
    start = pd.Timestamp(float(bounds[6]), unit="s").strftime("%H:%M:%S")
    seen[name] = (bounds.dtype, abs(float(bounds[4]) - TOP) < 1e-6, start == "10:36:29")
    print(f"  {name}: transform's top {top}, {bounds.dtype}, top {float(bounds[4])}, {start}")
    assert abs(top - TOP) > 0.19, "not even one row off"
    assert sample["transform"].dtype == torch.float32
assert seen == {
    "dataset.bounds": (torch.float64, True, True),
    "GridGeoSampler": (torch.float32, False, False),
}, seen
PY
venv=${ENVIRONMENT:-$folder/venv}
"${PYTHON:-python3.13}" -m venv "$venv"
for version in 0.9.0 0.10.1; do
  "$venv/bin/pip" install --quiet --disable-pip-version-check "torchgeo==$version" requests
  "$venv/bin/python" -W ignore "$folder/check.py"
done
echo "as described"
