"""The extent of a dataset's index, without asking pandas for every query."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import pandas as pd
import shapely
from pyproj import CRS

from thor_geo.specs import TemporalSpec


def closed_window(window: TemporalSpec) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return a time window as TorchGeo has it: without a zone, and closed on both sides.

    Args:
        window: The window, which is half-open: it ends one microsecond later.
    """
    start, end = (pd.Timestamp(side.replace(tzinfo=None)) for side in (window.start, window.end))
    return start, end - pd.Timedelta(microseconds=1)


class IndexExtent:
    """The rows of a TorchGeo index as arrays; a query takes 50 us instead of pandas' 2 ms.

    Attributes:
        crs: The index's CRS.
        bounds: Left, bottom, right, top in it.
        first: Start of the earliest interval.
        last: End of the latest interval.
    """

    def __init__(self, index: gpd.GeoDataFrame) -> None:
        """Initialize a new IndexExtent instance.

        Args:
            index: Footprints, indexed by intervals that are closed on both sides.
        """
        self._parts = _parts(index)
        self.crs: CRS = index.crs
        self._geometry = index.geometry.to_numpy().copy()
        # An outline may have a million corners, and every tile is compared with it.
        shapely.prepare(self._geometry)
        intervals = index.index
        self._starts, self._stops = intervals.left.to_numpy(), intervals.right.to_numpy()
        self.bounds: tuple[float, float, float, float] = tuple(index.total_bounds.tolist())
        self.first: pd.Timestamp = intervals.left.min()
        self.last: pd.Timestamp = intervals.right.max()

    def describes(self, index: gpd.GeoDataFrame) -> bool:
        """Return whether it was made from this index, and the index has not changed since."""
        geometry, intervals = _parts(index)
        return geometry is self._parts[0] and intervals is self._parts[1]

    def meets(self, x: slice, y: slice, t: slice) -> bool:
        """Return whether a footprint meets a box, edges included, while its interval meets a time.

        Args:
            x: Left and right.
            y: Bottom and top.
            t: Start and end; the start itself is outside, as in pandas' intervals, so an instant
                meets nothing.
        """
        begin, end = (pd.Timestamp(side).to_datetime64() for side in (t.start, t.stop))
        if begin >= end:
            return False
        then = (self._starts <= end) & (begin < self._stops)
        box = shapely.box(x.start, y.start, x.stop, y.stop)
        return bool((then & shapely.intersects(self._geometry, box)).any())


def _parts(index: gpd.GeoDataFrame) -> tuple[Any, Any]:
    # Every change that pandas and geopandas make to a frame in place replaces one of these arrays.
    return index.geometry.array, index.index
