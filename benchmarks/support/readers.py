"""The ways to read tiles that benchmarks/reading.py compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GridGeoSampler

from benchmarks.support.ground import BANDS, EPSG, RESOLUTION, TILE, Ground, Planes, write_tif
from thor_geo.composites import StoredBlock
from thor_geo.datasets import CompositeDataset, PlanDataset, collate
from thor_geo.errors import BlockError
from thor_geo.ground.lattice import Block

BATCH = 32
OURS, GEO, RASTERIO = "CompositeDataset, GridGeoSampler", "RasterDataset, ", "rasterio, "

Tile = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
Corner = tuple[float, float]


class Readers:
    """The ways to read a square of tiles; each makes its datasets anew for every turn.

    Attributes:
        planes: Bands and observations of the whole square, (11, side, side), uint16.
        files: The blocks' files, row by row.
        mosaic: One GeoTIFF of all pixels, packed like the blocks.
    """

    def __init__(self, ground: Ground, planes: Planes | None = None) -> None:
        """Fill the cache and write the mosaic.

        Args:
            ground: The square, with an empty cache.
            planes: As for `Ground.fill`.
        """
        self.ground = ground
        self.files = ground.fill(planes)
        self.windows = [
            (block, Window(col, row, TILE, TILE))
            for block in range(len(self.files))
            for row in range(0, ground.block_size, TILE)
            for col in range(0, ground.block_size, TILE)
        ]
        self.planes = np.empty((len(BANDS) + 1, *ground.size), np.uint16)
        for path, corner in zip(self.files, self.corners(ground.block_size), strict=True):
            with rasterio.open(path) as file:
                self.pixels(corner, ground.block_size)[:] = file.read()
                options = {key: file.profile[key] for key in ("blockxsize", "blockysize", "tiled")}
                if ground.compression == "zstd":
                    predictor = file.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR", "1")
                    options |= {"compress": "zstd", "zstd_level": 1, "predictor": predictor}
        left, _, _, top = ground.bounds
        self.mosaic = ground.folder / "mosaic.tif"
        transform = (RESOLUTION, 0, left, 0, -RESOLUTION, top)
        write_tif(self.mosaic, self.planes, transform, **options)

    def corners(self, side: int) -> list[Corner]:
        """Return the upper left corners of squares of so many pixels, row by row, in metres."""
        left, _, _, top = self.ground.bounds
        rows, cols = self.ground.size
        return [
            (left + col * RESOLUTION, top - row * RESOLUTION)
            for row in range(0, rows, side)
            for col in range(0, cols, side)
        ]

    def pixels(self, corner: Corner, side: int) -> Planes:
        """Return the planes of a square of so many pixels."""
        left, _, _, top = self.ground.bounds
        col, row = round((corner[0] - left) / RESOLUTION), round((top - corner[1]) / RESOLUTION)
        return self.planes[:, row : row + side, col : col + side]

    def get(self, block: Block) -> StoredBlock:
        """Return a block; raise BlockError if the cache does not hold it: nothing is fetched."""
        stored = self.ground.store.get(block)
        if stored is None:
            raise BlockError(f"{block.id} is not in the benchmark's cache")
        return stored

    def composites(self) -> CompositeDataset:
        """Return the dataset of the square."""
        return CompositeDataset(
            self,
            shapely.box(*self.ground.bounds),
            lattice=self.ground.plan.lattices[0],
            sensor=self.ground.store.sensor,
            window=self.ground.store.window,
            block_size=self.ground.block_size,
        )

    def tiles(self) -> PlanDataset:
        """Return the dataset of the plan."""
        return PlanDataset(self.ground.plan, {EPSG: self.composites()}, channels=len(BANDS))

    def by_query(self) -> Iterator[dict[str, Any]]:
        """Yield samples of the dataset, as TorchGeo asks for them."""
        composites = self.composites()
        for query in GridGeoSampler(composites, size=TILE):
            yield composites[query]

    def by_index(self) -> Iterator[dict[str, Any]]:
        """Yield samples of the plan, one by one."""
        tiles = self.tiles()
        for index in range(len(tiles)):
            yield tiles[index]

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yield batches of the plan, as a DataLoader makes them."""
        tiles = self.tiles()
        for first in range(0, len(tiles), BATCH):
            indices = range(first, min(first + BATCH, len(tiles)))
            yield collate(tiles.__getitems__(indices))

    def for_the_first_time(self) -> Iterator[dict[str, Any]]:
        """Yield samples of blocks whose checksum this process has not seen."""
        for file in (*self.ground.store.root.rglob("*.json"), *self.files):
            file.touch()  # another state of the file: what was known of it no longer counts
        yield from self.by_index()

    def raster_dataset(self, *files: Path) -> Iterator[dict[str, Any]]:
        """Yield samples of TorchGeo's own dataset."""
        dataset = RasterDataset(paths=[str(file) for file in files])
        for query in GridGeoSampler(dataset, size=TILE):
            yield dataset[query]

    def rasterio_blocks(self) -> Iterator[Any]:
        """Yield arrays of all planes, from the blocks' files."""
        files = [rasterio.open(file) for file in self.files]
        for block, window in self.windows:
            yield files[block].read(window=window)
        for file in files:
            file.close()

    def rasterio_mosaic(self) -> Iterator[Any]:
        """Yield arrays of all planes, from one file."""
        rows, cols = self.ground.size
        with rasterio.open(self.mosaic) as file:
            for row in range(0, rows, TILE):
                for col in range(0, cols, TILE):
                    yield file.read(window=Window(col, row, TILE, TILE))

    def all(self) -> dict[str, Callable[[], Iterator[Any]]]:
        """Return what is timed, by name."""
        return {
            OURS: self.by_query,
            "PlanDataset": self.by_index,
            f"PlanDataset, batches of {BATCH}, collated": self.batches,
            "PlanDataset, blocks met for the first time": self.for_the_first_time,
            GEO + "one file": lambda: self.raster_dataset(self.mosaic),
            GEO + "the blocks' files": lambda: self.raster_dataset(*self.files),
            RASTERIO + "the blocks' files": self.rasterio_blocks,
            RASTERIO + "one file": self.rasterio_mosaic,
        }


