"""Labels from a raster of classes or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, transform_bounds
from rasterio.windows import Window

from thor_geo.errors import ConfigError, first_line
from thor_geo.ground.area import LONLAT
from thor_geo.ground.lattice import Bounds
from thor_geo.probe.joining import Joined, Squares, heaviest_class
from thor_geo.probe.spec import Task
from thor_geo.support.arrays import Float64Array

# Most points along a side at which a square is sampled: every 10 m of a tile of 288 px.
_MOST_PLACES = 288
# Points that are sampled at once.
_PLACES = 8_000_000


class RasterLabels:
    """A raster of labels.

    A square is sampled at the centres of k x k equal parts, where k is its side divided by the
    raster's pixel size, rounded up. If the grids fit, these are the square's own pixels: 16 for a
    cell of 4 x 4 pixels. The most frequent class counts (among equals, the lowest), or the mean.
    """

    kind = "raster"

    names: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        path: Path,
        target: str | None = None,
        *,
        task: Task | None = None,
        nodata: float | None = None,
        ignore: tuple[str, ...] = (),
    ) -> None:
        """Initialize a new RasterLabels instance.

        Args:
            path: A raster that GDAL reads, in any CRS.
            target: Description of the band, or a name for the only one if that has none; None for
                the only band, which reports call by the file's name.
            task: What is predicted; None: integers, and whole numbers with NaN among them, are
                classes; other floats are regressed.
            nodata: Value for no label, besides the raster's own nodata value.
            ignore: Further values to leave out, as text.

        Raises:
            ConfigError: If the raster cannot be used.
        """
        self._file = _open(path)
        self.source, self.name = str(path), target or path.stem
        self._band = _band(self._file, path, target)
        self._without = _numbers("--ignore", ignore)
        nodata_value = self._file.nodatavals[self._band - 1]
        self._without += [v for v in (nodata_value, nodata) if v is not None]
        self.notes: tuple[str, ...] = ()
        self.task: Task = task or self._task()

    def _task(self) -> Task:
        """Return what is predicted: integers, and whole numbers with NaN among them, are classes.

        Integers with gaps become floats in many programs, because integers have no NaN.
        """
        if np.issubdtype(np.dtype(self._file.dtypes[self._band - 1]), np.integer):
            return "classification"
        gaps = False
        rows = max(1, _PLACES // self._file.width)
        for first in range(0, self._file.height, rows):
            window = Window(0, first, self._file.width, min(rows, self._file.height - first))
            values = self._file.read(self._band, window=window)
            labelled = np.isfinite(values) & ~np.isin(values, self._without)
            if (values[labelled] != np.rint(values[labelled])).any():
                return "regression"
            gaps |= bool(np.isnan(values).any())
        task: Task = "classification" if gaps else "regression"
        other = "regression" if gaps else "classification"
        self.notes = (
            f"{self.source} holds floats that are whole numbers, {'with' if gaps else 'without'} "
            f"NaN among them, so the task is {task}. --task {other} is the other.",
        )
        return task

    def record(self) -> Mapping[str, object]:
        """Return the record of the labels for probe.json."""
        without = [repr(v) for v in self._without]
        return {"file": self.source, "kind": "raster", "band": self._band, "no_label": without}

    def extent(self) -> Bounds:
        """Return west, south, east and north of the raster, degrees."""
        west, south, east, north = transform_bounds(self._file.crs, LONLAT, *self._file.bounds)
        return west, south, east, north

    def class_of(self, code: float) -> str | int:
        """Return the class that a value stands for.

        Raises:
            ConfigError: If it is not a whole number.
        """
        if code != round(code):
            raise ConfigError(
                "--labels",
                self.source,
                f"{code} is not a class",
                "Use --task regression, or a raster of integers.",
            )
        return int(code)

    def join(self, squares: Squares) -> Joined:
        """Return the labels of squares.

        Args:
            squares: Cells or a tile.
        """
        k = self._places(squares)
        chunk = max(1, _PLACES // (squares.cols * k * k))
        parts = []
        for first in range(0, squares.rows, chunk):
            rows = min(chunk, squares.rows - first)
            top = squares.top - first * squares.side
            parts.append(self._join(squares._replace(top=top, rows=rows), k))
        return Joined(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _join(self, squares: Squares, k: int) -> Joined:
        values, labelled = self._look_up(squares, k)
        shape = (squares.rows, squares.cols)
        # (squares, points): the points of each square side by side.
        parts, valid = (
            a.reshape(squares.rows, k, squares.cols, k).swapaxes(1, 2).reshape(-1, k * k)
            for a in (values, labelled)
        )
        cover = valid.mean(axis=1)
        tied = np.zeros(len(cover), dtype=np.bool_)
        if self.task == "classification":
            codes = np.unique(parts[valid])
            weights = (
                np.stack([((parts == code) & valid).sum(axis=1) for code in codes], axis=1).astype(
                    np.float64
                )
                if len(codes)
                else np.empty((len(cover), 0))
            )
            value, tied = heaviest_class(weights, codes)
        else:
            count = valid.sum(axis=1)
            sums = np.where(valid, parts, 0).sum(axis=1)
            value = np.divide(sums, count, out=np.full(len(count), np.nan), where=count > 0)
        return Joined(value.reshape(shape), cover.reshape(shape), tied.reshape(shape))

    def _places(self, squares: Squares) -> int:
        utm = f"EPSG:{squares.epsg}"
        file = self._file
        if file.crs == rasterio.CRS.from_string(utm):
            pixel = min(abs(file.transform.a), abs(file.transform.e))
        else:
            change, _, _ = calculate_default_transform(
                file.crs, utm, file.width, file.height, *file.bounds
            )
            pixel = min(abs(change.a), abs(change.e))
        places = math.ceil(squares.side / float(pixel) - 1e-3)
        return min(max(1, places), _MOST_PLACES)

    def _look_up(self, squares: Squares, k: int) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """Return values at points (rows * k, columns * k), and which have a label."""
        values, labelled = self._warped(squares, k, self._file.transform)
        for turn in self._turns():
            # Ground beyond the antimeridian, which GDAL looks for on the other side of the raster.
            turned = rasterio.Affine.translation(turn, 0) * self._file.transform
            more, there = self._warped(squares, k, turned)
            values, labelled = np.where(labelled, values, more), labelled | there
        labelled &= np.isfinite(values)
        for value in self._without:
            labelled &= values != value
        return values, labelled

    def _turns(self) -> tuple[float, ...]:
        """Return by how many degrees a raster that reaches beyond 180 has to be turned, too."""
        if not self._file.crs.is_geographic:
            return ()
        west, east = float(self._file.bounds.left), float(self._file.bounds.right)
        return (-360.0,) * (east > 180) + (360.0,) * (west < -180)

    def _warped(
        self, squares: Squares, k: int, transform: rasterio.Affine
    ) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """Return values at points, and which are in the raster, placed by *transform*."""
        step = squares.side / k
        with WarpedVRT(
            self._file,
            src_transform=transform,
            crs=f"EPSG:{squares.epsg}",
            transform=rasterio.Affine(step, 0, squares.left, 0, -step, squares.top),
            width=squares.cols * k,
            height=squares.rows * k,
            resampling=Resampling.nearest,
            # An alpha band marks points outside the raster, whatever their value.
            add_alpha=True,
            src_nodata=None,
            nodata=None,
        ) as warped:
            return warped.read(self._band).astype(np.float64), warped.read(warped.count) > 0


def is_raster(path: Path) -> bool:
    """Return whether a file is a raster; a GeoPackage with vectors only is not."""
    try:
        with rasterio.open(path) as file:
            return bool(file.count > 0)
    except rasterio.errors.RasterioIOError:
        return False


def _open(path: Path) -> DatasetReader:
    try:
        file = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise ConfigError(
            "--labels", str(path), f"not readable ({first_line(error)})", "Give a GeoTIFF."
        ) from error
    if file.crs is None:
        raise ConfigError(
            "--labels", str(path), "it has no CRS", "Set one, e.g. with gdal_edit -a_srs."
        )
    return file


def _band(file: DatasetReader, path: Path, target: str | None) -> int:
    if target is not None and target in file.descriptions:
        return int(file.descriptions.index(target)) + 1
    if target is not None and file.count == 1 and file.descriptions[0]:
        raise ConfigError(
            "--target",
            target,
            f"the band of {path} is called {file.descriptions[0]}",
            f"Leave it out (the report then says {path.stem}), or give {file.descriptions[0]}.",
        )
    if file.count > 1:
        names = [d or f"(band {k + 1} has no name)" for k, d in enumerate(file.descriptions)]
        raise ConfigError(
            "--target",
            target,
            f"{path} has {file.count} bands",
            f"Name one of them: {', '.join(names)}.",
        )
    return 1


def _numbers(argument: str, values: tuple[str, ...]) -> list[float]:
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise ConfigError(
            argument,
            ",".join(values),
            "not numbers, which the values of a raster are",
            "Give e.g. 0,255.",
        ) from error
