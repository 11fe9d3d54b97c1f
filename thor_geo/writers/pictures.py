"""The rasters of a quicklook, read shard by shard so that any run fits in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.grid import Bounds
from thor_geo.plan import Plan, Shard, Shards
from thor_geo.writers.markers import Marker
from thor_geo.writers.opening import TrueColour
from thor_geo.writers.pca import Colours
from thor_geo.writers.reading import MapReader, VectorReader, window
from thor_geo.writers.rundir import RunDirectory

#: Longest side of a raster in pixels.
MAX_SIDE = 2000
#: Zones that are drawn, those with most tiles, as long as they have no more shards together: each
#: costs two files to read, and a picture of 2000 pixels would not show more.
MAX_ZONES, MAX_SHARDS = 4, 4096
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


def read_pictures(
    run: RunDirectory, plan: Plan, truecolour: TrueColour | None = None
) -> tuple[list[ZonePicture], Colours | None]:
    """Read a finished run as pictures.

    Args:
        run: The run directory.
        plan: Its plan.
        truecolour: Source of pixels, or None.

    Returns:
        One picture for each of `drawn_zones`, in the plan's order, and the colours; None if no
        tile has an embedding.
    """
    source = _source(run, plan)
    colours = _fit(source, plan)
    pictures = []
    for index in drawn_zones(plan):
        zone = _Zone(plan, index)
        observations = np.full((zone.rows, zone.cols), np.nan, dtype=np.float32)
        marked: dict[str, list[Bounds]] = {"failed": [], "empty": []}
        for shard in zone.shards:
            marker = Marker.read(run.marker_of(shard))
            if marker is None:
                continue
            rows, cols = zone.place(plan, shard)
            observations[rows, cols] = [
                np.nan if mean is None else mean for mean in marker.observations_mean
            ]
            tiles = plan.tiles(range(shard.start, shard.stop))
            by_id = {tile.id: tile.centre.bounds for tile in tiles}
            marked["failed"] += [by_id[tile] for tile in marker.failed_tiles]
            marked["empty"] += [by_id[tile] for tile in marker.empty_tiles]
        pictures.append(
            ZonePicture(
                epsg=zone.epsg,
                tiles=zone.tiles,
                bounds=zone.bounds,
                embeddings=source.image(zone, colours),
                truecolour=None if truecolour is None else _true_colours(plan, zone, truecolour),
                observations=observations,
                failed=tuple(marked["failed"]),
                empty=tuple(marked["empty"]),
            )
        )
    return pictures, colours


class _Pooled:
    """Embeddings from the pooled files: one pixel per tile."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._plan = plan
        self.vectors = VectorReader(run).read

    def image(self, zone: _Zone, colours: Colours | None) -> Image:
        """Return the zone in colours, (rows, columns, 4)."""
        image = np.zeros((zone.rows, zone.cols, 4), dtype=np.uint8)
        for shard in zone.shards if colours else ():
            assert colours is not None
            values = self.vectors(shard)
            valid = np.isfinite(values).all(axis=1)
            rows, cols = zone.place(self._plan, shard)
            image[rows[valid], cols[valid], :3] = colours(values[valid])
            image[rows[valid], cols[valid], 3] = 255
        return image


class _Grid:
    """Embeddings from the grid store: one pixel per cell, or per few cells of a large run."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._maps = MapReader(run, plan)

    def vectors(self, shard: Shard) -> npt.NDArray[np.float32]:
        """Return (cells, D) of every third cell a side, NaN where there is none."""
        arrays = self._maps.open(shard.epsg)
        top, bottom, left, right = window(arrays[0], shard.square.bounds)
        values = self._maps.read(shard, arrays, slice(top, bottom, 3), slice(left, right, 3))
        return values.reshape(-1, values.shape[-1])

    def image(self, zone: _Zone, colours: Colours | None) -> Image:
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


def _fit(source: _Grid | _Pooled, plan: Plan) -> Colours | None:
    """Fit the colours to embeddings from shards spread evenly over all zones."""
    count = min(_SAMPLE_SHARDS, len(plan.shards))
    chosen = np.linspace(0, len(plan.shards) - 1, count).round().astype(int)
    share = -(-_SAMPLE // count)

    def samples() -> Iterator[npt.NDArray[np.float32]]:
        for k in chosen.tolist():
            values = source.vectors(plan.shards[k])
            values = values[np.isfinite(values).all(axis=1)]
            yield values[:: max(1, -(-len(values) // share))]

    sample = np.concatenate(list(samples()))
    return Colours.fit(sample) if len(sample) else None


def _true_colours(plan: Plan, zone: _Zone, truecolour: TrueColour) -> Image | None:
    """Ask for a zone's pixels; those outside the plan's tiles become transparent."""
    per_tile = max(1, min(zone.lattice.step, MAX_SIDE // max(zone.rows, zone.cols)))
    shape = (zone.rows * per_tile, zone.cols * per_tile)
    pixels = truecolour(zone.epsg, zone.bounds, shape)
    if pixels is None:
        return None
    planned = np.zeros((zone.rows, zone.cols), dtype=np.uint8)
    for shard in zone.shards:
        planned[zone.place(plan, shard)] = 255
    alpha = planned.repeat(per_tile, axis=0).repeat(per_tile, axis=1)
    return np.dstack([pixels, alpha])
