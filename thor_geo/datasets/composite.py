"""CompositeDataset: a TorchGeo GeoDataset over cached composite blocks of one UTM zone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import rasterio.warp
import torch
from pyproj import CRS
from rasterio.enums import Resampling
from shapely.geometry.base import BaseGeometry
from torch import Tensor

from thor_geo.composites import BlockSource, StoredBlock
from thor_geo.datasets.colour import RGB_BANDS
from thor_geo.datasets.extent import IndexedDataset, closed_window
from thor_geo.datasets.georeference import georeference
from thor_geo.datasets.picture import plot_sample
from thor_geo.errors import AreaError, ConfigError, InputError
from thor_geo.ground.area import Area
from thor_geo.ground.blocks import blocks_of
from thor_geo.ground.lattice import ON_GRID, Bounds, Lattice, Rect, blocks_meeting, zone_name
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, storage_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class CompositePixels:
    """Composite pixels of a rectangle.

    Attributes:
        image: (C, H, W) as stored (uint16; Sentinel-1 int16), bands in sensor order.
        observations: (H, W) uint8, clear observations behind each pixel; 0 means no data.
        scenes: Ids of the distinct scenes of all blocks touched, sorted.
    """

    image: npt.NDArray[np.uint16 | np.int16]
    observations: npt.NDArray[np.uint8]
    scenes: tuple[str, ...]


class CompositeDataset(IndexedDataset):
    """Cloud-reduced composites over an area of one UTM zone, cut from cached blocks.

    Queries are TorchGeo's: ``dataset[xmin:xmax, ymin:ymax, tmin:tmax]``, partial slices included.
    Steps set the resolution, as in RasterDataset. Pixels inside the query but beyond the area are
    real pixels, too. A query on the composite's own pixel grid is a plain read; any other CRS,
    resolution or offset is resampled to the nearest pixel.

    A sample holds tensors alone (``crs`` and `scenes` are the dataset's):

    * ``image``: int16 (C, H, W), surface reflectance x 10,000 clamped to 0..10000; for Sentinel-1
      hundredths of a dB, -32768 without data
    * ``observations``: uint8 (1, H, W), clear observations behind each pixel, 0 = no data
    * ``transform``: float64 (9,), affine matrix row by row, ``rasterio.Affine(*transform[:6])``
    * ``bounds``: float64 (9,), the query as numbers: left, right, step, bottom, top, step, start,
      end, step; with torchgeo 0.9 and newer (0.8 has other things under that name)
    """

    rgb_bands = RGB_BANDS

    def __init__(
        self,
        source: BlockSource,
        footprint: BaseGeometry,
        *,
        lattice: Lattice,
        sensor: AnySensor,
        window: TemporalSpec,
        block_size: int = 576,
        clamp: bool = True,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        """Initialize a new CompositeDataset instance.

        Args:
            source: Where blocks come from.
            footprint: The area, in the CRS of the lattice's UTM zone.
            lattice: Zone, resolution and anchor of the pixel grid.
            sensor: Bands and recipe.
            window: Time window of the composite.
            block_size: Side of a block in pixels.
            clamp: Clamp values outside the sensor's valid range; False refuses them.
            transforms: Takes a sample and returns a transformed one.

        Raises:
            ConfigError: If `sensor.resolution` is not the lattice's resolution.
        """
        if sensor.resolution != lattice.resolution:
            raise ConfigError(
                "scale_m",
                sensor.resolution,
                f"the lattice has pixels of {lattice.resolution} m",
                "Give both the same.",
            )
        self.source = source
        self.lattice = lattice
        self.sensor = sensor
        self.window = window
        self.block_size = block_size
        self.clamp = clamp
        self.transforms = transforms
        self.bands: tuple[str, ...] = sensor.bands
        self._dtype = np.dtype(storage_of(sensor).disk)
        self.paths = ()  # blocks are content-addressed: there are no files to search for
        self._native_crs = _crs(lattice.epsg)
        self._native_res = (float(lattice.resolution), float(lattice.resolution))
        self._res = self._native_res
        self._footprint = footprint

    def _first_index(self) -> gpd.GeoDataFrame:
        interval = pd.IntervalIndex.from_tuples(
            [closed_window(self.window)], closed="both", name="datetime"
        )
        return gpd.GeoDataFrame(index=interval, geometry=[self._footprint], crs=self._native_crs)

    @classmethod
    def from_area(
        cls,
        source: BlockSource,
        area: Area,
        *,
        sensor: AnySensor,
        window: TemporalSpec,
        block_size: int = 576,
        clamp: bool = True,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> Self:
        """Return the dataset of an area that lies in one UTM zone.

        Args:
            source: Where blocks come from.
            area: The area.
            sensor: Bands and recipe; its scale is the resolution.
            window: Time window of the composite.
            block_size: Side of a block in pixels.
            clamp: Clamp values outside the sensor's valid range; False refuses them.
            transforms: Takes a sample and returns a transformed one.

        Raises:
            AreaError: If the area lies in several UTM zones.
        """
        zones = area.zones()
        if len(zones) > 1:
            names = ", ".join(map(zone_name, zones))
            raise AreaError(
                area.source,
                names,
                "the area lies in several UTM zones, but a dataset has one CRS",
                "Use CompositeDataModule, which makes a dataset for each zone.",
            )
        ((epsg, footprint),) = zones.items()
        return cls(
            source,
            footprint,
            lattice=Lattice(epsg=epsg, resolution=sensor.resolution),
            sensor=sensor,
            window=window,
            block_size=block_size,
            clamp=clamp,
            transforms=transforms,
        )

    def __getitem__(self, query: Any) -> dict[str, Any]:
        """Return the sample of a spatiotemporal slice.

        Args:
            query: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:tres]`` in the dataset's CRS.

        Raises:
            IndexError: If the query misses the area or the window.
            BlockError: If a block under the query could not be produced.
            InputError: If not *clamp*, and a value lies outside the valid range.
        """
        x, y, t = self._met(query)
        pixels = self._pixels(x, y)
        return self._sample(
            torch.from_numpy(self._to_sample(pixels.image, query)),
            torch.from_numpy(pixels.observations[None]),
            (x, y, t),
        )

    def scenes(self, query: Any) -> tuple[str, ...]:
        """Return the ids of the distinct scenes behind all blocks under a query, sorted.

        Args:
            query: As for ``dataset[query]``.

        Raises:
            IndexError: If the query misses the area or the window.
            BlockError: If a block under the query could not be produced.
        """
        x, y, _ = self._met(query)
        blocks = blocks_meeting(self._on_grid(x, y) or self._around(x, y), self.block_size)
        return _ids(self.source.get(block) for block in blocks)

    def tile(
        self, rect: Rect, into: tuple[Tensor, Tensor] | None = None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the sample of a rectangle, as ``dataset[...]`` with its bounds would, and scenes.

        Args:
            rect: The rectangle; zone, resolution and anchor are the lattice's. It need not meet the
                area. A chip is read from what it is fetched as, see `blocks_of`.
            into: Image and observations to write to, with a sample's shapes and types; None for
                new tensors. A dataset that warps always makes new ones.

        Returns:
            The sample, and what `scenes` returns for it.

        Raises:
            BlockError: If a block under the rectangle could not be produced.
            InputError: If not *clamp*, and a value lies outside the valid range.
        """
        left, bottom, right, top = rect.bounds
        query = (slice(left, right), slice(bottom, top))
        native = self._in_native_crs and self.res == self._native_res
        if native:
            times = slice(*closed_window(self.window), 1) if self._index is None else self.bounds[2]
            x_res, y_res = self.res
            slices = (slice(left, right, x_res), slice(bottom, top, y_res), times)
        else:
            slices = self._disambiguate_slice(query)
        if into is None or not native:
            found = self.read(rect) if native else self._pixels(*slices[:2])
            image = torch.from_numpy(self._to_sample(found.image, query))
            observations, ids = torch.from_numpy(found.observations[None]), found.scenes
        else:
            image, observations = into
            pixels = image.numpy().view(self._dtype)
            ids = self._read_into(rect, pixels, observations[0].numpy())
            self._to_sample(pixels, query)
        return self._sample(image, observations, slices), ids

    @property
    def _in_native_crs(self) -> bool:
        """Whether no other CRS was set; an index that nobody has looked at is as it was made."""
        return self._index is None or self._extent.crs == self._native_crs

    def read(self, rect: Rect) -> CompositePixels:
        """Read a rectangle of the composite's own pixel grid.

        Args:
            rect: The rectangle; zone, resolution and anchor are the dataset's.

        Raises:
            BlockError: If a block could not be produced.
        """
        image = np.empty((len(self.bands), rect.height, rect.width), self._dtype)
        observations = np.empty((rect.height, rect.width), np.uint8)
        scenes = self._read_into(rect, image, observations)
        return CompositePixels(image=image, observations=observations, scenes=scenes)

    def _read_into(
        self, rect: Rect, image: npt.NDArray[Any], observations: npt.NDArray[np.uint8]
    ) -> tuple[str, ...]:
        """Fill arrays with the pixels of a rectangle; return the scenes."""
        blocks = []
        for block in blocks_of(rect, self.block_size):
            stored = self.source.get(block)
            shared = rect.overlap(block)
            assert shared is not None
            (rows, cols), window = shared
            stored.read_into(image[:, rows, cols], observations[rows, cols], *window)
            blocks.append(stored)
        return _ids(blocks)

    def _pixels(self, x: slice, y: slice) -> CompositePixels:
        rect = self._on_grid(x, y)
        return self._warp(x, y) if rect is None else self.read(rect)

    def _sample(
        self, image: Tensor, observations: Tensor, slices: tuple[slice, slice, slice]
    ) -> dict[str, Any]:
        sample: dict[str, Any] = {
            "image": image,
            "observations": observations,
            **georeference(*slices),
        }
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: dict[str, Any], show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample in colours, with the number of clear observations beside it.

        Args:
            sample: A sample returned by `__getitem__`.
            show_titles: Whether to title each panel.
            suptitle: Title of the figure.

        Returns:
            A matplotlib figure.

        Raises:
            RGBBandsMissingError: If Sentinel-2's B4, B3 and B2 are not all among the bands.
        """
        return plot_sample(sample, self.bands, show_titles=show_titles, suptitle=suptitle)

    def _to_sample(self, image: npt.NDArray[Any], query: Any) -> npt.NDArray[Any]:
        """Clamp pixels in place, and return them in the type that a sample has."""
        storage = storage_of(self.sensor)
        if storage.valid_range is not None:
            low, high = storage.valid_range
            # Looking first costs a fifth of a clamp, and most tiles have no such value.
            if image.max() > high or (low > 0 and image.min() < low):
                if not self.clamp:
                    outside = np.count_nonzero((image < low) | (image > high))
                    raise InputError(
                        f"`clamp=False`: {outside} of {image.size} values at {query} lie outside "
                        f"{low}..{high} (largest: {image.max()}). Mask them (mask='scl' removes "
                        "most clouds), or leave clamp on."
                    )
                np.clip(image, low, high, out=image)
        # Both types have the same size and, within the range, the same bits.
        return image.view(storage.sample)

    def _on_grid(self, x: slice, y: slice) -> Rect | None:
        """Return the rectangle of a query that lies on the native pixel grid, else None."""
        origin_x, origin_y = self.lattice.origin
        res = self.lattice.resolution
        if not self._in_native_crs or (x.step, y.step) != (res, res):
            return None
        edges = [
            (x.start - origin_x) / res,
            (x.stop - origin_x) / res,
            (y.start - origin_y) / res,
            (y.stop - origin_y) / res,
        ]
        if any(abs(edge - round(edge)) > ON_GRID for edge in edges):
            return None
        return self._covering((x.start, y.start, x.stop, y.stop))

    def _covering(self, bounds: Bounds) -> Rect:
        """Return the smallest rectangle of the pixel grid around bounds in metres."""
        grid = self.lattice
        return Rect.covering(bounds, epsg=grid.epsg, resolution=grid.resolution, anchor=grid.anchor)

    def _around(self, x: slice, y: slice) -> Rect:
        """Return the native pixels that a query in another CRS, resolution or offset needs."""
        bounds = (x.start, y.start, x.stop, y.stop)
        if self.crs != self._native_crs:
            bounds = rasterio.warp.transform_bounds(self.crs, self._native_crs, *bounds)
        res = self.lattice.resolution
        return self._covering((bounds[0] - res, bounds[1] - res, bounds[2] + res, bounds[3] + res))

    def _warp(self, x: slice, y: slice) -> CompositePixels:
        """Read a query in another CRS, resolution or offset, from the nearest pixels."""
        width = max(1, round((x.stop - x.start) / x.step))
        height = max(1, round((y.stop - y.start) / y.step))
        rect = self._around(x, y)
        native = self.read(rect)
        out = CompositePixels(
            image=np.full((len(self.bands), height, width), self.sensor.fill_value, self._dtype),
            observations=np.zeros((height, width), np.uint8),
            scenes=native.scenes,
        )
        for source, target in ((native.image, out.image), (native.observations, out.observations)):
            rasterio.warp.reproject(
                source,
                target,
                src_transform=rasterio.Affine(*rect.transform),
                src_crs=self._native_crs,
                dst_transform=rasterio.Affine(x.step, 0, x.start, 0, -y.step, y.stop),
                dst_crs=self.crs,
                resampling=Resampling.nearest,
                init_dest_nodata=False,
            )
        return out


@lru_cache(maxsize=128)
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def _ids(blocks: Iterable[StoredBlock]) -> tuple[str, ...]:
    """Return the ids of the distinct scenes of some blocks, sorted."""
    return tuple(sorted({scene.index for block in blocks for scene in block.scenes}))
