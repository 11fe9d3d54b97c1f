"""SensorStack: the composites of several sensors on one pixel grid, as one dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import torch
from pyproj import CRS
from torch import Tensor

from thor_geo.datasets.composite import CompositeDataset
from thor_geo.datasets.extent import IndexedDataset
from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Rect

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SensorStack(IndexedDataset):
    """Composites of several sensors, cut to the same pixels and stacked.

    Unlike TorchGeo's intersection (``a & b``) it does not overlay footprints, which is slow for an
    outline with many corners, and it keeps the scenes of all sensors. Queries, CRS and resolution
    are those of its datasets.

    A sample holds tensors alone (``crs`` and `scenes` are the dataset's):

    * ``image``: int16 (C, H, W), the planes of the first sensor, then those of the next
    * ``observations``: uint8 (S, H, W), one plane for each sensor; 0 = no data from that sensor
    * ``transform``, ``bounds``: as in `CompositeDataset`
    """

    def __init__(
        self,
        datasets: Sequence[CompositeDataset],
        *,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        """Initialize a new SensorStack instance.

        Args:
            datasets: One for each sensor, over the same ground and the same pixel grid.
            transforms: Takes a sample and returns a transformed one.

        Raises:
            ConfigError: If there are none, or their pixel grids differ.
        """
        if not datasets:
            raise ConfigError("datasets", datasets, "no dataset", "Give one or more.")
        first = datasets[0]
        for dataset in datasets:
            if dataset.lattice != first.lattice:
                raise ConfigError(
                    "datasets",
                    [dataset.lattice for dataset in datasets],
                    "they are on different pixel grids",
                    "Give all of them the same lattice.",
                )
        self.datasets = tuple(datasets)
        self.transforms = transforms
        self.paths = ()
        self.bands = tuple(band for dataset in datasets for band in dataset.bands)

    def _first_index(self) -> gpd.GeoDataFrame:
        return self.datasets[0].index

    @property
    def crs(self) -> CRS:
        """Coordinate reference system of all datasets."""
        return self.datasets[0].crs

    @crs.setter
    def crs(self, new_crs: CRS) -> None:
        for dataset in self.datasets:
            dataset.crs = new_crs
        self.index = self.datasets[0].index

    @property
    def res(self) -> tuple[float, float]:
        """Resolution of all datasets in units of the CRS."""
        return self.datasets[0].res

    @res.setter
    def res(self, new_res: float | tuple[float, float]) -> None:
        for dataset in self.datasets:
            dataset.res = new_res

    def __getitem__(self, query: Any) -> dict[str, Any]:
        """Return the sample of a spatiotemporal slice; see `CompositeDataset`.

        Raises:
            IndexError: If the query misses the area or the window.
            BlockError: If a block under the query could not be produced.
            InputError: If a dataset does not clamp, and a value lies outside the valid range.
        """
        return self._stacked([dataset[query] for dataset in self.datasets], None)

    def scenes(self, query: Any) -> tuple[str, ...]:
        """Return the ids of the distinct scenes of all sensors, sorted; see `CompositeDataset`.

        Raises:
            IndexError: If the query misses the area or the window.
            BlockError: If a block under the query could not be produced.
        """
        return _joined(dataset.scenes(query) for dataset in self.datasets)

    def tile(
        self, rect: Rect, into: tuple[Tensor, Tensor] | None = None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the sample of a rectangle, as ``dataset[...]`` with its bounds would, and scenes.

        Args:
            rect: The rectangle; zone, resolution and anchor are the lattice's.
            into: Image and observations to write to; None for new tensors.

        Returns:
            The sample, and what `scenes` returns for it.

        Raises:
            BlockError: If a block under the rectangle could not be produced.
            InputError: If a dataset does not clamp, and a value lies outside the valid range.
        """
        slots: Sequence[tuple[Tensor, Tensor] | None] = [None] * len(self.datasets)
        if into is not None:
            planes = torch.split(into[0], [len(dataset.bands) for dataset in self.datasets])
            slots = list(zip(planes, torch.split(into[1], 1), strict=True))
        tiles = [
            dataset.tile(rect, slot) for dataset, slot in zip(self.datasets, slots, strict=True)
        ]
        samples = [sample for sample, _ in tiles]
        # A dataset that warps, or has transforms, may have made new tensors.
        filled = all(
            slot is not None and sample["image"] is slot[0] and sample["observations"] is slot[1]
            for sample, slot in zip(samples, slots, strict=True)
        )
        return self._stacked(samples, into if filled else None), _joined(ids for _, ids in tiles)

    def _stacked(
        self, samples: Sequence[dict[str, Any]], whole: tuple[Tensor, Tensor] | None
    ) -> dict[str, Any]:
        """Stack samples; *whole* is their tensors side by side, or None if they are not."""
        image, observations = whole or (
            torch.cat([sample["image"] for sample in samples]),
            torch.cat([sample["observations"] for sample in samples]),
        )
        sample = {**samples[0], "image": image, "observations": observations}
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: dict[str, Any], show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot the first sensor's part of a sample; see `CompositeDataset.plot`."""
        return self.datasets[0].plot(sample, show_titles, suptitle)


def _joined(scenes: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for ids in scenes for name in ids}))
