"""Blocks as readers see them: windows of pixels and observation counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from thor_geo.composites import _tiff
from thor_geo.composites._records import DamagedError
from thor_geo.errors import BlockError
from thor_geo.ground.lattice import Block
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import AnyScene
from thor_geo.sources.service import BlockPixels
from thor_geo.support.arrays import UInt8Array


@dataclass(frozen=True, kw_only=True)
class StoredBlock:
    """A block in the store.

    Attributes:
        block: Its grid.
        bands: Earth Engine names of its bands, in order.
        scenes: The scenes it is made of, sorted by index; empty where there are none.
        fill_value: Value of pixels without observation.
        path: The GeoTIFF; None for a block without scenes.
        which: Identity of the verified file; None also if that vanished as soon as it was written.
        checksum: Its checksum.
        signed: Whether pixels are int16 (Sentinel-1) rather than uint16.
        orbit_fallback: Whether its Sentinel-1 scenes are of the other orbit pass than asked for.
        left_out: Why each scene that passes the filters and could not be used is not in it, by
            index.
    """

    block: Block
    bands: tuple[str, ...]
    scenes: tuple[AnyScene, ...]
    fill_value: int
    path: Path | None = None
    which: _tiff.Identity | None = None
    checksum: str | None = None
    signed: bool = False
    orbit_fallback: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)

    def read(
        self, rows: slice | None = None, cols: slice | None = None
    ) -> tuple[BlockPixels, UInt8Array]:
        """Read a window.

        Args:
            rows: Rows of the block; all by default.
            cols: Columns of the block; all by default.

        Returns:
            Pixels (bands, rows, columns), uint16 or int16, and the number of clear observations
            (rows, columns), uint8, saturating at 255. Without scenes: fill value and zeros.

        Raises:
            IndexError: If the window is empty, has a step, or leaves the block.
            BlockError: If the file vanished or broke after it was verified.
        """
        rows, cols = self._checked("rows", rows), self._checked("cols", cols)
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        dtype = np.int16 if self.signed else np.uint16
        pixels: BlockPixels = np.empty((len(self.bands), *shape), dtype)
        observations = np.empty(shape, np.uint8)
        self.read_into(pixels, observations, rows, cols)
        return pixels, observations

    def read_into(
        self, pixels: BlockPixels, observations: UInt8Array, rows: slice, cols: slice
    ) -> None:
        """Read a window into arrays that are there.

        Args:
            pixels: Where the pixels go, (bands, rows, columns), uint16 or int16.
            observations: Where the number of clear observations goes, (rows, columns), uint8.
            rows: Rows of the block.
            cols: Columns of the block.

        Raises:
            IndexError: If the window is empty, has a step, or leaves the block.
            BlockError: If the file vanished or broke after it was verified.
        """
        rows, cols = self._checked("rows", rows), self._checked("cols", cols)
        if self.path is None:
            pixels[:], observations[:] = self.fill_value, 0
            return
        if self.which is None or self.checksum is None:
            raise BlockError(self._unreadable("it vanished when it had just been written"))
        shape = (len(self.bands) + 1, self.block.size, self.block.size)
        file = _tiff.VerifiedFile(
            path=self.path,
            which=self.which,
            checksum=self.checksum,
            shape=shape,
            signed=self.signed,
        )
        counts = np.empty(observations.shape, np.uint16)
        try:
            _tiff.read_into(file, [*pixels.view(np.uint16), counts], rows, cols)
        except (OSError, DamagedError) as error:
            raise BlockError(self._unreadable(error)) from error
        # Rarely so, and NumPy looks five times as fast as it clamps.
        if counts.max() > 255:
            np.minimum(counts, 255, out=counts)
        observations[:] = counts

    def _unreadable(self, why: object) -> str:
        return (
            f"{self.path} could not be read ({why}). If something else cleans the cache folder, "
            "stop it; run again to fetch the block again."
        )

    def _checked(self, argument: str, window: slice | None) -> slice:
        size = self.block.size
        if window is None:
            return slice(0, size)
        start, stop = window.start or 0, size if window.stop is None else window.stop
        if window.step not in (None, 1) or not 0 <= start < stop <= size:
            raise IndexError(f"`{argument}={window}` does not lie in a block of {size} px")
        return slice(start, stop)


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """The pinned scenes of a block.

    Attributes:
        scenes: Sorted by index; empty where no scene passes the filters.
        block_key: Name of the pixels, None without scenes.
        left_out: Why each scene that passes the filters and could not be used is not among them, by
            index. The first process to make the block says so, and all others keep to it.
        cost: What listing the scenes cost; None where it was not recorded. Two lists of the same
            scenes are equal whatever they cost.
    """

    scenes: tuple[AnyScene, ...]
    block_key: str | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    cost: FetchStats | None = field(default=None, compare=False)
