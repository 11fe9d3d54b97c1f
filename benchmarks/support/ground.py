"""Pixels for measuring the pipeline: a warm cache of composites, and the same tiles as chips."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio

from benchmarks.support.commands import box, emulator
from benchmarks.support.emulated import write_scenes
from benchmarks.support.pixels import SCENES
from thor_geo.composites import BlockStore
from thor_geo.composites.stored import Pinned
from thor_geo.emulator import Archive
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Block, Lattice, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.policy import FetchStats
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.bands import S2_DEFAULT_BANDS

EPSG = 32632
TILE, SHARD_TILES = 288, 8
BANDS = S2_DEFAULT_BANDS
START, END = "2022-06-01", "2022-09-01"

_SHARD = TILE * SHARD_TILES
# Upper left corner of the area in pixels: on the lattice of shards, in the middle of the zone.
_LEFT, _TOP = 22 * _SHARD, 260 * _SHARD


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Whole shards of tiles, all of whose blocks are in the cache.

    Attributes:
        folder: Holds the cache and an archive that no request ever needs.
        across: Shards in a row.
        down: Rows of shards.
        block_size: Side of a block in pixels.
    """

    folder: Path
    across: int
    down: int
    block_size: int = 576

    @property
    def corner(self) -> tuple[int, int]:
        """Column and row of the upper left corner in pixels."""
        return _LEFT, _TOP

    @property
    def side(self) -> int:
        """The longer side in pixels."""
        return max(self.across, self.down) * _SHARD

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.across * self.down * SHARD_TILES**2

    @property
    def bbox(self) -> list[float]:
        """Bounds in metres of zone 32, a little inside the shards' edges."""
        left, top = _LEFT * 10 + 100, _TOP * 10 - 100
        right = (_LEFT + self.across * _SHARD) * 10 - 100
        bottom = (_TOP - self.down * _SHARD) * 10 + 100
        return [left, bottom, right, top]

    def part(self, across: int, down: int) -> Ground:
        """Return the upper left part, of fewer shards, in the same cache."""
        return replace(self, across=across, down=down)

    @cached_property
    def plan(self) -> Plan:
        """The tiles, as the command plans them."""
        left, bottom, right, top = self.bbox
        area = AreaSpec(bbox=(left, bottom, right, top), crs=f"EPSG:{EPSG}").load()
        plan = Plan.of(area, Lattice(epsg=EPSG, tile_size=TILE, shard_tiles=SHARD_TILES))
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
            "data.shard_tiles": SHARD_TILES,
        }

    def fill(self) -> None:
        """Put every block into the cache: smooth ground with noise, which packs like real pixels.

        Twelve scenes each, 3 to 11 observations; every block is different.
        """
        write_scenes(self.folder / "archive", side=64, bands=BANDS, scenes=1)
        store = self.store
        store.prepare()
        planes = _planes(self.block_size)
        for number, block in enumerate(self._blocks()):
            key = hashlib.sha256(block.id.encode()).hexdigest()
            pinned = store.pin(block, Pinned(scenes=SCENES, block_key=key))
            shifted = np.roll(planes, (37 * number, 61 * number), axis=(1, 2))
            store.put(block, pinned, shifted, FetchStats())

    @cached_property
    def store(self) -> BlockStore:
        """The cache of the command's recipe."""
        return BlockStore(
            self.folder / "cache",
            sensor=SensorSpec(bands=BANDS),
            window=TemporalSpec.range(START, END),
            catalogue=f"emulator-{Archive.open(self.folder / 'archive').fingerprint()}",
        )

    def _blocks(self) -> list[Block]:
        side = self.block_size
        return [
            Block(epsg=EPSG, size=side, resolution=10, left=_LEFT + x, top=_TOP - y)
            for y in range(0, self.down * _SHARD, side)
            for x in range(0, self.across * _SHARD, side)
        ]

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
            with rasterio.open(
                folder / f"{tile.id}.tif",
                "w",
                driver="GTiff",
                width=TILE,
                height=TILE,
                count=len(BANDS),
                dtype="uint16",
                crs=f"EPSG:{EPSG}",
                transform=rasterio.Affine(*tile.transform),
                interleave="band",
            ) as file:
                file.write(image.astype(np.uint16))


def _planes(side: int) -> npt.NDArray[np.uint16]:
    """Return a block's planes, (bands + 1, side, side)."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    smooth = sum(
        np.sin(2 * np.pi * (x * a + y * b) + p) / max(a, b)
        for a, b, p in random.uniform(1, 12, (12, 3))
    )
    planes = [
        np.clip(mean * (1 + 0.3 * smooth) + random.normal(0, 0.03 * mean, smooth.shape), 1, 10_000)
        for mean in random.uniform(300, 3500, len(BANDS))
    ]
    counts = 7 + 4 * np.sign(np.sin(9 * x) * np.sin(7 * y))
    return np.stack([*planes, counts]).astype(np.uint16)
