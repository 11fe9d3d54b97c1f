"""Where a sample lies, as the tensors that TorchGeo's own rasters carry."""

from __future__ import annotations

from importlib.metadata import version

import pandas as pd
import torch
from packaging.version import Version
from torch import Tensor

# Under the name `bounds` rasters of torchgeo 0.8 carry slices, which its `&` and `|` can join with
# no tensor.
_WITH_BOUNDS = Version(version("torchgeo")) >= Version("0.9")


def transform_tensor(x: slice, y: slice) -> Tensor:
    """Return the affine matrix from pixels (column, row) to coordinates, for a north-up image.

    Args:
        x: Left, right and pixel size in units of the CRS.
        y: Bottom, top and pixel size in units of the CRS.

    Returns:
        float64 (9,), row by row, as torchgeo 0.9 has it: ``rasterio.Affine(*transform[:6])``.
    """
    numbers = [x.step, 0, x.start, 0, -y.step, y.stop, 0, 0, 1]
    return torch.tensor(numbers, dtype=torch.float64)


def georeference(x: slice, y: slice, t: slice) -> dict[str, Tensor]:
    """Return what a sample carries beside its pixels, so that TorchGeo can join it with others.

    Args:
        x: Left, right and pixel size in units of the CRS.
        y: Bottom, top and pixel size in units of the CRS.
        t: Start, end and step in time.

    Returns:
        ``transform``, as `transform_tensor` returns it, and from torchgeo 0.9 on ``bounds``,
        float64 (9,): left, right, x step, bottom, top, y step, start, end, time step; times in
        seconds since 1970 (UTC). TorchGeo rounds its own to float32 (its `bounds` only for Python's
        floats), which is half a metre coarse in northings and two minutes in times.
    """
    sample = {"transform": transform_tensor(x, y)}
    if _WITH_BOUNDS:
        start, end = (pd.Timestamp(side).timestamp() for side in (t.start, t.stop))
        numbers = [x.start, x.stop, x.step, y.start, y.stop, y.step, start, end, t.step]
        sample["bounds"] = torch.tensor(numbers, dtype=torch.float64)
    return sample
