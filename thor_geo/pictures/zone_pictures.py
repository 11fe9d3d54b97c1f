"""The rasters of a quicklook, read shard by shard so that any run fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Bounds, Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.pictures.caption import format_days
from thor_geo.pictures.colours import RunColours, load_or_fit_colours
from thor_geo.pictures.pca import Colours
from thor_geo.runs.markers import Marker
from thor_geo.runs.pooled import row_ids
from thor_geo.runs.reading import MapReader, VectorReader, cell_window
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows
from thor_geo.storage.files import readers_of
from thor_geo.support.ahead import read_ahead
from thor_geo.support.arrays import Float32Array, IntegerArray, UInt8Array

#: Longest side of a raster in pixels.
MAX_SIDE = 2000
#: Zones that are drawn (those with most tiles), and their shards together at most: each shard costs
#: two files to read, and a picture of 2000 pixels would not show more.
MAX_ZONES, MAX_SHARDS = 4, 4096
#: Rows of maps, for zones and time windows together.
MAX_ROWS = 4
# A larger grid store would take minutes to read; its pooled vectors are drawn instead.
_MAX_GRID_BYTES = 32 * 1024**3


@dataclass(frozen=True, kw_only=True)
class ZonePicture:
    """The rasters drawn for one UTM zone; they cover `bounds`, row 0 = north.

    Attributes:
        epsg: EPSG code.
        window: Days of the time window in words; nothing without a list of windows.
        tiles: Number of tiles.
        bounds: Left, bottom, right, top of all tiles' centres, metres.
        view: The part of `bounds` that was requested; None for all of it.
        embeddings: (h, w, 4) uint8 RGBA.
        truecolour: (h, w, 4) uint8 RGBA, or None.
        observations: Mean clear observations per tile, (rows, columns) float32, NaN without any.
        failed: Bounds of failed tiles.
        empty: Bounds of tiles without observations.
    """

    epsg: int
    tiles: int
    bounds: Bounds
    embeddings: UInt8Array
    truecolour: UInt8Array | None
    observations: npt.NDArray[np.float32]
    failed: tuple[Bounds, ...]
    empty: tuple[Bounds, ...]
    view: Bounds | None = None
    window: str = ""

    @property
    def shown(self) -> Bounds:
        """The ground that the picture shows: left, bottom, right, top, metres."""
        return self.view or self.bounds


class _Zone:
    """Columns and rows of a zone's tiles (or of a part of them), from the north-west corner."""

    def __init__(self, plan: Plan, index: int, within: Bounds | None = None) -> None:
        chosen = plan.zone == index
        self.lattice = plan.lattices[index]
        if within is not None:
            chosen &= _meeting(plan, self.lattice, within)
        self.epsg = self.lattice.epsg
        self.tiles = int(chosen.sum())
        self.west, self.north = int(plan.col[chosen].min()), int(plan.row[chosen].max())
        self.cols = int(plan.col[chosen].max()) - self.west + 1
        self.rows = self.north - int(plan.row[chosen].min()) + 1
        tiles = np.flatnonzero(chosen)
        shards = np.unique(np.searchsorted(plan.shards.starts, tiles, side="right") - 1)
        self.shards: list[Shard] = [plan.shards[k] for k in shards.tolist()]

    @property
    def bounds(self) -> Bounds:
        """Bounds of the tiles' centres in metres: only centres of overlapping tiles are drawn."""
        left, _, _, top = self.lattice.tile(self.west, self.north).centre.bounds
        step = float(self.lattice.step * self.lattice.resolution)
        return left, top - self.rows * step, left + self.cols * step, top

    def tile_positions(
        self, plan: Plan, shard: Shard
    ) -> tuple[IntegerArray, IntegerArray, IntegerArray]:
        """Return which of a shard's tiles are in the part, and their rows and columns."""
        chosen = slice(shard.start, shard.stop)
        rows, cols = self.north - plan.row[chosen], plan.col[chosen] - self.west
        inside = (rows >= 0) & (rows < self.rows) & (cols >= 0) & (cols < self.cols)
        indices = np.flatnonzero(inside)
        return indices, rows[indices], cols[indices]


