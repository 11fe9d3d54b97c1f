"""PlanDataset: the tiles of a plan, whatever their UTM zone, as one indexable dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from torchgeo.datasets import GeoDataset

from thor_geo.errors import BlockError, ThorGeoError
from thor_geo.plan import Plan


class PlanDataset(Dataset[dict[str, Any]]):
    """Samples by their index in a plan.

    To the sample of the zone's dataset it adds:

    * ``tile``: int64 scalar, index in the plan
    * ``epsg``: int64 scalar
    * ``transform``: float64 (6,), affine coefficients (a, b, c, d, e, f) in metres
    * ``error``: None, or why the tile could not be produced; its tensors are zeros then, so that
      batches keep their shape and the other tiles their numbers

    What must stop the run is returned as ``{"fatal": error}``: raised in a DataLoader worker, it
    would reach the main process as another class, with the worker's traceback for a message.
    """

    def __init__(
        self,
        plan: Plan,
        zones: Mapping[int, GeoDataset],
        *,
        channels: int,
        strict: bool = False,
    ) -> None:
        """Initialize a new PlanDataset instance.

        Args:
            plan: The tiles.
            zones: Dataset of each UTM zone, by EPSG code.
            channels: Planes of a failed tile's image.
            strict: Stop at a tile that cannot be produced, as training wants it.
        """
        self.plan = plan
        self.zones = zones
        self.channels = channels
        self.strict = strict

    def __len__(self) -> int:
        """Return the number of tiles in the plan."""
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample of one tile."""
        tile = self.plan.tile(index)
        left, bottom, right, top = tile.bounds
        query = (slice(left, right), slice(bottom, top))
        try:
            sample = {**self.zones[tile.epsg][query], "error": None}
        except ThorGeoError as error:
            if self.strict or not isinstance(error, BlockError):
                return {"fatal": error}
            sample = {
                "image": torch.zeros(self.channels, tile.size, tile.size, dtype=torch.int16),
                "observations": torch.zeros(1, tile.size, tile.size, dtype=torch.uint8),
                "scenes": (),
                "bounds": query,
                "error": str(error),
            }
        sample.pop("crs", None)  # `epsg` says it, and a CRS object does not travel between workers
        sample["tile"] = torch.tensor(index)
        sample["epsg"] = torch.tensor(tile.epsg)
        sample["transform"] = torch.tensor(tile.transform, dtype=torch.float64)
        return sample


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate samples: tensors are stacked, everything else becomes a list.

    Where a sample is fatal, the batch holds nothing but ``fatal``, the list of errors.
    """
    fatal = [sample["fatal"] for sample in samples if "fatal" in sample]
    if fatal:
        return {"fatal": fatal}
    batch: dict[str, Any] = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        stacked = isinstance(values[0], torch.Tensor)
        batch[key] = torch.stack(values) if stacked else values
    return batch
