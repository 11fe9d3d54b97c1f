"""Pixels to measure with: a warm cache of composites, and the same tiles as chips or one file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio

from benchmarks.support.commands import box, emulator
from benchmarks.support.emulated import write_scenes
from thor_geo.composites import BlockStore
from thor_geo.composites.stored import Pinned
from thor_geo.emulator import Archive
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Block, Bounds, Lattice, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import Scene
from thor_geo.sources.policy import FetchStats
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.bands import S2_DEFAULT_BANDS

EPSG, TILE, RESOLUTION = 32632, 288, 10
BANDS = S2_DEFAULT_BANDS
START, END = "2022-06-01", "2022-09-01"

# Upper left corner of the area in pixels: on the lattice of shards, in the middle of the zone.
_LEFT, _TOP = 22 * 8 * TILE, 260 * 8 * TILE

#: As many clear scenes as a summer has over a place.
SCENES = tuple(
    Scene(
        index=f"202206{1 + k:02d}T103629_202206{1 + k:02d}T104000_T32VNM",
        time_start=f"2022-06-{1 + k:02d}T10:36:29.000Z",
        mgrs_tile="32VNM",
        processing_baseline="04.00",
        cloudy_pct=1.5 * k,
    )
    for k in range(12)
)

Planes = npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Whole shards of tiles, all of whose blocks are in the cache.

    Attributes:
        folder: Holds the cache and an archive that no request ever needs.
        across: Shards in a row.
        down: Rows of shards.
        block_size: Side of a block in pixels.
        shard_tiles: Side of a shard in tiles, at most 8.
        compression: Packing of the blocks.
    """

    folder: Path
    across: int
    down: int
    block_size: int = 576
    shard_tiles: int = 8
    compression: Literal["zstd", "none"] = "zstd"

    @property
    def corner(self) -> tuple[int, int]:
        """Column and row of the upper left corner in pixels."""
        return _LEFT, _TOP

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns in pixels."""
        side = TILE * self.shard_tiles
        return self.down * side, self.across * side

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in metres of zone 32."""
        rows, cols = self.size
        return 10.0 * _LEFT, 10.0 * (_TOP - rows), 10.0 * (_LEFT + cols), 10.0 * _TOP

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.across * self.down * self.shard_tiles**2

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """The bounds, a little inside the shards' edges."""
        left, bottom, right, top = self.bounds
        return left + 100, bottom + 100, right - 100, top - 100

    def part(self, across: int, down: int) -> Ground:
        """Return the upper left part, of fewer shards, in the same cache."""
        return replace(self, across=across, down=down)

    @cached_property
    def plan(self) -> Plan:
        """The tiles, as the command plans them."""
        area = AreaSpec(bbox=self.bbox, crs=f"EPSG:{EPSG}").load()
        plan = Plan.from_area(
            area, Lattice(epsg=EPSG, tile_size=TILE, shard_tiles=self.shard_tiles)
        )
        assert len(plan) == self.tiles, f"{len(plan)} tiles instead of {self.tiles}"
        return plan

    def settings(self) -> dict[str, object]:
        """Return the command's settings of the data."""
        return {
            **box(self.bbox, EPSG),
            **emulator(self.folder / "archive"),
            "data.cache_dir": self.folder / "cache",
            "data.start": START,
            "data.end": END,
            "data.tile_size": TILE,
            "data.block_size": self.block_size,
            "data.shard_tiles": self.shard_tiles,
        }

    @cached_property
    def store(self) -> BlockStore:
        """The cache of the command's recipe."""
        return BlockStore(
            self.folder / "cache",
            sensor=SensorSpec(bands=BANDS),
            window=TemporalSpec.range(START, END),
            catalogue=f"emulator-{Archive.open(self.folder / 'archive').fingerprint()}",
            compression=self.compression,
        )

    def blocks(self) -> list[Block]:
        """Return all blocks, row by row."""
        rows, cols = self.size
        side = self.block_size
        return [
            Block(epsg=EPSG, size=side, resolution=RESOLUTION, left=_LEFT + x, top=_TOP - y)
            for y in range(0, rows, side)
            for x in range(0, cols, side)
        ]

    def fill(self, planes: Planes | None = None) -> list[Path]:
        """Put every block into the cache, shifted so that no two are alike; return their files.

        Args:
            planes: Bands and observations of a block, (bands + 1, side, side); by default smooth
                ground with noise, which packs like real pixels, and 3 to 11 observations.
        """
        write_scenes(self.folder / "archive", side=64, bands=BANDS, scenes=1)
        self.store.prepare()
        planes = smooth(self.block_size) if planes is None else planes
        files = []
        for number, block in enumerate(self.blocks()):
            key = hashlib.sha256(block.id.encode()).hexdigest()
            pinned = self.store.pin(block, Pinned(scenes=SCENES, block_key=key))
            shifted = np.roll(planes, (37 * number, 61 * number), axis=(1, 2))
            stored = self.store.put(block, pinned, shifted, FetchStats())
            assert stored.path is not None
            files.append(stored.path)
        return files

    def images(self) -> list[npt.NDArray[np.int16]]:
        """Return every tile's pixels (bands, rows, columns), in plan order, as datasets do."""
        images = []
        for tile in self.plan.tiles(range(self.tiles)):
            image = np.zeros((len(BANDS), TILE, TILE), dtype=np.uint16)
            counts = np.zeros((TILE, TILE), np.uint8)
            for block in blocks_meeting(tile, self.block_size):
                stored, shared = self.store.get(block), tile.overlap(block)
                assert stored is not None
                assert shared is not None
                (rows, cols), window = shared
                stored.read_into(image[:, rows, cols], counts[rows, cols], *window)
            images.append(np.clip(image, 0, 10_000).astype(np.int16))
        return images

    def write_chips(self, folder: Path) -> None:
        """Write every tile as a GeoTIFF of its own, named by its id: uncompressed, uint16."""
        folder.mkdir(parents=True)
        tiles = self.plan.tiles(range(self.tiles))
        for tile, image in zip(tiles, self.images(), strict=True):
            write_tif(folder / f"{tile.id}.tif", image.astype(np.uint16), tile.transform)


def write_tif(path: Path, image: Planes, transform: Sequence[float], **options: Any) -> None:
    """Write (bands, rows, columns) as a GeoTIFF in zone 32, one band after another."""
    profile = {
        "driver": "GTiff",
        "count": image.shape[0],
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": "uint16",
        "crs": f"EPSG:{EPSG}",
        "transform": rasterio.Affine(*transform),
        "interleave": "band",
        **options,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)


def smooth(side: int) -> Planes:
    """Return a block's planes, (bands + 1, side, side)."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = sum(
        np.sin(2 * np.pi * (x * a + y * b) + p) / max(a, b)
        for a, b, p in random.uniform(1, 12, (12, 3))
    )
    planes = [
        np.clip(mean * (1 + 0.3 * waves) + random.normal(0, 0.03 * mean, waves.shape), 1, 10_000)
        for mean in random.uniform(300, 3500, len(BANDS))
    ]
    counts = 7 + 4 * np.sign(np.sin(9 * x) * np.sin(7 * y))
    return np.stack([*planes, counts]).astype(np.uint16)
