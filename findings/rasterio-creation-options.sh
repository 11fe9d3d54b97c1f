#!/usr/bin/env bash
# rasterio: a creation option that the GDAL of the wheel does not know is dropped without a word.
#
# Versions: rasterio 1.4.4 (GDAL 3.10.3) and 1.5.2 (GDAL 3.12.2), wheels from the package index.
# Input: a raster of 64 bands, copied to a COG with INTERLEAVE=TILE, an option since GDAL 3.11 that
# keeps the bands of a block apart.
#
#                              rasterio 1.4.4    rasterio 1.5.2
#   rasterio.shutil.copy       PIXEL             TILE
#   one band is read with      all 64            itself alone
#
# GDAL only warns of the unknown option, and rasterio.shutil.copy neither raises nor issues a Python
# warning, even with warnings as errors and with strict=True: the file is whole, in a layout that
# nobody asked for. Reading one band of it decodes all of them.
#
# Needs Python 3.12 or 3.13 (1.5.2 has no wheels for older ones): PYTHON=python3.12 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import sys
import warnings

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

plain, cog = sys.argv[1], sys.argv[2]
values = np.random.default_rng(0).normal(size=(64, 512, 512)).astype(np.float32)
with rasterio.open(
    plain,
    "w",
    driver="GTiff",
    count=64,
    height=512,
    width=512,
    dtype="float32",
    crs="EPSG:32632",
    transform=from_origin(600_000, 6_600_000, 10, 10),
) as file:
    file.write(values)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    rasterio.shutil.copy(plain, cog, driver="COG", strict=True, interleave="TILE")
with rasterio.open(cog) as file:
    layout = file.tags(ns="IMAGE_STRUCTURE")["INTERLEAVE"]
    assert np.array_equal(file.read(), values)
print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}: INTERLEAVE is {layout}")
assert layout == {"1.4.4": "PIXEL", "1.5.2": "TILE"}[rasterio.__version__]
PY
for version in 1.4.4 1.5.2; do
  "${PYTHON:-python3.12}" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "rasterio==$version" "numpy==2.4.4"
  "$folder/$version/bin/python" "$folder/check.py" "$folder/plain.tif" "$folder/$version.tif"
done
echo "as described"