def _meeting(plan: Plan, lattice: Lattice, within: Bounds) -> npt.NDArray[np.bool_]:
    """Return which of the plan's tiles would meet bounds if they were in this lattice's zone."""
    left, bottom, right, top = within
    side = lattice.step * lattice.resolution
    west, _, _, north = lattice.tile(0, 0).centre.bounds
    x, y = west + plan.col * float(side), north + plan.row * float(side)
    inside: npt.NDArray[np.bool_] = (
        (x < right) & (x + side > left) & (y > bottom) & (y - side < top)
    )
    return inside


def zone_bounds(plan: Plan, index: int) -> Bounds:
    """Return bounds of the centres of a zone's tiles, metres.

    Args:
        plan: The plan.
        index: The zone, as an index of the plan's lattices; it holds a tile.
    """
    return _Zone(plan, index).bounds


def zone_meets(plan: Plan, index: int, within: Bounds) -> bool:
    """Return whether the centre of any tile in a zone meets bounds in metres.

    Args:
        plan: The plan.
        index: The zone, as an index of the plan's lattices.
        within: Left, bottom, right, top.
    """
    return bool(((plan.zone == index) & _meeting(plan, plan.lattices[index], within)).any())


def shards_within(plan: Plan, within: Mapping[int, Bounds]) -> int:
    """Return the number of shards in a part.

    Args:
        plan: The plan.
        within: As `read_pictures` takes it.
    """
    return sum(len(_Zone(plan, index, bounds).shards) for index, bounds in within.items())


def drawn_zones(plan: Plan) -> list[int]:
    """Return the zones to draw, as ascending indices of the plan's lattices.

    They are those with most tiles, at most `MAX_ZONES`, with at most `MAX_SHARDS` shards together;
    none if the largest has more. Of a table of places all are drawn.
    """
    if isinstance(plan, PlacePlan):
        return list(range(len(plan.lattices)))
    tiles = np.bincount(plan.zone, minlength=len(plan.lattices))
    shards = np.bincount(plan.shards.zone, minlength=len(plan.lattices))
    largest = np.argsort(-tiles, kind="stable")[: min(MAX_ZONES, np.count_nonzero(tiles))]
    fitting = largest[np.cumsum(shards[largest]) <= MAX_SHARDS]
    return sorted(fitting.tolist())


