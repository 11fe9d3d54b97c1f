"""The samples of one part of a fold as maps of classes, tile by tile, beside their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from thor_geo.datasets import EmbeddingDataset
from thor_geo.ground.plan import Plan
from thor_geo.probe.samples import Samples
from thor_geo.support.arrays import Int64Array


class FoldTiles(Dataset[dict[str, Tensor]]):
    """Tiles that hold samples of one part of a fold.

    * ``image``: float32 (D, h, w), the embeddings of the tile's cells
    * ``mask``: int64 (h, w), the index of the class, or `ignore_index` in cells that are no sample
      of this part

    Attributes:
        tiles: Indices in the plan, ascending.
        masks: (n, h, w) int64.
    """

    def __init__(
        self,
        zones: Mapping[int, EmbeddingDataset],
        plan: Plan,
        samples: Samples,
        targets: npt.NDArray[np.integer[Any]],
        chosen: Int64Array,
        *,
        ignore_index: int,
    ) -> None:
        """Initialize a new FoldTiles instance.

        Args:
            zones: The maps, by EPSG code.
            plan: The run's plan.
            samples: Cells of the run.
            targets: Index of each one's class, (N,).
            chosen: The samples of the part.
            ignore_index: See above.
        """
        self._zones, self._plan = zones, plan
        self.tiles, where = np.unique(samples.tile[chosen], return_inverse=True)
        cell = samples.side
        boxes = np.array([plan.tile(k).centre.bounds for k in self.tiles.tolist()])
        side = round((boxes[0, 2] - boxes[0, 0]) / cell)
        self.masks = np.full((len(self.tiles), side, side), ignore_index, dtype=np.int64)
        rows = np.floor((boxes[where, 3] - samples.y[chosen]) / cell).astype(np.int64)
        cols = np.floor((samples.x[chosen] - boxes[where, 0]) / cell).astype(np.int64)
        self.masks[where, rows, cols] = targets[chosen]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.tiles)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return the embeddings and the classes of a tile."""
        tile = self._plan.tile(int(self.tiles[index]))
        left, bottom, right, top = tile.centre.bounds
        image = self._zones[tile.epsg][left:right, bottom:top]["image"]
        return {"image": image, "mask": torch.from_numpy(self.masks[index])}
