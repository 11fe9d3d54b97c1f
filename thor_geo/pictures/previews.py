"""Filling the previews of a grid store with the colours that all pictures of a run share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import zone_name
from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import RunColours
from thor_geo.pictures.pca import Colours
from thor_geo.runs.preview import has_preview, is_preview_filled, preview_levels, write_level
from thor_geo.runs.reading import MapReader, cell_window
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows
from thor_geo.support.arrays import Float32Array, Int64Array, UInt8Array


def write_previews(
    run: RunDirectory, plan: Plan, colours: RunColours, windows: Windows | None = None
) -> None:
    """Fill the previews of all zones and time windows; zones without a preview are left alone.

    Args:
        run: The run directory, with maps. Shards that are not done are transparent.
        plan: Its plan.
        colours: The run's colours.
        windows: The run's time windows; None for one.

    Raises:
        RunDirectoryError: If a shard's file cannot be read.
        OSError: If a preview cannot be written.
    """
    maps, times = MapReader(run, plan), _times(windows)
    for zone in _zones(run, plan):
        array = maps.open(plan.lattices[zone].epsg)[0]
        fitted = colours.get(int(array.shape[-3]))
        for time in times:
            _write_zone(run, plan, maps, zone, fitted, time)


def previews_to_fill(run: RunDirectory, plan: Plan, windows: Windows | None, changed: bool) -> bool:
    """Return whether a run has previews that are not filled, or not with its embeddings.

    Args:
        run: The run directory.
        plan: Its plan.
        windows: The run's time windows; None for one.
        changed: Whether a shard has been written since they may have been filled.

    Raises:
        RunDirectoryError: If the store is damaged.
    """
    times = _times(windows)
    try:
        return any(
            changed or not is_preview_filled(run.grid, zone_name(plan.lattices[zone].epsg), times)
            for zone in _zones(run, plan)
        )
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"`{run.grid}`: a preview's metadata cannot be read ({error}). `thor-geo validate "
            f"{run.path}` looks for more damage."
        ) from error


def _zones(run: RunDirectory, plan: Plan) -> list[int]:
    """Return the zones with a preview, as indices of the plan's lattices."""
    zones = np.unique(plan.shards.zone).tolist()
    return [k for k in zones if has_preview(run.grid, zone_name(plan.lattices[k].epsg))]


def _times(windows: Windows | None) -> Sequence[int | None]:
    return range(len(windows)) if windows is not None and windows.listed else (None,)


def _write_zone(
    run: RunDirectory,
    plan: Plan,
    maps: MapReader,
    zone: int,
    colours: Colours | None,
    time: int | None,
) -> None:
    epsg = plan.lattices[zone].epsg
    arrays = maps.open(epsg)
    cell, bounds = arrays[0].attrs["spatial:transform"][0], arrays[0].attrs["spatial:bbox"]
    finest, *coarser = preview_levels(arrays[0].shape[-2:], tuple(bounds), cell)
    sums = _Sums.empty(finest.shape)
    first, last = np.searchsorted(plan.shards.zone, (zone, zone + 1)).tolist()
    for shard in plan.shards[first:last] if colours else ():
        assert colours is not None
        if not run.marker_path(shard).exists():
            continue
        top, bottom, left, right = cell_window(arrays[0], shard.square.bounds)
        values = maps.read(shard, arrays, slice(top, bottom), slice(left, right), time)
        sums.add(values, colours, (top, left), finest.step)
    write_level(run.grid, zone_name(epsg), finest, sums.image(), time)
    for level in coarser:
        sums = sums.halved()
        write_level(run.grid, zone_name(epsg), level, sums.image(), time)


@dataclass(frozen=True)
class _Sums:
    """Sums of colours over cells, so that every level is an exact mean of cells.

    Attributes:
        colours: (3, rows, columns) sums over the cells with an embedding.
        present: (rows, columns) numbers of those.
        cells: (rows, columns) numbers of all cells behind a pixel, within the map.
    """

    colours: Int64Array
    present: Int64Array
    cells: Int64Array

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> _Sums:
        zeros = np.zeros((5, *shape), dtype=np.int64)
        return cls(zeros[:3], zeros[3], zeros[4])

    def add(
        self, values: Float32Array, colours: Colours, corner: tuple[int, int], step: int
    ) -> None:
        """Add the cells of a shard, (rows, columns, D), whose first cell is *corner* of the map."""
        valid = np.isfinite(values[..., 0])
        image = np.zeros((5, *valid.shape), dtype=np.int64)
        image[:3, valid] = colours(values[valid]).T
        image[3] = valid
        image[4] = 1
        for axis, start in enumerate(corner):
            image = np.add.reduceat(image, _starts(start, image.shape[axis + 1], step), axis + 1)
        rows, cols = (
            slice(start // step, start // step + size)
            for start, size in zip(corner, image.shape[1:], strict=True)
        )
        self.colours[:, rows, cols] += image[:3]
        self.present[rows, cols] += image[3]
        self.cells[rows, cols] += image[4]

    def halved(self) -> _Sums:
        """Return the sums of two by two pixels."""
        image = np.stack([*self.colours, self.present, self.cells])
        for axis in (1, 2):
            image = np.add.reduceat(image, _starts(0, image.shape[axis], 2), axis)
        return _Sums(image[:3], image[3], image[4])

    def image(self) -> UInt8Array:
        """Return the means, and as opacity the share of cells that have an embedding.

        Colours begin at 1: GDAL takes the fill value, 0, for missing, band by band.
        """
        image = np.zeros((4, *self.present.shape), dtype=np.uint8)
        image[:3] = np.maximum(_quotient(self.colours, self.present), self.present > 0)
        image[3] = _quotient(255 * self.present, self.cells)
        return image


def _starts(start: int, length: int, step: int) -> npt.NDArray[np.intp]:
    """Return where the pixels of *step* begin in a row that begins at cell *start*."""
    edges = np.arange(-(start % step), length, step)
    return np.maximum(edges, 0)


def _quotient(sums: Int64Array, counts: Int64Array) -> Int64Array:
    """Return sums / counts, rounded half up, 0 without a count."""
    return (2 * sums + counts) // np.maximum(2 * counts, 1)
