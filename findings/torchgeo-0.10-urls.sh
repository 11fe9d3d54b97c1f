#!/usr/bin/env bash
# torchgeo 0.10 finds no file by an address with ://, which 0.9 took, and which rasterio opens.
#
# Versions: torchgeo 0.9.0 and 0.10.1. Search for files was rewritten for folders in archives and
# buckets, and takes GDAL's form of such paths (/vsizip/, /vsis3/) but no longer rasterio's (zip://,
# s3://). Seen, for one GeoTIFF:
#
#   path                      rasterio.open     0.9.0     0.10.1
#   zip:///tmp/a.zip!/a.tif   opens             1 file    DatasetNotFoundError
#   file:///tmp/a.tif         opens             1 file    DatasetNotFoundError
#   /vsizip//tmp/a.zip/a.tif  opens             1 file    1 file
#
# The error asks for other `paths`, or a download: it looks as if the file were gone.
#
# Needs Python 3.12 or 3.13 (PYTHON=python3.13 by default) and 5 GB, in a folder that ENVIRONMENT names
# and keeps for the other scripts on torchgeo; by default in a temporary one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import rasterio
import torchgeo
from rasterio.transform import from_origin
from torchgeo.datasets import DatasetNotFoundError, RasterDataset

folder = Path(tempfile.mkdtemp())
with rasterio.open(
    folder / "a.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8",
    crs="EPSG:32632", transform=from_origin(600_000, 6_600_000, 10, 10),
) as out:
    out.write(np.ones((1, 8, 8), np.uint8))
with zipfile.ZipFile(folder / "a.zip", "w") as archive:
    archive.write(folder / "a.tif", "a.tif")
print(f"torchgeo {torchgeo.__version__}")
seen = {}
for path in (
    f"zip://{folder}/a.zip!/a.tif", f"file://{folder}/a.tif", f"/vsizip/{folder}/a.zip/a.tif"
):
    with rasterio.open(path) as file:
        assert file.shape == (8, 8)
    kind = path.partition("/tmp")[0].rstrip("/") + "/"
    try:
        seen[kind] = len(RasterDataset([path]))
    except DatasetNotFoundError:
        seen[kind] = "DatasetNotFoundError"
    print(f"  {path}: {seen[kind]}")
lost = 1 if torchgeo.__version__ == "0.9.0" else "DatasetNotFoundError"
assert list(seen.values()) == [lost, lost, 1], seen
PY
venv=${ENVIRONMENT:-$folder/venv}
"${PYTHON:-python3.13}" -m venv "$venv"
for version in 0.9.0 0.10.1; do
  "$venv/bin/pip" install --quiet --disable-pip-version-check "torchgeo==$version" requests
  "$venv/bin/python" -W ignore "$folder/check.py"
done
echo "as described"
