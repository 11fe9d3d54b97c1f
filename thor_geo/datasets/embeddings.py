"""EmbeddingDataset: the maps of a run as a TorchGeo GeoDataset."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio.warp
import shapely
import torch
from pyproj import CRS

from thor_geo.datasets.embedding_picture import plot_embeddings
from thor_geo.datasets.extent import IndexedDataset, closed_window
from thor_geo.datasets.georeference import georeference
from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import zone_name
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.runs.zone_map import ZoneMap
from thor_geo.storage import Location
from thor_geo.support.arrays import Float32Array, Int64Array
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)


class HasRunPath(Protocol):
    """What `thor_geo.open_run` returns: a run that knows its directory, and perhaps a window."""

    path: Location
    window: int | None


class EmbeddingDataset(IndexedDataset):
    """The embeddings of a run's maps in one UTM zone, for TorchGeo's samplers and ``&``.

    ``EmbeddingDataset("out/oslo") & labels`` pairs each cell with the label under its centre, as
    TorchGeo warps labels to the first dataset. Queries are TorchGeo's: ``dataset[xmin:xmax,
    ymin:ymax, tmin:tmax]``, partial slices included; one on the map's own cells is read as it is,
    any other takes the nearest cell. Only the chunks under a query are read.

    The index has a row for each time window. A sample is of one window: the one that fits the
    query's time best (by intersection over union; of equals the earliest).

    A sample holds tensors alone (``crs`` is the dataset's):

    * ``image``: float32 (D, H, W), whatever the type on disk; 0 in cells without an embedding, as
      one NaN would spoil the gradients of a whole batch
    * ``embedded``: bool (1, H, W), whether a cell has an embedding
    * ``transform``, ``bounds``: as in `CompositeDataset`
    """

    def __init__(
        self,
        run: str | Path | OpenedRun | HasRunPath,
        *,
        zone: str | int | None = None,
        window: int | None = None,
        by_tile: bool = False,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        """Initialize a new EmbeddingDataset instance.

        Args:
            run: The run's directory, or what `thor_geo.open_run` returned. It may be unfinished;
                the index then covers the finished shards.
            zone: UTM zone, ``utm32n`` or an EPSG code; needed if the run has several.
            window: Which time window of a run with several, 0 for the first; None for all of them.
            by_tile: Give the index a row for each tile instead of one for the whole map, so that
                PreChippedGeoSampler yields tiles and no random patch crosses their edges.
            transforms: Takes a sample and returns a transformed one.

        Raises:
            ConfigError: If the run is one of places, has no maps or no such zone or window, or has
                several zones and none is chosen.
            RunDirectoryError: If it is not a run, or nothing of the zone is finished.
        """
        opened = _opened(run)
        if window is None and not isinstance(run, str | Path | OpenedRun):
            window = run.window
        self._check(opened)
        self._map = ZoneMap(opened, _zone(opened, zone))
        if window is not None:
            opened.time_index(window)  # refuses a window that is not there
        self._windows = tuple(range(len(opened.windows)) if window is None else (window,))
        self._spans = [closed_window(opened.windows.spans[k]) for k in self._windows]
        self._by_tile = by_tile
        self.transforms = transforms
        self.paths = ()  # the files are those of a run: there are none to search for
        self._native_crs = CRS.from_epsg(self._map.epsg)
        self._res = (self._map.cell, self._map.cell)
        if self._map.unfinished:
            _log.warning(
                "%s is not finished: %s of %s left out.",
                opened.run.path,
                counted(self._map.unfinished, "shard"),
                zone_name(self._map.epsg),
            )

    @staticmethod
    def _check(opened: OpenedRun) -> None:
        path = str(opened.run.path)
        if opened.places:
            raise ConfigError(
                "run",
                path,
                "a run of places, whose chips are no map of one CRS",
                "Use its vectors (thor_geo.open_run), or a run of an area.",
            )
        if not opened.grid:
            raise ConfigError(
                "run",
                path,
                "it has vectors and no maps",
                "Run it again into another directory with --output.grid=true.",
            )

    def _first_index(self) -> gpd.GeoDataFrame:
        tiles = self._map.tiles()
        ground = tiles if self._by_tile else np.array([shapely.coverage_union_all(tiles)])
        spans = [span for span in self._spans for _ in ground]
        interval = pd.IntervalIndex.from_tuples(spans, closed="both", name="datetime")
        geometry = np.tile(ground, len(self._spans))
        return gpd.GeoDataFrame(index=interval, geometry=list(geometry), crs=self._native_crs)

    @property
    def dimension(self) -> int:
        """D, the number of channels of an image."""
        return self._map.dimension

    def __getitem__(self, query: Any) -> dict[str, Any]:
        """Return the sample of a spatiotemporal slice.

        Args:
            query: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:tres]`` in the dataset's CRS.

        Raises:
            IndexError: If the query misses the maps or the windows.
            RunDirectoryError: If a file of the run cannot be read.
        """
        x, y, t = self._met(query)
        window = self._windows[self._best_window(t)]
        rows, cols = self._cells(x, y)
        values = self._read(rows, cols, self._map.opened.time_index(window))
        embedded = np.isfinite(values).all(axis=0, keepdims=True)
        sample: dict[str, Any] = {
            "image": torch.from_numpy(np.where(embedded, values, np.float32(0))),
            "embedded": torch.from_numpy(embedded),
            **georeference(x, y, t),
        }
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: dict[str, Any], show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample in the colours of its run, as all pictures of the run have them.

        Args:
            sample: A sample of this dataset, or of ``dataset & labels``: its `mask`, and a
                `prediction` if there is one, are drawn beside it in colours of their own.
            show_titles: Whether to title each panel.
            suptitle: Title of the figure.

        Returns:
            A matplotlib figure.

        Raises:
            RunDirectoryError: If colours have to be fitted, and a file cannot be read.
        """
        opened = self._map.opened
        colours = load_or_fit_colours(opened.run, opened.plan)[self.dimension]
        return plot_embeddings(sample, colours, show_titles=show_titles, suptitle=suptitle)

    def _best_window(self, t: slice) -> int:
        """Return which of the windows fits a time best."""
        start, stop = pd.Timestamp(t.start), pd.Timestamp(t.stop)
        shares = [
            (min(stop, last) - max(start, first)) / (max(stop, last) - min(start, first))
            for first, last in self._spans
        ]
        return int(np.argmax(shares))

    def _cells(self, x: slice, y: slice) -> tuple[Int64Array, Int64Array]:
        """Return row and column of the cell under each pixel of a query, (H, W) or (H, 1), (W,).

        They may lie beyond the map.
        """
        width = max(1, round((x.stop - x.start) / x.step))
        height = max(1, round((y.stop - y.start) / y.step))
        # Pixels begin at the upper left, as the transform says.
        east = x.start + (np.arange(width) + 0.5) * x.step
        north = (y.stop - (np.arange(height) + 0.5) * y.step)[:, None]
        if self._extent.crs != self._native_crs:
            grid = np.broadcast_arrays(east, north)
            moved = rasterio.warp.transform(
                self._extent.crs, self._native_crs, *(axis.ravel() for axis in grid)
            )
            east, north = (np.reshape(axis, grid[0].shape) for axis in moved[:2])
        left, _, _, top = self._map.bounds
        rows, cols = (top - north) / self._map.cell, (east - left) / self._map.cell
        return np.floor(rows).astype(np.int64), np.floor(cols).astype(np.int64)

    def _read(self, rows: Int64Array, cols: Int64Array, time: int | None) -> Float32Array:
        """Return the embeddings of cells, (D, H, W), from one rectangle around them."""
        top, left = int(rows.min()), int(cols.min())
        around = slice(top, int(rows.max()) + 1), slice(left, int(cols.max()) + 1)
        values = self._map.read(*around, time)
        shape = np.broadcast_shapes(rows.shape, cols.shape)
        if values.shape[1:] == shape and rows.shape[1] == cols.ndim == 1:
            return values  # cell for cell
        return values[:, rows - top, cols - left]


def _opened(run: str | Path | OpenedRun | HasRunPath) -> OpenedRun:
    if isinstance(run, OpenedRun):
        return run
    return read_run(run if isinstance(run, str | Path) else run.path)


def _zone(opened: OpenedRun, zone: str | int | None) -> int:
    """Return the EPSG code of the zone that is asked for."""
    codes = {zone_name(lattice.epsg): lattice.epsg for lattice in opened.plan.lattices}
    names = ", ".join(codes)
    if zone is None:
        if len(codes) > 1:
            raise ConfigError(
                "zone",
                None,
                f"`{opened.run.path}` lies in {names}, but a dataset has one CRS",
                f"Give one of them, e.g. zone={next(iter(codes))!r}, and make a dataset for each.",
            )
        return next(iter(codes.values()))
    found = codes.get(str(zone).lower(), zone)
    if found not in codes.values():
        raise ConfigError("zone", zone, f"`{opened.run.path}` lies in {names}", "Give one of them.")
    return int(found)
