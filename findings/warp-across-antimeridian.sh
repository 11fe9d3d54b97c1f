#!/usr/bin/env bash
# GDAL and rasterio: a UTM raster across 180 degrees has no pixels left in longitude and latitude.
#
# Versions: rasterio 1.4.4 (GDAL 3.10.3) and 1.5.2 (GDAL 3.12.2), wheels from the package index.
# Input: squares of ones in UTM zone 60S over Fiji that reach a few kilometres across 180 degrees, and
# for comparison the same squares in zone 59S, six degrees to the west. Each is opened as most programs
# open a raster in another CRS: WarpedVRT(file, crs="EPSG:4326").
#
#                        zone 59                    zone 60
#   10 km of 10 m        1059 x 1019 px             1449 x 0 px; read() gives an empty array
#   110 km of 10 m       11372 x 10913 px           15573 x 44 px of 2.5 km, nearly all nodata
#
# GDAL keeps the number of pixels along the diagonal and stretches the grid over 360 degrees of
# longitude, so that there is less than one row of them. There is no error and no warning: the smaller
# file is empty (0 rows), of a whole granule a few pixels remain. `rasterio.warp.transform_bounds` of
# the same file is right (179.96 to -179.94, west greater than east). What builds an index of files
# from such a VRT (RasterDataset(paths, crs=EPSG:4326) of TorchGeo 0.8.1 does) loses the file, or has it lie
# around the world.
#
# Needs Python 3.12 or 3.13 (1.5.2 has no wheels for older ones): PYTHON=python3.12 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import sys

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
seen = {}
for epsg in (32759, 32760):
    for side in (1024, 10980):
        path = f"{sys.argv[1]}/{epsg}_{side}.tif"
        west = 815_000 - (side - 1024) * 5
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "width": side, "height": side}
        grid = {"crs": f"EPSG:{epsg}", "transform": from_origin(west, 8_122_000, 10, 10)}
        with rasterio.open(path, "w", tiled=True, **profile, **grid) as file:
            file.write(np.ones((1, side, side), np.uint8))
        with rasterio.open(path) as file, WarpedVRT(file, crs="EPSG:4326") as vrt:
            small = vrt.width * vrt.height < 10_000_000
            filled = int(vrt.read(1).sum()) if small else None
            seen[epsg, side] = vrt.width, vrt.height, filled
            bounds = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        told = "" if filled is None else f", {filled} of them filled"
        print(f"  EPSG:{epsg}, {side} px: {vrt.width} x {vrt.height} px{told}")
        print(f"    transform_bounds: {bounds[0]:.3f} to {bounds[2]:.3f} E")
        assert (bounds[0] > bounds[2]) == (epsg == 32760)

assert seen[32759, 1024][:2] == (1059, 1019), seen
assert seen[32759, 10980][:2] == (11372, 10913), seen
assert seen[32760, 1024] == (1449, 0, 0), seen
width, height, filled = seen[32760, 10980]
assert (width, height) == (15573, 44) and filled < 0.01 * width * height, seen
PY
for version in 1.4.4 1.5.2; do
  "${PYTHON:-python3.12}" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "rasterio==$version" "numpy==2.4.4"
  mkdir "$folder/data-$version"
  "$folder/$version/bin/python" "$folder/check.py" "$folder/data-$version"
done
echo "as described"
