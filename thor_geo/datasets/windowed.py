"""WindowDataset: the tiles of a plan in several time windows, as one indexable dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from thor_geo.datasets.planned import PlanDataset


class WindowDataset(Dataset[dict[str, Any]]):
    """Samples by tile and window: index ``tile * number of windows + window``.

    A sample is that of a dataset of its window, with one more entry:

    * ``window``: int, index of the window
    """

    def __init__(self, windows: Sequence[PlanDataset]) -> None:
        """Initialize a new WindowDataset instance.

        Args:
            windows: The dataset of each window, all over the same plan.
        """
        self.windows = tuple(windows)

    def __len__(self) -> int:
        """Return the number of tiles times the number of windows."""
        return len(self.windows[0]) * len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample of one tile in one window."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the samples of a batch, read together if they share a window.

        Args:
            indices: Indices as above.
        """
        count = len(self.windows)
        if len({index % count for index in indices}) > 1:
            return [self[index] for index in indices]
        window = indices[0] % count
        samples = self.windows[window].__getitems__([index // count for index in indices])
        return [{**sample, "window": window} for sample in samples]
