from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from thor_geo.composites import BlockStore, Pinned, StoredBlock
from thor_geo.emulator import EmulatorServer
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import FetchStats, Scene, SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec

SENSOR = SensorSpec(bands=("B4", "B3"), cloudy_pct=100)
JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")
SIDE = 64

SCENE = Scene(
    index="s1",
    time_start="2022-06-01T10:00:00.000Z",
    mgrs_tile="32VNM",
    processing_baseline="04.00",
    cloudy_pct=1.5,
)


@pytest.fixture
def sensor() -> SensorSpec:
    return SENSOR


@pytest.fixture
def window() -> TemporalSpec:
    return JUNE


@pytest.fixture
def scene() -> Scene:
    return SCENE


@pytest.fixture
def block_at() -> Callable[[int], Block]:
    """Return the k-th block of a row of eight; the last two are beyond the scene."""

    def at(k: int) -> Block:
        return Block(epsg=32632, size=SIDE, resolution=10, left=640 + k * SIDE, top=6400)

    return at


@pytest.fixture
def block(block_at: Callable[[int], Block]) -> Block:
    return block_at(0)


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "cache", sensor=SENSOR, window=JUNE)


@pytest.fixture
def put() -> Callable[..., StoredBlock]:
    """Put random pixels into a store, as `produce` would."""

    def put(store: BlockStore, block: Block, seed: int = 0, **planes: Any) -> StoredBlock:
        rng = np.random.default_rng(seed)
        shape = (len(store.sensor.bands) + 1, block.size, block.size)
        pixels = planes.get("planes", rng.integers(0, 12_000, shape, dtype=np.uint16))
        pinned = Pinned(scenes=(SCENE,), block_key=f"{seed:02x}" * 32)
        store.pin(block, pinned)
        return store.put(block, pinned, pixels, FetchStats(requests=2))

    return put


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene over six blocks; each pixel of B4 names its column."""
    folder = tmp_path_factory.mktemp("archive")
    width = 6 * SIDE
    columns = np.broadcast_to(np.arange(1, width + 1, dtype=np.uint16), (SIDE, width))
    with rasterio.open(
        folder / "one.tif",
        "w",
        driver="GTiff",
        width=width,
        height=SIDE,
        count=2,
        dtype="uint16",
        nodata=0,
        crs="EPSG:32632",
        transform=from_origin(500_000 - 493_600, 64_000, 10, 10),
    ) as file:
        file.write(np.stack([columns, columns + 1000]))
    scene = {
        "id": "one",
        "properties": {"system:time_start": 1_654_084_800_000, "CLOUDY_PIXEL_PERCENTAGE": 0.0},
        "bands": [{"name": f"B{4 - k}", "file": "one.tif", "index": k + 1} for k in (0, 1)],
    }
    index = {"format": "thor-geo-archive", "version": 1, "parameters": {}, "scenes": [scene]}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def shared_server(archive: Path) -> Iterator[EmulatorServer]:
    with EmulatorServer(archive) as server:
        yield server


@pytest.fixture
def server(shared_server: EmulatorServer) -> Iterator[EmulatorServer]:
    shared_server.set_faults(None)
    shared_server.statistics.reset()
    yield shared_server
    shared_server.set_faults(None)


@pytest.fixture
def session(server: EmulatorServer) -> SessionSpec:
    return SessionSpec(credentials="anonymous", url=server.url)