def drawn_windows(plan: Plan, windows: Windows) -> list[int]:
    """Return the time windows to draw, as ascending indices; 0 without a list of windows.

    They are as many as fit into `MAX_ROWS` rows of maps and `MAX_SHARDS` shards with the drawn
    zones: the first, the last and some between at even distances, or the middle one.
    """
    zones = drawn_zones(plan)
    shards = int(np.isin(plan.shards.zone, zones).sum())
    room = min(MAX_ROWS // max(1, len(zones)), MAX_SHARDS // max(1, shards), len(windows))
    if room < 2:
        return [len(windows) // 2]
    return [int(k) for k in np.linspace(0, len(windows) - 1, room).round()]


def read_pictures(
    run: RunDirectory,
    plan: Plan,
    truecolour: TrueColour | None = None,
    windows: Windows | None = None,
    *,
    colours: RunColours | None = None,
    within: Mapping[int, Bounds] | None = None,
    times: Sequence[int] | None = None,
) -> tuple[list[ZonePicture], Colours | None]:
    """Read a run as pictures; shards that are not done are transparent.

    Args:
        run: The run directory.
        plan: Its plan.
        truecolour: Source of pixels, or None.
        windows: The run's time windows; None for one.
        colours: The run's colours; None to read or fit them.
        within: The part to read: bounds in metres by index of the plan's lattices, each meeting a
            tile. None for all of `drawn_zones`.
        times: Indices of the windows to read; None for `drawn_windows`.

    Returns:
        One picture for each zone and window, in the plan's order, and the colours used; None if no
        tile has an embedding.
    """
    listed = windows if windows is not None and windows.listed else None
    chosen_times: Sequence[int | None] = [None]
    if listed is not None:
        chosen_times = drawn_windows(plan, listed) if times is None else times
    chosen: dict[int, Bounds | None] = (
        dict.fromkeys(drawn_zones(plan)) if within is None else dict(within)
    )
    zones = {index: _Zone(plan, index, chosen[index]) for index in sorted(chosen)}
    source = _source(run, plan, sum(len(zone.shards) for zone in zones.values()))
    fitted = load_or_fit_colours(run, plan) if colours is None else colours
    drawn = fitted.get(source.dimension or 0)
    pictures = []
    for (index, zone), time in product(zones.items(), chosen_times):
        observations, failed, empty = _read_markers(run, plan, zone, listed, time)
        pixels = None if truecolour is None else _true_colours(plan, zone, truecolour, time)
        pictures.append(
            ZonePicture(
                epsg=zone.epsg,
                tiles=zone.tiles,
                bounds=zone.bounds,
                embeddings=source.image(zone, drawn, time),
                truecolour=pixels,
                observations=observations,
                failed=failed,
                empty=empty,
                window="" if listed is None or time is None else format_days(listed.spans[time]),
                view=chosen[index],
            )
        )
    return pictures, drawn


def _read_markers(
    run: RunDirectory, plan: Plan, zone: _Zone, listed: Windows | None, time: int | None
) -> tuple[npt.NDArray[np.float32], tuple[Bounds, ...], tuple[Bounds, ...]]:
    """Return the mean observations of a zone's tiles, and the bounds of failed and empty ones."""
    observations = np.full((zone.rows, zone.cols), np.nan, dtype=np.float32)
    failed: list[Bounds] = []
    empty: list[Bounds] = []
    rows_of_window = slice(None) if listed is None else slice(time, None, len(listed))
    markers = read_ahead(
        lambda shard: Marker.read(run.marker_path(shard)),
        zone.shards,
        threads=readers_of(run.path),
    )
    for shard, marker in zip(zone.shards, markers, strict=True):
        if marker is None:
            continue
        chosen, rows, cols = zone.tile_positions(plan, shard)
        means = [
            np.nan if mean is None else mean for mean in marker.observations_mean[rows_of_window]
        ]
        observations[rows, cols] = np.array(means)[chosen]
        tiles = list(plan.tiles((chosen + shard.start).tolist()))
        ids = [tile.id for tile in tiles]
        if listed is not None:
            all_ids = row_ids(plan, shard, listed)[rows_of_window]
            ids = [all_ids[k] for k in chosen.tolist()]
        by_id = dict(zip(ids, (tile.centre.bounds for tile in tiles), strict=True))
        # Rows of other windows, and of other parts, are not among them.
        failed += [by_id[row] for row in marker.failed_tiles if row in by_id]
        empty += [by_id[row] for row in marker.empty_tiles if row in by_id]
    return observations, tuple(failed), tuple(empty)


class _Pooled:
    """Embeddings from the pooled files: one pixel per tile."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._run, self._plan = run, plan
        self._vectors = VectorReader(run).read

    @property
    def dimension(self) -> int | None:
        """D of the embeddings; None if no shard is done."""
        done = (shard for shard in self._plan.shards if self._run.marker_path(shard).exists())
        first = next(done, None)
        if first is None:
            return None
        return int(self._vectors(first, None).shape[1])

    def image(self, zone: _Zone, colours: Colours | None, time: int | None) -> UInt8Array:
        """Return the zone in colours, (rows, columns, 4)."""
        image = np.zeros((zone.rows, zone.cols, 4), dtype=np.uint8)
        if colours is None:
            return image

        def read(shard: Shard) -> Float32Array | None:
            done = self._run.marker_path(shard).exists()
            return self._vectors(shard, time) if done else None

        parts = read_ahead(read, zone.shards, threads=readers_of(self._run.path))
        for shard, vectors in zip(zone.shards, parts, strict=True):
            if vectors is None:
                continue
            chosen, rows, cols = zone.tile_positions(self._plan, shard)
            values = vectors[chosen]
            valid = np.isfinite(values).all(axis=1)
            image[rows[valid], cols[valid], :3] = colours(values[valid])
            image[rows[valid], cols[valid], 3] = 255
        return image


class _Grid:
    """Embeddings from the grid store: one pixel per cell, or per few cells of a large run."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._run, self._maps, self._epsg = run, MapReader(run, plan), plan.shards[0].epsg

    @property
    def dimension(self) -> int:
        """D of the embeddings."""
        return int(self._maps.open(self._epsg)[0].shape[-3])

    def image(self, zone: _Zone, colours: Colours | None, time: int | None) -> UInt8Array:
        """Return the zone in colours, (h, w, 4), at most `MAX_SIDE` a side."""
        arrays = self._maps.open(zone.epsg)
        top, bottom, left, right = cell_window(arrays[0], zone.bounds)
        step = -(-max(bottom - top, right - left) // MAX_SIDE)
        rows, cols = (np.arange(a + step // 2, b, step) for a, b in ((top, bottom), (left, right)))
        image = np.zeros((len(rows), len(cols), 4), dtype=np.uint8)
        for shard in zone.shards if colours else ():
            assert colours is not None
            a, b, c, d = cell_window(arrays[0], shard.square.bounds)
            r = slice(*np.searchsorted(rows, (a, b)).tolist())
            s = slice(*np.searchsorted(cols, (c, d)).tolist())
            if r.start == r.stop or s.start == s.stop or not self._run.marker_path(shard).exists():
                continue
            values = self._maps.read(
                shard,
                arrays,
                slice(int(rows[r][0]), int(rows[r][-1]) + 1, step),
                slice(int(cols[s][0]), int(cols[s][-1]) + 1, step),
                time,
            )
            valid = np.isfinite(values[..., 0])
            part = image[r, s]
            part[valid, :3] = colours(values[valid])
            part[valid, 3] = 255
        return image


def _source(run: RunDirectory, plan: Plan, shards: int) -> _Grid | _Pooled:
    """Return the source of embeddings for a picture of so many shards."""
    pooled, grid = run.has_pooled, run.has_grid
    if grid and pooled:
        # One file per shard, all about as large as the first.
        first = Marker.read(run.marker_path(plan.shards[0]))
        size = 0
        if first is not None:
            size = sum(
                file.size for name, file in first.outputs.items() if name.startswith("grid.zarr")
            )
        grid = size * shards <= _MAX_GRID_BYTES
    return _Grid(run, plan) if grid else _Pooled(run, plan)


def _true_colours(
    plan: Plan, zone: _Zone, truecolour: TrueColour, time: int | None
) -> UInt8Array | None:
    """Return a zone's pixels; those outside the plan's tiles become transparent."""
    per_tile = max(1, min(zone.lattice.step, MAX_SIDE // max(zone.rows, zone.cols)))
    shape = (zone.rows * per_tile, zone.cols * per_tile)
    window = () if time is None else (time,)
    pixels = truecolour(zone.epsg, zone.bounds, shape, *window)
    if pixels is None:
        return None
    planned = np.zeros((zone.rows, zone.cols), dtype=np.uint8)
    for shard in zone.shards:
        _, tile_rows, tile_cols = zone.tile_positions(plan, shard)
        planned[tile_rows, tile_cols] = 255
    alpha = planned.repeat(per_tile, axis=0).repeat(per_tile, axis=1)
    return np.dstack([pixels, alpha])


#: Returns pixels for a picture, uint8 RGB, or None: takes EPSG code, bounds in metres, shape (rows,
#: columns), and with a list of time windows the index of one.
TrueColour: TypeAlias = Callable[..., UInt8Array | None]
