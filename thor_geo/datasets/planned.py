"""PlanDataset: the tiles of a plan, from all UTM zones, as one indexable dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info
from torchgeo.datasets import GeoDataset

from thor_geo.datasets.composite import CompositeDataset
from thor_geo.datasets.folder import FolderDataset
from thor_geo.datasets.georeference import transform_tensor
from thor_geo.datasets.stacked import SensorStack
from thor_geo.errors import BlockError, ThorGeoError
from thor_geo.ground.lattice import Tile
from thor_geo.ground.plan import Plan


class PlanDataset(Dataset[dict[str, Any]]):
    """Samples by their index in a plan.

    To the image and observations of the zone's dataset it adds:

    * ``tile``, ``tile_id``: int64 scalar, index in the plan; the tile's name
    * ``epsg``, ``crs``: int64 scalar; the same as "EPSG:..."
    * ``bounds``: float64 (4,), left, bottom, right, top in metres
    * ``transform``: float64 (9,), as in `CompositeDataset`
    * ``scenes``: tuple of the ids of the scenes, or the names of the files, behind it
    * ``error``: None, or why the tile could not be produced; its tensors are then zeros, so that
      batches keep their shape and the other tiles their numbers

    Some are no tensors, so `collate` forms batches, and TorchGeo's ``stack_samples`` does not.
    ``tile_id``, ``crs`` and ``bounds`` are what TerraTorch names and georeferences its files by. A
    zone that is another GeoDataset, as of composites and labels, gives no ``scenes``.

    An error that must stop the run is returned as ``{"fatal": error}``: raised in a DataLoader
    worker, it would reach the main process as another class, with a traceback for a message.
    """

    def __init__(
        self,
        plan: Plan,
        zones: Mapping[int, GeoDataset],
        *,
        channels: int,
        sensors: int = 1,
        dtype: torch.dtype = torch.int16,
        strict: bool = False,
    ) -> None:
        """Initialize a new PlanDataset instance.

        Args:
            plan: The tiles.
            zones: Dataset of each UTM zone, by EPSG code.
            channels: Planes of a tile's image.
            sensors: Planes of a tile's observations.
            dtype: Type of a tile's image.
            strict: Stop at a tile that cannot be produced, as training needs it.
        """
        self.plan = plan
        self.zones = zones
        self.channels = channels
        self.sensors = sensors
        self.dtype = dtype
        self.strict = strict

    def __len__(self) -> int:
        """Return the number of tiles in the plan."""
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample of one tile."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the samples of a batch, as DataLoaders ask for them.

        Composites are read directly into the batch that `collate` returns, in memory that the main
        process shares: copying them would take longer than reading them.

        Args:
            indices: Indices in the plan.
        """
        side = self.plan.lattices[0].tile_size
        images = _batch_tensor((len(indices), self.channels, side, side), self.dtype)
        observations = _batch_tensor((len(indices), self.sensors, side, side), torch.uint8)
        slots = zip(images, observations, strict=True)
        return [self._sample(index, slot) for index, slot in zip(indices, slots, strict=True)]

    def _sample(self, index: int, slot: tuple[Tensor, Tensor]) -> dict[str, Any]:
        tile = self.plan.tile(index)
        left, bottom, right, top = tile.bounds
        query = (slice(left, right), slice(bottom, top))
        try:
            zone = self._zone(index, tile)
            if isinstance(zone, CompositeDataset | FolderDataset | SensorStack):
                pixels, scenes = zone.tile(tile, slot)
                sample: dict[str, Any] = {**pixels, "scenes": scenes, "error": None}
            else:
                sample = {**zone[query], "error": None}
        except ThorGeoError as error:
            if self.strict or not isinstance(error, BlockError):
                return {"fatal": error}
            image, observations = slot
            sample = {
                "image": image.zero_(),
                "observations": observations.zero_(),
                "scenes": (),
                "error": str(error),
            }
        sample["tile"], sample["tile_id"] = torch.tensor(index), tile.id
        sample["epsg"], sample["crs"] = torch.tensor(tile.epsg), f"EPSG:{tile.epsg}"
        # TorchGeo's have more numbers, and those of an intersection lie one after the other.
        sample["bounds"] = torch.tensor(tile.bounds, dtype=torch.float64)
        sample["transform"] = transform_tensor(
            slice(left, right, tile.resolution), slice(bottom, top, tile.resolution)
        )
        return sample

    def _zone(self, index: int, tile: Tile) -> GeoDataset:
        """Return the dataset that a tile of the plan is read from."""
        return self.zones[tile.epsg]


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate samples: stack tensors, and put everything else in lists.

    If a sample is fatal, the batch holds only ``fatal``, the list of errors.
    """
    fatal = [sample["fatal"] for sample in samples if "fatal" in sample]
    if fatal:
        return {"fatal": fatal}
    batch: dict[str, Any] = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        batch[key] = _stacked(values) if isinstance(values[0], Tensor) else values
    return batch


def _batch_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor for a batch; a DataLoader worker's is in memory shared with its parent."""
    count = math.prod(shape)
    if get_worker_info() is None:
        # NumPy requests huge pages, which are allocated five times as fast; PyTorch does not.
        return torch.from_numpy(np.empty(count * dtype.itemsize, np.uint8)).view(dtype).view(shape)
    # As in PyTorch's own collate function.
    memory: torch.UntypedStorage = torch.UntypedStorage._new_shared(count * dtype.itemsize)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=dtype).set_(memory).view(shape)


def _stacked(values: Sequence[Tensor]) -> Tensor:
    """Stack tensors, without copying if together they are all of one piece of memory."""
    first = values[0]
    memory, size = first.untyped_storage(), first.numel()
    together = memory.nbytes() == len(values) * first.nbytes and all(
        value.untyped_storage().data_ptr() == memory.data_ptr()
        and value.storage_offset() == place * size
        and (value.shape, value.dtype) == (first.shape, first.dtype)
        and value.is_contiguous()
        for place, value in enumerate(values)
    )
    if not together:
        return torch.stack(list(values))
    return first.as_strided((len(values), *first.shape), (size, *first.stride()), 0)
