#!/usr/bin/env bash
# rasterio: reproject() and WarpedVRT() both take `tolerance`, and do not treat it alike.
#
# Versions: rasterio 1.4.4 (GDAL 3.10.3) and 1.5.2 (GDAL 3.12.2), wheels from the package index.
# Input: a raster in UTM zone 33 whose pixels hold their own row and column, read with nearest
# neighbour into UTM zone 32, so that every output pixel tells which source pixel it came from.
# PROJ's exact transformation of the pixel centres is the reference. Of 360,000 output pixels:
#
#                        rasterio 1.4.4              rasterio 1.5.2
#   tolerance        reproject   WarpedVRT       reproject   WarpedVRT
#   not given            994         994             994         994
#   0.001                994          71              71          71
#   1e-6                 994           0               0           0
#   0                    994       raises              0      raises
#
# come from the wrong source pixel. With 1.4.4 reproject() accepts `tolerance` and ignores it. With
# both versions WarpedVRT(tolerance=0), the natural way to ask for exact results, fails with an
# error about a null pointer. A small tolerance with WarpedVRT is exact everywhere.
#
# Needs Python 3.12 or 3.13 (1.5.2 has no wheels for older ones): PYTHON=python3.12 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import sys

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject, transform

SOURCE, TARGET, PIXEL, SIDE, N = "EPSG:32633", "EPSG:32632", 10, 2400, 600
source_grid = from_origin(400_000, 6_650_000, PIXEL, PIXEL)
(x,), (y,) = transform(SOURCE, TARGET, [412_000], [6_638_000])
target_grid = from_origin(round(x / 10) * 10 - 3000, round(y / 10) * 10 + 3000, PIXEL, PIXEL)

centres = PIXEL * (np.arange(N) + 0.5)
east, north = np.meshgrid(target_grid.c + centres, target_grid.f - centres)
xs, ys = transform(TARGET, SOURCE, east.ravel(), north.ravel())
columns = np.floor((np.array(xs) - source_grid.c) / PIXEL).reshape(N, N)
rows = np.floor((source_grid.f - np.array(ys)) / PIXEL).reshape(N, N)


def wrong(out):
    return int(((out[0] != rows) | (out[1] != columns)).sum())


def by_reproject(file, options):
    out = np.zeros((2, N, N), np.float32)
    reproject(
        rasterio.band(file, [1, 2]),
        out,
        dst_transform=target_grid,
        dst_crs=TARGET,
        resampling=Resampling.nearest,
        **options,
    )
    return wrong(out)


def by_vrt(file, options):
    grid = {"crs": TARGET, "transform": target_grid, "width": N, "height": N}
    try:
        with WarpedVRT(file, resampling=Resampling.nearest, **grid, **options) as vrt:
            return wrong(vrt.read())
    except Exception as error:
        return f"raises {type(error).__name__}"


print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
seen = {}
pixels = np.stack(np.mgrid[0:SIDE, 0:SIDE]).astype(np.float32)
profile = {"driver": "GTiff", "count": 2, "height": SIDE, "width": SIDE, "dtype": "float32"}
with MemoryFile() as memory:
    with memory.open(crs=SOURCE, transform=source_grid, **profile) as file:
        file.write(pixels)
    with memory.open() as file:
        for tolerance in (None, 1e-3, 1e-6, 0):
            options = {} if tolerance is None else {"tolerance": tolerance}
            seen[tolerance] = (by_reproject(file, options), by_vrt(file, options))
            print(f"  tolerance {tolerance}: reproject {seen[tolerance][0]}, WarpedVRT {seen[tolerance][1]}")

ignored = {"1.4.4": True, "1.5.2": False}[rasterio.__version__]
default = seen[None][0]
assert default > 100, default
assert seen[None][1] == default
assert seen[1e-6] == ((default if ignored else 0), 0), seen
assert (seen[1e-3][0] == default) is ignored, seen
assert seen[0][0] == (default if ignored else 0), seen
assert str(seen[0][1]).startswith("raises"), seen
sys.exit(0)
PY
for version in 1.4.4 1.5.2; do
  "${PYTHON:-python3.12}" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "rasterio==$version" "numpy==2.4.4"
  "$folder/$version/bin/python" "$folder/check.py"
done
echo "as described"
