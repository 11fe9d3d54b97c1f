#!/usr/bin/env bash
# What torchgeo's random_grid_cell_assignment returns of a RasterDataset cannot be read.
#
# Versions: torchgeo 0.9.0 and 0.10.1 (0.8.1, too, whose parts also lose their CRS). The split makes a
# new index for each part, with the columns named by numbers; reading looks for `filepath`. It works
# on datasets that do not read by that column, torchgeo's own tests among them. Seen:
#
#   random_bbox_splitting: columns filepath, geometry      read: (1, 64, 32)
#   random_grid_cell_assignment: columns 0, 1, geometry    read: AttributeError: 'GeoDataFrame'
#                                                          object has no attribute 'filepath'
#
# The split itself succeeds, and so do samplers: the error comes from a worker in the first epoch.
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
import rasterio
import torch
import torchgeo
from rasterio.transform import from_origin
from torchgeo.datasets import RasterDataset, random_bbox_splitting, random_grid_cell_assignment

path = Path(tempfile.mkdtemp(), "a.tif")
with rasterio.open(
    path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8",
    crs="EPSG:32632", transform=from_origin(600_000, 6_600_000, 10, 10),
) as out:
    out.write(np.ones((1, 64, 64), np.uint8))
print(f"torchgeo {torchgeo.__version__}")
seen = {}
for split in (random_bbox_splitting, random_grid_cell_assignment):
    part, _ = split(RasterDataset(str(path)), [0.5, 0.5], generator=torch.manual_seed(0))
    left, bottom, right, top = part.index.geometry.iloc[0].bounds
    try:
        seen[split.__name__] = tuple(part[left:right, bottom:top]["image"].shape)
    except AttributeError as error:
        seen[split.__name__] = f"{type(error).__name__}: {error}"
    print(f"  {split.__name__}: columns {list(part.index.columns)}, read: {seen[split.__name__]}")
assert seen["random_bbox_splitting"][0] == 1, seen
assert "no attribute 'filepath'" in seen["random_grid_cell_assignment"], seen
PY
venv=${ENVIRONMENT:-$folder/venv}
"${PYTHON:-python3.13}" -m venv "$venv"
for version in 0.9.0 0.10.1; do
  "$venv/bin/pip" install --quiet --disable-pip-version-check "torchgeo==$version" requests
  "$venv/bin/python" -W ignore "$folder/check.py"
done
echo "as described"
