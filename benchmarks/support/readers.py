"""The ways to read a square of tiles that benchmarks/reading.py compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GridGeoSampler

from benchmarks.support.pixels import BLOCK, RESOLUTION, TILE, Cached, block_at, square
from thor_geo.datasets import collate

BATCH = 32
OURS, GEO, RASTERIO = "CompositeDataset, GridGeoSampler", "RasterDataset, ", "rasterio, "

Tile = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


class Readers:
    """The ways to read a square of tiles; each makes its datasets anew for every turn."""

    def __init__(self, cache: Cached) -> None:
        self.cache = cache
        self.windows = [
            (block, Window(col, row, TILE, TILE))
            for block in range(len(cache.files))
            for row in range(0, BLOCK, TILE)
            for col in range(0, BLOCK, TILE)
        ]

    def by_query(self) -> Iterator[dict[str, Any]]:
        """Yield samples of the dataset, as TorchGeo asks for them."""
        composites = self.cache.composites()
        for query in GridGeoSampler(composites, size=TILE):
            yield composites[query]

    def by_index(self) -> Iterator[dict[str, Any]]:
        """Yield samples of the plan, one by one."""
        tiles = self.cache.tiles()
        for index in range(len(tiles)):
            yield tiles[index]

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yield batches of the plan, as a DataLoader makes them."""
        tiles = self.cache.tiles()
        for first in range(0, len(tiles), BATCH):
            indices = range(first, min(first + BATCH, len(tiles)))
            yield collate(tiles.__getitems__(indices))

    def for_the_first_time(self) -> Iterator[dict[str, Any]]:
        """Yield samples of blocks whose checksum this process has not seen."""
        for file in (*self.cache.store.root.rglob("*.json"), *self.cache.files):
            file.touch()  # another state of the file: what was known of it no longer counts
        yield from self.by_index()

    def raster_dataset(self, *files: Path) -> Iterator[dict[str, Any]]:
        """Yield samples of TorchGeo's own dataset."""
        dataset = RasterDataset(paths=[str(file) for file in files])
        for query in GridGeoSampler(dataset, size=TILE):
            yield dataset[query]

    def rasterio_blocks(self) -> Iterator[Any]:
        """Yield arrays of all planes, from the blocks' files."""
        files = [rasterio.open(file) for file in self.cache.files]
        for block, window in self.windows:
            yield files[block].read(window=window)
        for file in files:
            file.close()

    def rasterio_mosaic(self) -> Iterator[Any]:
        """Yield arrays of all planes, from one file."""
        side = self.cache.planes.shape[1]
        with rasterio.open(self.cache.mosaic) as file:
            for row in range(0, side, TILE):
                for col in range(0, side, TILE):
                    yield file.read(window=Window(col, row, TILE, TILE))

    def all(self) -> dict[str, Callable[[], Iterator[Any]]]:
        """Return what is timed, by name."""
        return {
            OURS: self.by_query,
            "PlanDataset": self.by_index,
            f"PlanDataset, batches of {BATCH}, collated": self.batches,
            "PlanDataset, blocks met for the first time": self.for_the_first_time,
            GEO + "one file": lambda: self.raster_dataset(self.cache.mosaic),
            GEO + "the blocks' files": lambda: self.raster_dataset(*self.cache.files),
            RASTERIO + "the blocks' files": self.rasterio_blocks,
            RASTERIO + "one file": self.rasterio_mosaic,
        }


def _corner(sample: Mapping[str, Any]) -> tuple[float, float]:
    x, y, *_ = sample["bounds"]
    return float(x.start), float(y.stop)


def _parts(image: Any, counts: Any) -> Tile:
    return np.minimum(np.asarray(image), 10_000), np.minimum(np.asarray(counts), 255)


def check(readers: Readers) -> int:
    """Compare every tile that every reader yields with the pixels that were written.

    Returns:
        The number of tiles compared.

    Raises:
        RuntimeError: If one differs, or a reader does not yield every tile once.
    """
    planes = readers.cache.planes
    left, _, _, top = square(planes)
    corners = [
        (left + col * RESOLUTION, top - row * RESOLUTION)
        for row in range(0, planes.shape[1], TILE)
        for col in range(0, planes.shape[2], TILE)
    ]
    compared = 0
    for name, placed in _placed(readers).items():
        seen = set()
        for (x, y), (image, counts) in placed:
            row, col = round((top - y) / RESOLUTION), round((x - left) / RESOLUTION)
            pixels = planes[:, row : row + TILE, col : col + TILE]
            expected = _parts(pixels[:-1], pixels[-1])
            if not (np.array_equal(image, expected[0]) and np.array_equal(counts, expected[1])):
                raise RuntimeError(f"{name}: the tile at {x}, {y} has other pixels")
            seen.add((x, y))
            compared += 1
        if seen != set(corners):
            raise RuntimeError(f"{name}: {len(seen)} of {len(corners)} tiles")
    return compared


def _placed(readers: Readers) -> dict[str, Iterator[tuple[tuple[float, float], Tile]]]:
    """Return the tiles of every reader with their upper-left corners."""
    cache = readers.cache
    left, _, _, top = square(cache.planes)
    across = cache.planes.shape[1] // BLOCK

    def ours(samples: Iterator[dict[str, Any]]) -> Iterator[Any]:
        for sample in samples:
            yield _corner(sample), _parts(sample["image"], sample["observations"][0])

    def theirs(samples: Iterator[dict[str, Any]]) -> Iterator[Any]:
        for sample in samples:
            yield _corner(sample), _parts(sample["image"][:-1], sample["image"][-1])

    def blocks(tiles: Iterator[Any]) -> Iterator[Any]:
        for (block, window), tile in zip(readers.windows, tiles, strict=True):
            x, _, _, y = block_at(block % across, block // across).bounds
            corner = (x + window.col_off * RESOLUTION, y - window.row_off * RESOLUTION)
            yield corner, _parts(tile[:-1], tile[-1])

    def mosaic(tiles: Iterator[Any]) -> Iterator[Any]:
        for number, tile in enumerate(tiles):
            row, col = divmod(number, cache.planes.shape[2] // TILE)
            corner = (left + col * TILE * RESOLUTION, top - row * TILE * RESOLUTION)
            yield corner, _parts(tile[:-1], tile[-1])

    def batches(batches: Iterator[dict[str, Any]]) -> Iterator[Any]:
        for batch in batches:
            keys = ("bounds", "image", "observations")
            for bounds, image, counts in zip(*(batch[key] for key in keys), strict=True):
                yield _corner({"bounds": bounds}), _parts(image, counts[0])

    return {
        OURS: ours(readers.by_query()),
        "PlanDataset": ours(readers.by_index()),
        "batches": batches(readers.batches()),
        GEO + "one file": theirs(readers.raster_dataset(cache.mosaic)),
        GEO + "the blocks' files": theirs(readers.raster_dataset(*cache.files)),
        RASTERIO + "the blocks' files": blocks(readers.rasterio_blocks()),
        RASTERIO + "one file": mosaic(readers.rasterio_mosaic()),
    }
