"""The rasters of a quicklook, read shard by shard so that any run fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError, first_line
from thor_geo.grid import Bounds, zone_name
from thor_geo.plan import Plan, Shard, Shards
from thor_geo.specs import Windows
from thor_geo.writers.caption import days
from thor_geo.writers.grid import ARRAY, SCALE, file_of
from thor_geo.writers.layout import zone_grids
from thor_geo.writers.markers import Marker
from thor_geo.writers.opening import TrueColour
from thor_geo.writers.pca import Colours
from thor_geo.writers.pooled import row_ids
from thor_geo.writers.quantise import dequantise
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


@contextmanager
def _readable(run: RunDirectory, shard: Shard, path: Path) -> Iterator[Path]:
    """Give a shard's file to be read; an error then names it, and what to do."""
    try:
        yield path
    except MemoryError:  # which is no damage
        raise
    except Exception as error:  # of damaged bytes, zarr, numcodecs and pyarrow have no common one
        raise RunDirectoryError(
            f"`{path}` cannot be read ({first_line(error)}). Delete `{run.marker_of(shard)}`, then "
            "run the same `thor-geo predict` command, which makes the shard again; `thor-geo "
            f"validate {run.path}` looks for more of this."
        ) from error


class _Pooled:
    """Embeddings from the pooled files: one pixel per tile."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._run, self._plan = run, plan

    def vectors(self, shard: Shard, time: int | None = None) -> npt.NDArray[np.float32]:
        """Return (n, D), in a time window if there are several; NaN where a tile has none."""
        import pyarrow.parquet as pq

        # Only int8 has scales; a column that is not there is left out.
        with _readable(self._run, shard, self._run.pooled_of(shard)) as path:
            table = pq.ParquetFile(path).read(columns=["embedding", "scale"])
        column = table["embedding"].combine_chunks()
        out = np.full((len(column), column.type.list_size), np.nan, dtype=np.float32)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        out[valid] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, out.shape[1])
        if "scale" in table.column_names:
            out = dequantise(out, table["scale"].to_numpy()[:, None])
        return out if time is None else out[time :: len(out) // len(shard)]

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
        self._run, self._plan = run, plan
        # For the places of shards, which do not depend on how many cells a tile has.
        self._zones = zone_grids(plan, 1)

    def _open(self, epsg: int) -> tuple[Any, Any]:
        """Return the zone's embeddings and, of int8, their scales."""
        import zarr

        zone = zarr.open_group(str(self._run.grid), path=zone_name(epsg), mode="r")
        return zone[ARRAY], zone.get(SCALE)

    def _read(
        self, shard: Shard, arrays: tuple[Any, Any], time: int | None, rows: slice, cols: slice
    ) -> npt.NDArray[np.float32]:
        """Return the embeddings of a shard's cells, (rows, columns, D), NaN where it has none."""
        array, scales = arrays
        first = () if time is None else (time,)
        values: npt.NDArray[np.float32]
        with self._file(shard, ARRAY, time):
            values = array[*first, :, rows, cols].astype(np.float32)
        if scales is not None:
            cells = array.shape[-2] // scales.shape[-2]
            tiles = [np.arange(cut.start, cut.stop, cut.step) // cells for cut in (rows, cols)]
            spans = [slice(int(of[0]), int(of[-1]) + 1) for of in tiles]
            with self._file(shard, SCALE, time):
                scale = scales[*first, spans[0], spans[1]]
            values = dequantise(values, scale[np.ix_(*(of - of[0] for of in tiles))])
        return np.moveaxis(values, 0, -1)

    def _file(self, shard: Shard, name: str, time: int | None) -> AbstractContextManager[Path]:
        place = file_of(self._zones[shard.epsg], shard, name, time)
        return _readable(self._run, shard, self._run.grid / place)

    def _window(self, array: Any, bounds: Bounds) -> tuple[int, int, int, int]:
        """Return first row, end, first column, end of bounds in metres."""
        left, _, _, top = array.attrs["spatial:bbox"]
        cell = array.attrs["spatial:transform"][0]
        return (
            round((top - bounds[3]) / cell),
            round((top - bounds[1]) / cell),
            round((bounds[0] - left) / cell),
            round((bounds[2] - left) / cell),
        )

    def vectors(self, shard: Shard, time: int | None = None) -> npt.NDArray[np.float32]:
        """Return (cells, D) of every third cell a side, NaN where there is none."""
        arrays = self._open(shard.epsg)
        top, bottom, left, right = self._window(arrays[0], shard.square.bounds)
        values = self._read(shard, arrays, time, slice(top, bottom, 3), slice(left, right, 3))
        return values.reshape(-1, values.shape[-1])

    def image(self, zone: _Zone, colours: Colours | None, time: int | None) -> Image:
        """Return the zone in colours, (h, w, 4), at most `MAX_SIDE` a side."""
        arrays = self._open(zone.epsg)
        top, bottom, left, right = self._window(arrays[0], zone.bounds)
        step = -(-max(bottom - top, right - left) // MAX_SIDE)
        rows, cols = (np.arange(a + step // 2, b, step) for a, b in ((top, bottom), (left, right)))
        image = np.zeros((len(rows), len(cols), 4), dtype=np.uint8)
        for shard in zone.shards if colours else ():
            assert colours is not None
            a, b, c, d = self._window(arrays[0], shard.square.bounds)
            r = slice(*np.searchsorted(rows, (a, b)).tolist())
            s = slice(*np.searchsorted(cols, (c, d)).tolist())
            if r.start == r.stop or s.start == s.stop:
                continue
            values = self._read(
                shard,
                arrays,
                time,
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
