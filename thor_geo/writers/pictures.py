"""The rasters of a quicklook, read shard by shard so that any run fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from thor_geo.grid import Bounds
from thor_geo.plan import Plan, Shard, Shards
from thor_geo.specs import Windows
from thor_geo.writers.caption import days
from thor_geo.writers.markers import Marker
from thor_geo.writers.opening import TrueColour
from thor_geo.writers.pca import Colours
from thor_geo.writers.pooled import row_ids
from thor_geo.writers.reading import MapReader, VectorReader, window
from thor_geo.writers.rundir import RunDirectory

#: Longest side of a raster in pixels.
MAX_SIDE = 2000
#: Zones that are drawn, those with most tiles, as long as they have no more shards together: each
#: costs two files to read, and a picture of 2000 pixels would not show more.
MAX_ZONES, MAX_SHARDS = 4, 4096
#: Rows of maps, of zones and time windows.
MAX_ROWS = 4
# Embeddings that the colours are fitted to, and the shards they come from.
_SAMPLE, _SAMPLE_SHARDS = 2048, 32
# A larger grid store would take minutes to read; its pooled vectors are drawn instead.
_MAX_GRID_BYTES = 32 * 1024**3

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ZonePicture:
    """What is drawn of one UTM zone; rasters cover `bounds`, row 0 = north.

    Attributes:
        epsg: EPSG code.
        window: Days of the time window, for reading; nothing without a list of windows.
        tiles: Number of tiles.
        bounds: Left, bottom, right, top of all tiles' centres, metres.
        embeddings: (h, w, 4) uint8 RGBA.
        truecolour: (h, w, 4) uint8 RGBA, or None.
        observations: Mean clear observations per tile, (rows, columns) float32, NaN where none.
        failed: Bounds of failed tiles.
        empty: Bounds of tiles without observations.
    """

    epsg: int
    tiles: int
    bounds: Bounds
    embeddings: Image
    truecolour: Image | None
    observations: npt.NDArray[np.float32]
    failed: tuple[Bounds, ...]
    empty: tuple[Bounds, ...]
    window: str = ""


class _Zone:
    """Columns and rows of a zone's tiles, counted from the north-west."""

    def __init__(self, plan: Plan, index: int) -> None:
        chosen = plan.zone == index
        self.lattice = plan.lattices[index]
        self.epsg = self.lattice.epsg
        self.tiles = int(chosen.sum())
        self.west, self.north = int(plan.col[chosen].min()), int(plan.row[chosen].max())
        self.cols = int(plan.col[chosen].max()) - self.west + 1
        self.rows = self.north - int(plan.row[chosen].min()) + 1
        first, last = np.searchsorted(plan.shards.zone, (index, index + 1)).tolist()
        self.shards: Shards = plan.shards[first:last]

    @property
    def bounds(self) -> Bounds:
        """Bounds of the tiles' centres in metres: overlapping tiles are drawn as these."""
        left, _, _, top = self.lattice.tile(self.west, self.north).centre.bounds
        step = float(self.lattice.step * self.lattice.resolution)
        return left, top - self.rows * step, left + self.cols * step, top

    def place(
        self, plan: Plan, shard: Shard
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return rows and columns of a shard's tiles."""
        chosen = slice(shard.start, shard.stop)
        return self.north - plan.row[chosen], plan.col[chosen] - self.west


def drawn_zones(plan: Plan) -> list[int]:
    """Return the zones to draw, as ascending indices of the plan's lattices.

    Those with most tiles, at most `MAX_ZONES`, with at most `MAX_SHARDS` shards together; none
    where the largest has more.
    """
    tiles = np.bincount(plan.zone, minlength=len(plan.lattices))
    shards = np.bincount(plan.shards.zone, minlength=len(plan.lattices))
    largest = np.argsort(-tiles, kind="stable")[: min(MAX_ZONES, np.count_nonzero(tiles))]
    fitting = largest[np.cumsum(shards[largest]) <= MAX_SHARDS]
    return sorted(fitting.tolist())


def drawn_windows(plan: Plan, windows: Windows) -> list[int]:
    """Return the time windows to draw, as ascending indices; 0 without a list of windows.

    As many as give `MAX_ROWS` rows of maps and `MAX_SHARDS` shards with the zones that are drawn:
    the first, the last and some between at even distances, or the middle one.
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
) -> tuple[list[ZonePicture], Colours | None]:
    """Read a finished run as pictures.

    Args:
        run: The run directory.
        plan: Its plan.
        truecolour: Source of pixels, or None.
        windows: The run's time windows; None for one.

    Returns:
        One picture for each of `drawn_zones` and `drawn_windows`, in the plan's order, and the
        colours; None if no tile has an embedding.
    """
    listed = windows if windows is not None and windows.listed else None
    drawn = [None] if listed is None else drawn_windows(plan, listed)
    source = _source(run, plan)
    colours = _fit(source, plan, drawn)
    pictures = []
    for index, time in product(drawn_zones(plan), drawn):
        zone = _Zone(plan, index)
        observations = np.full((zone.rows, zone.cols), np.nan, dtype=np.float32)
        marked: dict[str, list[Bounds]] = {"failed": [], "empty": []}
        for shard in zone.shards:
            marker = Marker.read(run.marker_of(shard))
            if marker is None:
                continue
            rows, cols = zone.place(plan, shard)
            of_window = slice(None) if listed is None else slice(time, None, len(listed))
            observations[rows, cols] = [
                np.nan if mean is None else mean for mean in marker.observations_mean[of_window]
            ]
            tiles = list(plan.tiles(range(shard.start, shard.stop)))
            ids = [tile.id for tile in tiles]
            if listed is not None:
                ids = row_ids(plan, shard, listed)[of_window]
            by_id = dict(zip(ids, (tile.centre.bounds for tile in tiles), strict=True))
            # Rows of other windows are not among them.
            marked["failed"] += [by_id[row] for row in marker.failed_tiles if row in by_id]
            marked["empty"] += [by_id[row] for row in marker.empty_tiles if row in by_id]
        pictures.append(
            ZonePicture(
                epsg=zone.epsg,
                tiles=zone.tiles,
                bounds=zone.bounds,
                embeddings=source.image(zone, colours, time),
                truecolour=(
                    None if truecolour is None else _true_colours(plan, zone, truecolour, time)
                ),
                observations=observations,
                failed=tuple(marked["failed"]),
                empty=tuple(marked["empty"]),
                window="" if listed is None or time is None else days(listed.spans[time]),
            )
        )
    return pictures, colours


class _Pooled:
    """Embeddings from the pooled files: one pixel per tile."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._plan = plan
        self.vectors = VectorReader(run).read

    def image(self, zone: _Zone, colours: Colours | None, time: int | None) -> Image:
        """Return the zone in colours, (rows, columns, 4)."""
        image = np.zeros((zone.rows, zone.cols, 4), dtype=np.uint8)
        for shard in zone.shards if colours else ():
            assert colours is not None
            values = self.vectors(shard, time)
            valid = np.isfinite(values).all(axis=1)
            rows, cols = zone.place(self._plan, shard)
            image[rows[valid], cols[valid], :3] = colours(values[valid])
            image[rows[valid], cols[valid], 3] = 255
        return image


class _Grid:
    """Embeddings from the grid store: one pixel per cell, or per few cells of a large run."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._maps = MapReader(run, plan)

    def vectors(self, shard: Shard, time: int | None) -> npt.NDArray[np.float32]:
        """Return (cells, D) of every third cell a side, NaN where there is none."""
        arrays = self._maps.open(shard.epsg)
        top, bottom, left, right = window(arrays[0], shard.square.bounds)
        rows, cols = slice(top, bottom, 3), slice(left, right, 3)
        values = self._maps.read(shard, arrays, rows, cols, time)
        return values.reshape(-1, values.shape[-1])

    def image(self, zone: _Zone, colours: Colours | None, time: int | None) -> Image:
        """Return the zone in colours, (h, w, 4), at most `MAX_SIDE` a side."""
        arrays = self._maps.open(zone.epsg)
        top, bottom, left, right = window(arrays[0], zone.bounds)
        step = -(-max(bottom - top, right - left) // MAX_SIDE)
        rows, cols = (np.arange(a + step // 2, b, step) for a, b in ((top, bottom), (left, right)))
        image = np.zeros((len(rows), len(cols), 4), dtype=np.uint8)
        for shard in zone.shards if colours else ():
            assert colours is not None
            a, b, c, d = window(arrays[0], shard.square.bounds)
            r = slice(*np.searchsorted(rows, (a, b)).tolist())
            s = slice(*np.searchsorted(cols, (c, d)).tolist())
            if r.start == r.stop or s.start == s.stop:
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


def _source(run: RunDirectory, plan: Plan) -> _Grid | _Pooled:
    pooled, grid = run.pooled.exists(), run.grid.exists()
    if grid and pooled:
        # One file per shard, all about as large as the first.
        first = Marker.read(run.marker_of(plan.shards[0]))
        size = 0
        if first is not None:
            size = sum(o.size for name, o in first.outputs.items() if name.startswith("grid.zarr"))
        grid = size * len(plan.shards) <= _MAX_GRID_BYTES
    return _Grid(run, plan) if grid else _Pooled(run, plan)


def _fit(source: _Grid | _Pooled, plan: Plan, times: Sequence[int | None]) -> Colours | None:
    """Fit the colours to embeddings of some windows, from shards spread evenly over all zones."""
    count = min(_SAMPLE_SHARDS, len(plan.shards))
    chosen = np.linspace(0, len(plan.shards) - 1, count).round().astype(int)
    share = -(-_SAMPLE // (count * len(times)))

    def samples() -> Iterator[npt.NDArray[np.float32]]:
        for k, time in product(chosen.tolist(), times):
            values = source.vectors(plan.shards[k], time)
            values = values[np.isfinite(values).all(axis=1)]
            yield values[:: max(1, -(-len(values) // share))]

    sample = np.concatenate(list(samples()))
    return Colours.fit(sample) if len(sample) else None


def _true_colours(
    plan: Plan, zone: _Zone, truecolour: TrueColour, time: int | None
) -> Image | None:
    """Ask for a zone's pixels; those outside the plan's tiles become transparent."""
    per_tile = max(1, min(zone.lattice.step, MAX_SIDE // max(zone.rows, zone.cols)))
    shape = (zone.rows * per_tile, zone.cols * per_tile)
    window = () if time is None else (time,)
    pixels = truecolour(zone.epsg, zone.bounds, shape, *window)
    if pixels is None:
        return None
    planned = np.zeros((zone.rows, zone.cols), dtype=np.uint8)
    for shard in zone.shards:
        planned[zone.place(plan, shard)] = 255
    alpha = planned.repeat(per_tile, axis=0).repeat(per_tile, axis=1)
    return np.dstack([pixels, alpha])
