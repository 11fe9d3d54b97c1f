"""Runs of many cells: of a real encoder on generated scenes, and of made-up vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.support.commands import emulator, quickstart, thor_geo
from benchmarks.support.synthetic import square_plan, write_marker
from thor_geo.emulator import Acquisition, ensure_archive
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.markers import ShardFile
from thor_geo.storage.files import write_all

Vectors = npt.NDArray[np.float32]

# Real: cells of 40 m, from tiles of 144 px in patches of 4.
_CENTER, _ZONE, _CELL_M, _TILE, _PATCH = (9.0, 60.0), 32632, 40, 144, 4
_KM_PER_DEGREE = 111.2
_DATES = (("2022-06-05", 0.12), ("2022-07-20", 0.05), ("2022-08-24", 0.18))
#: Cells on a side of a tile of a made run: 288 px in patches of 16.
_CELLS = 18


def real_run(folder: Path, cells: int) -> Path:
    """Embed about so many cells of generated scenes with THOR tiny, random weights, in int8.

    Args:
        folder: For scenes, cache and run; what is there already is taken.
        cells: Number of cells.
    """
    if (folder / "complete").exists():
        return folder / "run"
    side = int(np.sqrt(cells)) * _CELL_M
    archive = ensure_archive(
        folder / "scenes",
        center=_CENTER,
        size_m=-(-(side + 6000) // 120) * 120,
        zones=(_ZONE,),
        acquisitions=[Acquisition(date=date, cloud_cover=cover) for date, cover in _DATES],
    )
    half = side / 2000 / _KM_PER_DEGREE
    wide = half / np.cos(np.radians(_CENTER[1]))
    bounds = [_CENTER[0] - wide, _CENTER[1] - half, _CENTER[0] + wide, _CENTER[1] + half]
    settings = {
        **emulator(archive),
        "model.patch_size": _PATCH,
        "data.cache_dir": folder / "cache",
        "data.area.bbox": [round(float(each), 5) for each in bounds],
        "data.tile_size": _TILE,
        "output.crop": "true",
        "output.dtype": "int8",
        "output.quicklook": "false",
        "output.dir": folder / "run",
    }
    thor_geo(*quickstart(settings))
    (folder / "complete").touch()
    return folder / "run"


class Mixture:
    """Vectors of many kinds: a tree of centres, each kind with a spread and directions of its own.

    40 centres have 600 below them, and these 20,000 kinds; some kinds are a thousand times as
    frequent as others, and the median spread is an eighth of the distance to the next kind. All
    lie around a common mean, as embeddings do.
    """

    def __init__(self, dimension: int, seed: int = 0) -> None:
        """Initialize a new Mixture instance.

        Args:
            dimension: Length of a vector.
            seed: Seed of the kinds.
        """
        self._random = random = np.random.default_rng(seed)
        scale = np.float32(1 / np.sqrt(dimension))
        self._scale = scale

        def normal(*shape: int) -> Vectors:
            return random.standard_normal((*shape, dimension), dtype=np.float32) * scale

        top, middle = normal(40), normal(600) * np.float32(0.6)
        middle += top[random.integers(0, 40, 600)]
        self._centres = normal(20_000) * np.float32(0.35)
        self._centres += middle[random.integers(0, 600, 20_000)] + normal(1) * np.float32(1.5)
        # 32 sets of 24 directions, each weaker than the one before.
        self._bases = normal(32, 24) * np.float32(0.9) ** np.arange(24, dtype=np.float32)[:, None]
        self._basis = random.integers(0, 32, 20_000)
        self._spread = np.exp(random.normal(-1.6, 0.6, 20_000)).astype(np.float32)
        frequency = random.permutation(np.arange(1, 20_001) ** -0.7)
        self._until = np.cumsum(frequency / frequency.sum())
        # Noise in all directions: a sum of two of these, of which no two are likely to be equal.
        self._noise = normal(8192) * np.float32(0.35 / np.sqrt(2))

    def draw(self, count: int) -> Vectors:
        """Return so many vectors, (count, D)."""
        random = self._random
        kind = np.minimum(np.searchsorted(self._until, random.random(count)), 19_999)
        spread = self._spread[kind][:, None]
        out = self._noise[random.integers(0, 8192, count)]
        out += self._noise[random.integers(0, 8192, count)]
        out *= spread
        out += self._centres[kind]
        along = random.standard_normal((count, 24), dtype=np.float32) * spread / 2
        for k in range(32):
            members = np.flatnonzero(self._basis[kind] == k)
            out[members] += along[members] @ self._bases[k]
        return out


def made_run(folder: Path, cells: int, dimension: int) -> Path:
    """Write a run of at least so many cells with made-up vectors, in int8.

    Args:
        folder: For the run; one that is there already is taken.
        cells: Number of cells.
        dimension: Length of a vector.
    """
    path = folder / "run"
    done = folder / "complete"
    if done.exists():
        return path
    # Where the zones overlap, a tile in ten lies twice, and its cells count once.
    plan = square_plan(round(1.1 * cells / _CELLS**2))
    run = RunDirectory(path)
    settings = {
        "data": {"start": "2022-06-01", "end": "2022-09-01", "source": "synthetic"},
        "model": {"dimension": dimension, "patch_size": 16, "ground_cover_m": 2880},
        "output": {"pooled": False, "grid": True, "dtype": "int8"},
    }
    run.prepare(settings, {"statistics": {"B2": [0.17, 0.26]}}, plan)
    store = GridStore(run.grid, plan, (dimension, _CELLS, _CELLS), dtype="int8")
    store.create(run.metadata)
    mixture = Mixture(dimension)
    shard_tiles = plan.lattices[0].shard_tiles
    for shard in plan.shards:
        side = shard_tiles * _CELLS
        values = np.full((dimension, side, side), np.nan, dtype=np.float32)
        drawn = mixture.draw(len(shard) * _CELLS**2).T
        places = _tiles(plan.row, plan.col, shard.start, shard.stop, shard_tiles)
        for k, (rows, cols) in enumerate(places):
            part = drawn[:, k * _CELLS**2 : (k + 1) * _CELLS**2]
            values[:, rows, cols] = part.reshape(dimension, _CELLS, _CELLS)
        contents = store.encode(shard, values)
        write_all(store.path, contents)
        outputs = {f"grid.zarr/{name}": ShardFile.of(each) for name, each in contents.items()}
        write_marker(run, shard, failed=[], outputs=outputs)
    done.touch()
    return path


def _tiles(
    row: npt.NDArray[np.int32], col: npt.NDArray[np.int32], start: int, stop: int, shard_tiles: int
) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of cells of a shard's tiles; a shard hangs from its upper edge."""
    for tile in range(start, stop):
        down = -(-int(row[tile]) // shard_tiles) * shard_tiles - int(row[tile])
        right = int(col[tile]) % shard_tiles
        yield (
            slice(down * _CELLS, (down + 1) * _CELLS),
            slice(right * _CELLS, (right + 1) * _CELLS),
        )
