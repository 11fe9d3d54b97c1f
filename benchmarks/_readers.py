"""The ways to read a square of tiles that benchmarks/reading.py compares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GridGeoSampler

from benchmarks._pixels import BANDS, BLOCK, RESOLUTION, TILE, Cached, block_at, square
from thor_geo.composites import _tiff, store
from thor_geo.datasets import collate

BATCH = 32
OURS, GEO, RASTERIO = "CompositeDataset, GridGeoSampler", "RasterDataset, ", "rasterio, "

Tile = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def forget() -> None:
    """Make this process meet every block for the first time again."""
    store._known.clear()
    _tiff._layout.cache_clear()


class Readers:
    """The ways to read a square of tiles; each makes its datasets anew for every turn."""

    def __init__(self, given: Cached, folder: Path) -> None:
        self.given = given
        self.raw = folder / "blocks.npy"
        across = given.planes.shape[1] // BLOCK
        blocks = given.planes.reshape(len(BANDS) + 1, across, BLOCK, across, BLOCK)
        np.save(self.raw, blocks.transpose(1, 3, 0, 2, 4).reshape(-1, len(BANDS) + 1, BLOCK, BLOCK))
        self.windows = [
            (block, Window(col, row, TILE, TILE))
            for block in range(len(given.files))
            for row in range(0, BLOCK, TILE)
            for col in range(0, BLOCK, TILE)
        ]

    def by_query(self) -> Iterator[dict[str, Any]]:
        """Yield samples of the dataset, as TorchGeo asks for them."""
        composites = self.given.composites()
        for query in GridGeoSampler(composites, size=TILE):
            yield composites[query]

    def by_index(self) -> Iterator[dict[str, Any]]:
        """Yield samples of the plan, one by one."""
        tiles = self.given.tiles()
        for index in range(len(tiles)):
            yield tiles[index]

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yield batches of the plan, as a DataLoader makes them."""
        tiles = self.given.tiles()
        for first in range(0, len(tiles), BATCH):
            indices = range(first, min(first + BATCH, len(tiles)))
            yield collate(tiles.__getitems__(indices))

    def for_the_first_time(self) -> Iterator[dict[str, Any]]:
        """Yield samples of blocks whose checksum this process has not seen."""
        forget()
        yield from self.by_index()

    def raster_dataset(self, *files: Path) -> Iterator[dict[str, Any]]:
        """Yield samples of TorchGeo's own dataset."""
        dataset = RasterDataset(paths=[str(file) for file in files])
        for query in GridGeoSampler(dataset, size=TILE):
            yield dataset[query]

    def rasterio_blocks(self) -> Iterator[Any]:
        """Yield arrays of all planes, from the blocks' files."""
        files = [rasterio.open(file) for file in self.given.files]
        for block, window in self.windows:
            yield files[block].read(window=window)
        for file in files:
            file.close()

    def rasterio_mosaic(self) -> Iterator[Any]:
        """Yield arrays of all planes, from one file."""
        side = self.given.planes.shape[1]
        with rasterio.open(self.given.mosaic) as file:
            for row in range(0, side, TILE):
                for col in range(0, side, TILE):
                    yield file.read(window=Window(col, row, TILE, TILE))

    def memmap(self) -> Iterator[Any]:
        """Yield arrays of all planes, from bare pixels."""
        blocks = np.load(self.raw, mmap_mode="r")
        for block, window in self.windows:
            rows, cols = window.toslices()
            yield np.array(blocks[block, :, rows, cols])

    def checksums(self) -> Iterator[Any]:
        """Yield what verifying the blocks takes."""
        for path in self.given.files:
            with path.open("rb") as file:
                yield hashlib.file_digest(file, "sha256").digest()

    def all(self) -> dict[str, Callable[[], Iterator[Any]]]:
        """Return what is timed, by name."""
        return {
            OURS: self.by_query,
            "PlanDataset": self.by_index,
            f"PlanDataset, batches of {BATCH}, collated": self.batches,
            "PlanDataset, blocks met for the first time": self.for_the_first_time,
            "floor of that: sha256 of the blocks": self.checksums,
            GEO + "one file": lambda: self.raster_dataset(self.given.mosaic),
            GEO + "the blocks' files": lambda: self.raster_dataset(*self.given.files),
            RASTERIO + "the blocks' files": self.rasterio_blocks,
            RASTERIO + "one file": self.rasterio_mosaic,
            "NumPy memmap, copied": self.memmap,
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
    planes = readers.given.planes
    left, _, _, top = square(planes)
    corners = [
        (left + col * RESOLUTION, top - row * RESOLUTION)
        for row in range(0, planes.shape[1], TILE)
        for col in range(0, planes.shape[2], TILE)
    ]
    compared = 0
    for name, found in _placed(readers).items():
        seen = set()
        for (x, y), (image, counts) in found:
            row, col = round((top - y) / RESOLUTION), round((x - left) / RESOLUTION)
            there = planes[:, row : row + TILE, col : col + TILE]
            expected = _parts(there[:-1], there[-1])
            if not (np.array_equal(image, expected[0]) and np.array_equal(counts, expected[1])):
                raise RuntimeError(f"{name}: the tile at {x}, {y} has other pixels")
            seen.add((x, y))
            compared += 1
        if seen != set(corners):
            raise RuntimeError(f"{name}: {len(seen)} of {len(corners)} tiles")
    return compared


def _placed(readers: Readers) -> dict[str, Iterator[tuple[tuple[float, float], Tile]]]:
    """Return the tiles of every reader with their upper-left corners."""
    given = readers.given
    left, _, _, top = square(given.planes)
    across = given.planes.shape[1] // BLOCK

    def ours(samples: Iterator[dict[str, Any]]) -> Iterator[Any]:
        for sample in samples:
            yield _corner(sample), _parts(sample["image"], sample["observations"][0])

    def theirs(samples: Iterator[dict[str, Any]]) -> Iterator[Any]:
        for sample in samples:
            yield _corner(sample), _parts(sample["image"][:-1], sample["image"][-1])

    def of_blocks(tiles: Iterator[Any]) -> Iterator[Any]:
        for (block, window), tile in zip(readers.windows, tiles, strict=True):
            x, _, _, y = block_at(block % across, block // across).bounds
            corner = (x + window.col_off * RESOLUTION, y - window.row_off * RESOLUTION)
            yield corner, _parts(tile[:-1], tile[-1])

    def of_mosaic(tiles: Iterator[Any]) -> Iterator[Any]:
        for number, tile in enumerate(tiles):
            row, col = divmod(number, given.planes.shape[2] // TILE)
            corner = (left + col * TILE * RESOLUTION, top - row * TILE * RESOLUTION)
            yield corner, _parts(tile[:-1], tile[-1])

    def of_batches(batches: Iterator[dict[str, Any]]) -> Iterator[Any]:
        for batch in batches:
            keys = ("bounds", "image", "observations")
            for bounds, image, counts in zip(*(batch[key] for key in keys), strict=True):
                yield _corner({"bounds": bounds}), _parts(image, counts[0])

    return {
        OURS: ours(readers.by_query()),
        "PlanDataset": ours(readers.by_index()),
        "batches": of_batches(readers.batches()),
        GEO + "one file": theirs(readers.raster_dataset(given.mosaic)),
        GEO + "the blocks' files": theirs(readers.raster_dataset(*given.files)),
        RASTERIO + "the blocks' files": of_blocks(readers.rasterio_blocks()),
        RASTERIO + "one file": of_mosaic(readers.rasterio_mosaic()),
        "memmap": of_blocks(readers.memmap()),
    }
