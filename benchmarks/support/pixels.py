"""Pixels to read: a composite of the generated archive, in a cache and in one large file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from pyproj import Transformer

from thor_geo.composites import BlockStore, DirectSource, Pinned, StoredBlock
from thor_geo.datasets import CompositeDataset, PlanDataset
from thor_geo.emulator import EmulatorProcess, generate_archive
from thor_geo.errors import BlockError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Block, Bounds, Lattice
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import FetchStats, Scene, SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.bands import S2_DEFAULT_BANDS

EPSG, BLOCK, TILE, RESOLUTION = 32632, 576, 288, 10
BANDS = S2_DEFAULT_BANDS
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
SENSOR = SensorSpec(bands=tuple(BANDS))
#: Column and row of the north-western block: a corner of a shard of 8 x 8 tiles as well.
COL, ROW = 104, 1152

Planes = npt.NDArray[np.uint16]
Compression = Literal["zstd", "none"]

# As many as pass over a place in a summer and are clear enough.
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


def block_at(col: int, row: int) -> Block:
    """Return a block of the square, counted from its north-western corner."""
    return Block(
        epsg=EPSG,
        size=BLOCK,
        resolution=RESOLUTION,
        left=(COL + col) * BLOCK,
        top=(ROW - row) * BLOCK,
    )


def generated(folder: Path) -> Planes:
    """Return 2 x 2 blocks of the composite of a generated archive, through the emulator.

    Args:
        folder: Where archive and cache go.

    Returns:
        Bands and observations (11, 1152, 1152), uint16.
    """
    corner = block_at(1, 1)
    lon, lat = Transformer.from_crs(EPSG, 4326, always_xy=True).transform(
        corner.bounds[0], corner.bounds[3]
    )
    archive = generate_archive(
        folder / "archive", center=(lon, lat), size_m=2 * BLOCK * RESOLUTION + 120, zones=[EPSG]
    )
    store = BlockStore(folder / "fetched", sensor=SENSOR, window=WINDOW, catalogue="emulator-bench")
    planes = np.empty((len(BANDS) + 1, 2 * BLOCK, 2 * BLOCK), np.uint16)
    with EmulatorProcess(archive) as emulator:
        source = DirectSource(store, SessionSpec(credentials="anonymous", url=emulator.url))
        for row in range(2):
            for col in range(2):
                there = np.s_[:, row * BLOCK : (row + 1) * BLOCK, col * BLOCK : (col + 1) * BLOCK]
                planes[there][:-1], planes[there][-1] = source.get(block_at(col, row)).read()
    if not planes[-1].any():
        raise RuntimeError("no scene of the generated archive covers the blocks")
    return planes


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A square of blocks in a cache of its own, and the same pixels in other forms.

    Attributes:
        store: The cache.
        planes: Bands and observations, (11, side, side), uint16.
        files: The blocks' files, row by row.
        mosaic: One GeoTIFF of all pixels, packed like the blocks.
        plan: The square's tiles.
    """

    store: BlockStore
    planes: Planes
    files: tuple[Path, ...]
    mosaic: Path
    plan: Plan

    def composites(self) -> CompositeDataset:
        """Return the dataset of the square."""
        return CompositeDataset(
            OnlyCached(self.store),
            shapely.box(*square(self.planes)),
            lattice=self.plan.lattices[0],
            sensor=SENSOR,
            window=WINDOW,
            block_size=BLOCK,
        )

    def tiles(self) -> PlanDataset:
        """Return the dataset of the plan."""
        return PlanDataset(self.plan, {EPSG: self.composites()}, channels=len(BANDS))


def square(planes: Planes) -> Bounds:
    """Return left, bottom, right, top of the pixels' square, metres."""
    left, _, _, top = block_at(0, 0).bounds
    side = planes.shape[1] * RESOLUTION
    return left, top - side, left + side, top


class OnlyCached:
    """A source of blocks that fetches nothing."""

    def __init__(self, store: BlockStore) -> None:
        self.store = store

    def get(self, block: Block) -> StoredBlock:
        """Return a block; raise BlockError if the cache does not hold it."""
        stored = self.store.get(block)
        if stored is None:
            raise BlockError(f"{block.id} is not in the benchmark's cache")
        return stored


def cached(folder: Path, planes: Planes, *, compression: Compression) -> Cached:
    """Put pixels into a cache, block by block.

    Args:
        folder: Where; it must not exist.
        planes: Bands and observations; sides a multiple of a block's.
        compression: Of the blocks.
    """
    store = BlockStore(folder, sensor=SENSOR, window=WINDOW, compression=compression)
    store.prepare()
    across = planes.shape[1] // BLOCK
    files = []
    for row in range(across):
        for col in range(across):
            block = block_at(col, row)
            there = np.s_[:, row * BLOCK : (row + 1) * BLOCK, col * BLOCK : (col + 1) * BLOCK]
            pinned = Pinned(scenes=SCENES, block_key=f"{row * across + col:064x}")
            path = store.put(block, store.pin(block, pinned), planes[there], FetchStats()).path
            assert path is not None
            files.append(path)
    with rasterio.open(files[0]) as first:
        options: dict[str, Any] = {**first.profile}
        # Of the packing, the profile only holds the codec.
        if compression == "zstd":
            predictor = first.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR", "1")
            options |= {"zstd_level": 1, "predictor": predictor}
    options |= {"height": planes.shape[1], "width": planes.shape[2]}
    with rasterio.open(folder / "mosaic.tif", "w", **options) as file:
        file.write(planes)
    left, bottom, right, top = square(planes)
    area = AreaSpec(bbox=(left + 1, bottom + 1, right - 1, top - 1), crs=f"EPSG:{EPSG}").load()
    plan = Plan.of(area, Lattice(epsg=EPSG, tile_size=TILE, resolution=RESOLUTION))
    return Cached(
        store=store, planes=planes, files=tuple(files), mosaic=folder / "mosaic.tif", plan=plan
    )
