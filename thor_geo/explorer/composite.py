"""Pictures of a run's composites, which stay open as long as the page does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

import numpy as np

from thor_geo.errors import ThorGeoError
from thor_geo.explorer.located import LocatedVectors, tile_pixels
from thor_geo.explorer.points import PointVectors
from thor_geo.ground.lattice import Bounds
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import UInt8Array
from thor_geo.support.redact import redact

_log = logging.getLogger(__name__)

# Grey that `truecolour` paints where the cache has no pixel, or no clear observation.
_NO_DATA_GREY = 224
#: Least side of a thumbnail, metres: a cell of 160 m alone shows little.
THUMBNAIL_M = 1440.0

State = Literal["closed", "opening", "ready", "missing"]
Picture = Callable[..., UInt8Array | None]


class CompositePictures:
    """The composites of a run, opened in the background when a page first asks for them.

    Attributes:
        state: State of the opening.
        why: Message for the user if the state is ``missing``.
    """

    def __init__(self, opened: OpenedRun, window: int | None = None) -> None:
        """Initialize a new CompositePictures instance.

        Args:
            opened: The run.
            window: Which time window; needed only if there are several.
        """
        self._window = window
        self.state: State = "closed"
        self.why = ""
        self._opened = opened
        self._picture: Picture | None = None
        # The datamodule reads for one caller at a time.
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start to open the composites, unless that has been done."""
        with self._starting:
            if self.state == "closed" and not self._closing.is_set():
                self.state = "opening"
                # A daemon, which ends with the process even if a library hangs.
                self._thread = threading.Thread(target=self._hold, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Close the composites."""
        with self._starting:
            self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def picture(self, shard: int, side: int) -> UInt8Array | None:
        """Return a picture of a shard, (side, side, 4) uint8 RGBA, row 0 = north.

        Args:
            shard: Index in the plan.
            side: Pixels a side.

        Returns:
            The picture, transparent outside the plan's tiles; None if it has no pixels.
        """
        plan, ground = self._opened.plan, self._opened.plan.shards[shard]
        pixels = self._pixels(ground.epsg, ground.square.bounds, (side, side))
        if pixels is None:
            return None
        k = plan.lattices[0].shard_tiles
        planned = np.zeros((k, k), dtype=np.uint8)
        planned[tile_pixels(plan, slice(ground.start, ground.stop))] = 255
        tile_of = np.arange(side) * k // side
        return np.dstack([pixels, planned[np.ix_(tile_of, tile_of)]])

    def thumbnail(self, places: LocatedVectors, place: int, side: int) -> UInt8Array | None:
        """Return a picture of a place and, if it is small, its surroundings.

        Args:
            places: The places.
            place: Index among them.
            side: Pixels a side.

        Returns:
            (side, side, 4) uint8 RGBA; None if it has no pixels.
        """
        if isinstance(places, PointVectors):
            # The whole chip, in the place's own time window.
            bounds, window = places.bounds(place), [places.window(place)]
            return _opaque(self._pixels(places.epsg(place), bounds, (side, side), *window))
        left, bottom, right, top = places.bounds(place)
        # Whole pixels, or the picture would lie off the pixel grid.
        unit = self._opened.plan.lattices[0].resolution
        more = max(0, round((THUMBNAIL_M - (right - left)) / 2 / unit)) * unit
        bounds = (left - more, bottom - more, right + more, top + more)
        return _opaque(self._pixels(places.epsg(place), bounds, (side, side)))

    def _pixels(
        self, epsg: int, bounds: Bounds, shape: tuple[int, int], *window: int
    ) -> UInt8Array | None:
        if self._picture is None:
            return None
        with self._lock:
            pixels = self._picture(epsg, bounds, shape, *window)
        return None if pixels is None or bool((pixels == _NO_DATA_GREY).all()) else pixels

    def _hold(self) -> None:
        """Open the pixels, and close them in the same thread."""
        # Loads Lightning, which the page need not wait for.
        from thor_geo.datamodules.reopened import pixels_of

        with ExitStack() as stack:
            try:
                pixels = stack.enter_context(
                    pixels_of(self._opened, window=self._window, num_workers=0)
                )
                plan, ground = self._opened.plan, self._opened.plan.shards[0]
                window = [int(plan.window[0])] if isinstance(plan, PlacePlan) else []
                if pixels.truecolour(ground.epsg, ground.square.bounds, (1, 1), *window) is None:
                    self.why = "the bands of this run make no picture"
                    self.state = "missing"
                    return
            except ThorGeoError as error:
                self.why, self.state = redact(error), "missing"
                return
            except Exception as error:
                # An error of a library, which in a thread nobody would notice.
                _log.exception("The composites cannot be opened.")
                self.why, self.state = redact(f"{type(error).__name__}: {error}"), "missing"
                return
            self._picture = pixels.truecolour
            self.state = "ready"
            self._closing.wait()
            self._picture = None


def _opaque(pixels: UInt8Array | None) -> UInt8Array | None:
    if pixels is None:
        return None
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, dtype=np.uint8)])
