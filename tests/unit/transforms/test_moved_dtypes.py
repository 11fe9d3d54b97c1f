"""If these fail, a Mac's GPU is sent float64 or uint16, which it has not, and a call dies there.

The `meta` device stands in for it: what is moved is seen, where it arrives does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from thor_geo.api._encode import normalise_on_device
from thor_geo.datamodules.planned import PlannedDataModule
from thor_geo.models import Readout, make_layout
from thor_geo.models.at_place import centre_cells
from thor_geo.models.resample import resample_kernels
from thor_geo.specs.bands import select_bands
from thor_geo.transforms import THORNormalize

META = torch.device("meta")


class Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the dtypes of what is copied to the device; other operations on it are none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._to_copy.default and (kwargs or {}).get("device") == META:
            self.dtypes |= {args[0].dtype, (kwargs or {}).get("dtype") or args[0].dtype}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("fill", ["value", "mean"])
def test_the_python_call_moves_normalised_float32(dtype: str, fill: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 10_000, (2, 2, 8, 8)).astype(dtype)
    observations = torch.ones(2, 1, 8, 8, dtype=torch.uint8)
    normalize = THORNormalize(["RED", "NIR_BROAD"], nodata_fill=fill)
    with Moved() as moved:
        image = normalise_on_device(normalize, torch.from_numpy(pixels), observations, META)
    assert image.device == META
    assert moved.dtypes == {torch.float32}
    moved_batch = normalise_on_device(
        normalize, torch.from_numpy(pixels), observations, torch.device("cpu")
    )
    assert torch.equal(moved_batch, normalize(torch.from_numpy(pixels), observations))


def test_the_datamodule_leaves_transforms_behind() -> None:
    batch = {
        "image": torch.zeros(1, 2, 8, 8, dtype=torch.int16),
        "observations": torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        "tile": torch.zeros(1, dtype=torch.int64),
        "mask": torch.zeros(1, 8, 8, dtype=torch.int64),
        "within": torch.zeros(1, 8, 8, dtype=torch.uint8),
        "place_at": torch.zeros(1, 2, dtype=torch.float64),
        "transform": torch.zeros(1, 6, dtype=torch.float64),
        "scenes": [("a",)],
    }
    with Moved() as moved:
        moved_batch = PlannedDataModule(
            batch_size=1, num_workers=0, strict=False
        ).transfer_batch_to_device(batch, META, 0)
    assert moved.dtypes == {torch.int16, torch.uint8, torch.int64}
    assert moved_batch["image"].device == moved_batch["within"].device == META
    for name in ("transform", "place_at"):
        assert moved_batch[name].device.type == "cpu"


def test_places_are_looked_up_where_their_maps_are() -> None:
    layout = make_layout(select_bands(["RED", "SWIR_1"]), ground_cover=2880)
    tokens = [torch.zeros(2, layout.n_tokens, 3, device=META)]
    within = torch.zeros(2, 288, 288, dtype=torch.uint8, device=META)
    readout = Readout(layout=layout, layers=(0,))
    with Moved() as moved:
        cells = centre_cells(readout.grid(tokens), torch.ones(2, 2, dtype=torch.float64), 288)
        vectors = readout.pooled(tokens, within)
    assert cells.device == vectors.device == META
    assert torch.float64 not in moved.dtypes


def test_the_kernels_pseudo_inverse_is_rounded_before_it_is_moved() -> None:
    with Moved() as moved:
        resampled = resample_kernels(torch.zeros(3, 16, 16, device=META), 8)
    assert resampled.shape == (3, 8, 8)
    assert moved.dtypes == {torch.float32}
