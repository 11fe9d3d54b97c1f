"""FolderDataset: a TorchGeo dataset over a user's GeoTIFFs in one UTM zone, read as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from pyproj import CRS
from rasterio.windows import Window
from torch import Tensor
from torchgeo.datasets import RasterDataset

from thor_geo.datasets.colour import true_colour
from thor_geo.datasets.descriptions import check_alpha, check_descriptions
from thor_geo.datasets.extent import IndexedDataset, closed_window
from thor_geo.datasets.georeference import georeference
from thor_geo.datasets.geotiff import RasterFile
from thor_geo.datasets.units import file_units
from thor_geo.errors import BlockError, ConfigError, InputError, error_chain, first_line
from thor_geo.ground.lattice import ON_GRID, Bounds, Rect
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import BandSelection
from thor_geo.support.arrays import Float32Array
from thor_geo.transforms import observation_planes, unit_problem

# Most pixels of the ground that a picture shows: three granules of Sentinel-2.
_MOST_PIXELS = 400_000_000

# Files that are looked into when a dataset is made, and the side of what is looked at, in pixels.
_LOOKED_AT, _LOOK_PX = 8, 256

# Red, green and blue of Sentinel-2 and of OLCI (665, 560 and 490 nm).
_RGB = (
    ("S2:Red", "S2:Green", "S2:Blue"),
    ("S3:Oa08_reflectance", "S3:Oa06_reflectance", "S3:Oa04_reflectance"),
)


class FolderDataset(IndexedDataset, RasterDataset):
    """Pixels of GeoTIFFs in one UTM zone, in the units that composites are stored in.

    Nothing is resampled: a query must lie on the files' pixel grid (TorchGeo's own RasterDataset
    takes others). Where files overlap, the first that has data counts, by pixel and sensor. A pixel
    has data if no band of its sensor is the file's nodata value, masked, NaN or infinite.

    A sample holds tensors alone (``crs`` and `scenes` are the dataset's):

    * ``image``: float32 (C, H, W), in stored units (`thor_geo.specs.bands.STORAGE`), NaN = no data
    * ``observations``: uint8 (S, H, W), one plane for each sensor: 1 where it has data, else 0
    * ``transform``, ``bounds``: as in `CompositeDataset`
    """

    def __init__(
        self,
        files: Sequence[RasterFile],
        selection: BandSelection,
        *,
        window: TemporalSpec,
        scale: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
        nodata: float | None = None,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        """Initialize a new FolderDataset instance.

        Args:
            files: Files of one zone and resolution, on one pixel grid, sorted by name.
            selection: Their bands, in order.
            window: Time window of the pixels of all files.
            scale: See `file_units`.
            offset: See `file_units`.
            nodata: Value of pixels without data; None for each file's own.
            transforms: Takes a sample and returns a transformed one.

        Raises:
            ConfigError: If a file has another number of bands, describes one as another or as
                transparency, or its units are unknown.
        """
        bands = selection.bands
        for file in files:
            check_alpha(file, [band.channel for band in bands])
            if file.count != len(bands):
                raise ConfigError(
                    "bands",
                    [band.channel for band in bands],
                    f"{len(bands)} names, but {file.name} has {file.count} bands",
                    "Name each band of the files once, in order; gdal_translate -b writes files "
                    "with fewer bands.",
                )
            check_descriptions(file, bands)
        self.mint, self.maxt = closed_window(window)
        super().__init__(
            paths=[file.path for file in files],
            crs=CRS.from_epsg(files[0].epsg),
            transforms=transforms,
        )
        self.selection = selection
        self.bands = tuple(band.channel for band in bands)
        self.nodata = nodata
        self._inputs = list(files)
        self._units = [file_units(file, bands, scale, offset) for file in files]
        planes = observation_planes(selection)
        self._sensors = [
            [k for k, plane in enumerate(planes) if plane == sensor]
            for sensor in range(max(planes) + 1)
        ]
        self._edges = np.array([file.bounds for file in files])
        self._check_units(scale)

    @property
    def sensors(self) -> int:
        """Number of planes of a sample's observations."""
        return len(self._sensors)

    def __getitem__(self, query: Any) -> dict[str, Any]:
        """Return the sample of a spatiotemporal slice.

        Args:
            query: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:tres]`` in the dataset's CRS.

        Raises:
            IndexError: If the query misses the files or the window.
            InputError: If the query does not lie on the files' pixel grid.
            BlockError: If a file cannot be read.
        """
        x, y, t = self._met(query)
        bounds, shape = self._on_grid(x, y)
        image = torch.empty((len(self.bands), *shape), dtype=torch.float32)
        observations = torch.empty((self.sensors, *shape), dtype=torch.uint8)
        return self._sample(bounds, image, observations, (x, y, t))

    def scenes(self, query: Any) -> tuple[str, ...]:
        """Return the names of the files that a query meets.

        Args:
            query: As for ``dataset[query]``.

        Raises:
            IndexError: If the query misses the files or the window.
        """
        x, y, _ = self._met(query)
        return self._names((x.start, y.start, x.stop, y.stop))

    def tile(
        self, rect: Rect, into: tuple[Tensor, Tensor]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the sample of a rectangle, as ``dataset[...]`` with its bounds would, and scenes.

        Args:
            rect: The rectangle, on the files' pixel grid.
            into: Image and observations to write to, with a sample's shapes and types.

        Returns:
            The sample, and what `scenes` returns for it.

        Raises:
            BlockError: If a file cannot be read.
        """
        left, bottom, right, top = rect.bounds
        slices = self._disambiguate_slice((slice(left, right), slice(bottom, top)))
        return self._sample(rect.bounds, *into, slices), self._names(rect.bounds)

    def picture(self, bounds: Bounds, shape: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
        """Return a true-colour picture of the nearest pixels.

        Args:
            bounds: Left, bottom, right, top in metres.
            shape: Height and width of the picture in pixels.

        Returns:
            (height, width, 3) uint8, light grey where there is no data; None if no sensor has red,
            green and blue, or the ground has more than 400 million pixels.
        """
        names = next((rgb for rgb in _RGB if set(rgb) <= set(self.bands)), None)
        left, bottom, right, top = bounds
        pixel_count = (right - left) * (top - bottom) / self.res[0] ** 2
        if names is None or pixel_count > _MOST_PIXELS:
            return None
        planes = [self.bands.index(name) for name in names]
        rgb = np.zeros((3, *shape), np.float32)
        seen = np.zeros(shape, np.uint8)
        x = left + (np.arange(shape[1]) + 0.5) * (right - left) / shape[1]
        y = top - (np.arange(shape[0]) + 0.5) * (top - bottom) / shape[0]
        for number in self._meeting(bounds):
            file = self._inputs[number]
            cols = np.floor((x - file.left) / file.resolution).astype(int)
            rows = np.floor((file.top - y) / file.resolution).astype(int)
            to_cols = np.flatnonzero((cols >= 0) & (cols < file.width))
            to_rows = np.flatnonzero((rows >= 0) & (rows < file.height))
            if not len(to_cols) or not len(to_rows):
                continue
            cols, rows = cols[to_cols], rows[to_rows]
            window = Window.from_slices((rows[0], rows[-1] + 1), (cols[0], cols[-1] + 1))
            try:
                pixels, valid = self._read(number, window, (len(rows), len(cols)))
            except BlockError:  # its tiles are recorded as failed, and drawn so
                continue
            to = np.ix_(to_rows, to_cols)
            new = valid[planes].all(axis=0) & (seen[to] == 0)
            seen[to] |= new
            for k, plane in enumerate(planes):
                rgb[k][to] = np.where(new, pixels[plane], rgb[k][to])
        # OLCI is stored as reflectance itself.
        return true_colour(rgb * (1 if names is _RGB[0] else 10_000), seen)

    def _sample(
        self,
        bounds: Bounds,
        image: Tensor,
        observations: Tensor,
        slices: tuple[slice, slice, slice],
    ) -> dict[str, Any]:
        self._read_into(bounds, image.numpy(), observations.numpy())
        sample: dict[str, Any] = {
            "image": image,
            "observations": observations,
            **georeference(*slices),
        }
        return sample if self.transforms is None else self.transforms(sample)

    def _names(self, bounds: Bounds) -> tuple[str, ...]:
        return tuple(self._inputs[number].name for number in self._meeting(bounds))

    def _read_into(
        self, bounds: Bounds, image: Float32Array, observations: npt.NDArray[np.uint8]
    ) -> None:
        """Fill arrays with the pixels in bounds."""
        image.fill(np.nan)
        observations.fill(0)
        for number in self._meeting(bounds):
            (rows, cols), window = self._overlap(self._inputs[number], bounds, image.shape[-2:])
            pixels, valid = self._read(number, window)
            for plane, members in enumerate(self._sensors):
                seen = observations[plane, rows, cols]
                new = valid[members].all(axis=0) & (seen == 0)
                seen |= new
                for k in members:
                    np.copyto(image[k, rows, cols], pixels[k], where=new)

    def _meeting(self, bounds: Bounds) -> Iterator[int]:
        """Yield the files that have a pixel in bounds."""
        left, bottom, right, top = bounds
        half = self.res[0] / 2  # tells a shared pixel from a shared edge
        x0, y0, x1, y1 = self._edges.T
        meets = (x0 < right - half) & (x1 > left + half) & (y0 < top - half) & (y1 > bottom + half)
        yield from np.flatnonzero(meets).tolist()

    def _overlap(
        self, file: RasterFile, bounds: Bounds, shape: tuple[int, ...]
    ) -> tuple[tuple[slice, slice], Window]:
        """Return the rows and columns of an array over bounds that a file fills, and its window."""
        col = round((file.left - bounds[0]) / file.resolution)
        row = round((bounds[3] - file.top) / file.resolution)
        rows = slice(max(row, 0), min(row + file.height, shape[0]))
        cols = slice(max(col, 0), min(col + file.width, shape[1]))
        window = Window.from_slices(
            (rows.start - row, rows.stop - row), (cols.start - col, cols.stop - col)
        )
        return (rows, cols), window

    def _read(
        self, number: int, window: Window, shape: tuple[int, int] | None = None
    ) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
        """Return a file's pixels in stored units, and which have data, both (C, H, W)."""
        file = self._inputs[number]
        size = None if shape is None else (file.count, *shape)
        try:
            # Opened for each read: handles do not survive a fork, and data loaders fork.
            with rasterio.open(file.path) as source:
                values = source.read(window=window, out_shape=size, masked=self.nodata is None)
        except (rasterio.errors.RasterioError, OSError) as error:
            *_, cause = error_chain(error, contexts=False)
            raise BlockError(
                f"`{file.name}` cannot be read ({first_line(cause)}). Run the "
                "same command again. If the file is damaged, replace it and give another "
                "output.dir: a run belongs to the content of its files."
            ) from error
        valid = ~np.ma.getmaskarray(values) if self.nodata is None else values != self.nodata
        values = np.ma.getdata(values)
        return self._units[number].apply(values), valid & np.isfinite(values)

    def _check_units(self, scale: Sequence[float] | None) -> None:
        """Look at the middle of some files, whether their values are in the unit that is stated.

        Raises:
            ConfigError: If they are reflectance 0..1 or decibels where their scale says otherwise,
                or not where it says that they are.
        """
        stated = [
            number
            for number, file in enumerate(self._inputs)
            if np.dtype(file.dtype).kind == "f" or scale is not None or set(file.scales) != {1.0}
        ]
        for number in stated[:: -(-len(stated) // _LOOKED_AT) or 1]:
            file = self._inputs[number]
            middle = Window(
                max(0, (file.width - _LOOK_PX) // 2),
                max(0, (file.height - _LOOK_PX) // 2),
                min(_LOOK_PX, file.width),
                min(_LOOK_PX, file.height),
            )
            try:
                pixels, valid = self._read(number, middle)
            except BlockError:  # its tiles are recorded as failed
                continue
            pixels[~valid] = np.nan
            problem = unit_problem(torch.from_numpy(pixels), self.selection)
            if problem is not None:
                raise ConfigError(
                    "scale",
                    None if scale is None else list(scale),
                    f"{file.name}, as it is scaled: {problem}",
                    "Set data.scale so that value x scale is reflectance 0..1 or decibels: 1 if "
                    "the file holds these, 0.0001 for reflectance x 10,000, 0.01 for hundredths "
                    "of a decibel.",
                )

    def _on_grid(self, x: slice, y: slice) -> tuple[Bounds, tuple[int, int]]:
        """Return bounds and shape of a query.

        Raises:
            InputError: If the query does not lie on the files' pixel grid.
        """
        first = self._inputs[0]
        res = first.resolution
        steps = [(edge - first.left) / res for edge in (x.start, x.stop)]
        steps += [(first.top - edge) / res for edge in (y.stop, y.start)]
        if (
            self.crs.to_epsg() != first.epsg
            or not all(math.isclose(step, res, rel_tol=1e-6) for step in (x.step, y.step))
            or any(abs(step - round(step)) > ON_GRID for step in steps)
        ):
            raise InputError(
                f"the query {x}, {y} does not lie on the files' grid: EPSG:{first.epsg}, pixels of "
                f"{res:g} m from ({first.left!r}, {first.top!r}). FolderDataset does not resample; "
                "torchgeo.datasets.RasterDataset does."
            )
        left, right, top, bottom = map(round, steps)
        return (x.start, y.start, x.stop, y.stop), (bottom - top, right - left)