def check(readers: Readers) -> int:
    """Compare every tile that every reader yields with the pixels that were written.

    Returns:
        The number of tiles compared.

    Raises:
        RuntimeError: If one differs, or a reader does not yield every tile once.
    """
    corners = readers.corners(TILE)
    compared = 0
    for name, make in readers.all().items():
        seen = set()
        for corner, (image, counts) in _placed(readers, name, make()):
            pixels = readers.pixels(corner, TILE)
            expected = _clamped(pixels[:-1], pixels[-1])
            if not (np.array_equal(image, expected[0]) and np.array_equal(counts, expected[1])):
                raise RuntimeError(f"{name}: the tile at {corner} has other pixels")
            seen.add(corner)
            compared += 1
        if seen != set(corners):
            raise RuntimeError(f"{name}: {len(seen)} of {len(corners)} tiles")
    return compared


def _placed(readers: Readers, name: str, items: Iterator[Any]) -> Iterator[tuple[Corner, Tile]]:
    """Yield what a reader yields as tiles with their upper left corners."""
    blocks = readers.corners(readers.ground.block_size)
    for number, item in enumerate(items):
        if name == RASTERIO + "the blocks' files":
            block, window = readers.windows[number]
            x, y = blocks[block]
            corner = (x + window.col_off * RESOLUTION, y - window.row_off * RESOLUTION)
            yield corner, _clamped(item[:-1], item[-1])
        elif name.startswith(RASTERIO):
            yield readers.corners(TILE)[number], _clamped(item[:-1], item[-1])
        elif name.startswith(GEO):
            yield _corner(item), _clamped(item["image"][:-1], item["image"][-1])
        elif "batches" in name:
            for k, transform in enumerate(item["transform"]):
                tile = _clamped(item["image"][k], item["observations"][k][0])
                yield _corner({"transform": transform}), tile
        else:
            yield _corner(item), _clamped(item["image"], item["observations"][0])


def _corner(sample: Mapping[str, Any]) -> Corner:
    if "transform" in sample:
        return float(sample["transform"][2]), float(sample["transform"][5])
    x, y, *_ = sample["bounds"]  # a RasterDataset of torchgeo 0.8
    return float(x.start), float(y.stop)


def _clamped(image: Any, counts: Any) -> Tile:
    return np.minimum(np.asarray(image), 10_000), np.minimum(np.asarray(counts), 255)
