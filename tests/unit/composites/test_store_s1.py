"""If one of these fails, Sentinel-1 blocks are not read back as stored, or Sentinel-2's changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from thor_geo.composites import (
    BlockStore,
    Pinned,
    Prefetcher,
    PrefetchSpec,
    StoredBlock,
    _raster,
    _tiff,
)
from thor_geo.composites.keys import query_key, settings_key
from thor_geo.emulator import EmulatorServer
from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import FetchStats, Scene, SessionSpec
from thor_geo.sources.earthengine.recipe import block_key, sentinel2_composite
from thor_geo.sources.scenes import OBSERVATIONS, Sentinel1Scene
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import Sentinel1Spec

JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")
KEY = "1d" * 32
SCENE = Sentinel1Scene(
    index="S1A_X",
    time_start="2022-06-03T17:00:00.000Z",
    orbit_pass="ASCENDING",
    relative_orbit=44,
)


def planes(size: int) -> Any:
    """Every int16 there is, and counts."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(-32768, 32768, (3, size, size), dtype=np.int16)
    pixels[2] = rng.integers(0, 300, (size, size))
    return pixels


@pytest.fixture
def radar(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "cache", sensor=Sentinel1Spec(), window=JUNE)


def put(store: BlockStore, block: Block, pixels: Any) -> StoredBlock:
    pinned = store.pin(block, Pinned(scenes=(SCENE,), block_key=KEY))
    return store.put(block, pinned, pixels, FetchStats(requests=2))


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_block_is_read_back_bit_by_bit(radar: BlockStore, block: Block, compression: Any) -> None:
    radar.compression = compression
    pixels = planes(block.size)
    put(radar, block, pixels)
    stored = radar.get(block)
    assert stored is not None
    got, observations = stored.read()
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, pixels[:2])
    np.testing.assert_array_equal(observations, np.minimum(pixels[2], 255))
    window, _ = stored.read(slice(3, 40), slice(10, 11))
    np.testing.assert_array_equal(window, pixels[:2, 3:40, 10:11])
    assert stored.scenes == (SCENE,)
    with rasterio.open(stored.path) as file:  # any other tool sees the same
        assert set(file.dtypes) == {"int16"}
        assert file.descriptions == ("VV", "VH", "observations")
        np.testing.assert_array_equal(file.read(), pixels)


def test_the_records_say_whether_the_orbit_was_fallen_back_to(tmp_path: Path, block: Block) -> None:
    for wanted, fell in (("ascending", False), ("descending", True)):
        sensor = Sentinel1Spec(orbit=wanted, orbit_fallback=True)  # type: ignore[arg-type]
        store = BlockStore(tmp_path / wanted, sensor=sensor, window=JUNE)
        stored = put(store, block, planes(block.size))
        assert stored.orbit_fallback is fell
        again = store.get(block)
        assert again is not None
        assert again.orbit_fallback is fell
        assert stored.path is not None
        (scenes,) = (tmp_path / wanted).glob("scenes/*/*.json")
        for path in (stored.path.with_suffix(".json"), scenes):
            record = json.loads(path.read_text())
            assert record["orbit_fallback"] is fell
            assert record["scenes"][0]["orbit_pass"] == "ASCENDING"
            assert record["scenes"][0]["relative_orbit"] == 44


def test_a_block_without_scenes_is_nodata_and_not_0_db(radar: BlockStore, block: Block) -> None:
    radar.pin(block, Pinned(scenes=(), block_key=None))
    stored = radar.get(block)
    assert stored is not None
    pixels, observations = stored.read()
    assert pixels.dtype == np.int16
    assert np.unique(pixels).tolist() == [-32768]
    assert observations.max() == 0


def test_unsigned_pixels_are_refused_where_signed_ones_belong(
    radar: BlockStore, store: BlockStore, block: Block, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="stored as int16"):
        put(radar, block, planes(block.size).view(np.uint16))
    with pytest.raises(ConfigError, match="stored as uint16"):
        store.put(block, Pinned(scenes=(), block_key=KEY), planes(block.size), FetchStats())
    # A file of the other kind, with a checksum that holds.
    path = put(radar, block, planes(block.size)).path
    assert path is not None
    content = _raster.geotiff(block, planes(block.size).view(np.uint16), ["VV", "VH", "o"])
    path.write_bytes(content)
    sidecar = path.with_suffix(".json")
    record = json.loads(sidecar.read_text())
    record["file"] = {"crc32c": _tiff.checksum(content), "size": len(content)}
    del record["record_sha256"]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    record["record_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    sidecar.write_text(json.dumps(record))
    assert radar.get(block) is None
    assert "not int16" in caplog.text


def test_the_query_key_follows_all_settings(block: Block) -> None:
    base = Sentinel1Spec(orbit="ascending")
    sensors = [
        base,
        replace(base, orbit="descending"),
        replace(base, orbit_fallback=True),
        replace(base, polarisations=("VV",)),
        replace(base, mode="EW"),
        replace(base, composite="mean"),
        replace(base, scale_m=20),
        replace(base, collection="COPERNICUS/S1_OTHER"),
    ]
    keys = {query_key(settings_key(one, JUNE, "earthengine"), block) for one in sensors}
    assert len(keys) == len(sensors)


def test_sentinel_2_blocks_keep_their_bytes_and_their_keys(
    store: BlockStore, block: Block, session: SessionSpec
) -> None:
    # Caches of earlier releases stay usable: every byte and every key is what it was.
    shape = (3, block.size, block.size)
    pixels = np.random.default_rng(1).integers(0, 12_000, shape, dtype=np.uint16)
    left, _, _, top = block.bounds
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=block.size,
            height=block.size,
            count=3,
            dtype="uint16",
            crs="EPSG:32632",
            transform=from_origin(left, top, 10, 10),
            tiled=True,
            blockxsize=64,
            blockysize=64,
            interleave="band",
            ENDIANNESS="LITTLE",
            compress="zstd",
            zstd_level=1,
            predictor=2,
        ) as file:
            file.write(pixels)
            file.descriptions = ("B4", "B3", OBSERVATIONS)
        expected = bytes(memory.getbuffer())
    assert _raster.geotiff(block, pixels, ["B4", "B3", OBSERVATIONS]) == expected

    year = TemporalSpec.year(2022)
    there = Block(epsg=32632, size=576, resolution=10, left=576, top=5760)
    assert query_key(settings_key(SensorSpec(), year, "earthengine"), there) == QUERY_KEY

    from thor_geo.sources.earthengine import EarthEngineSession

    EarthEngineSession(session).ensure()
    scene = Scene(
        index="a", time_start=None, mgrs_tile=None, processing_baseline=None, cloudy_pct=None
    )
    sensor = SensorSpec(bands=("B4", "B3"), cloudy_pct=100)
    assert store.sensor == sensor
    image = sentinel2_composite(sensor, JUNE, block, [scene])
    a, b, c, d, e, f = block.transform
    affine = dict(scaleX=a, shearX=b, translateX=c, shearY=d, scaleY=e, translateY=f)  # noqa: C408
    content = {
        "recipe": 1,
        "catalogue": "earthengine",
        "graph": json.loads(image.serialize()),
        "grid": {
            "dimensions": {"width": block.size, "height": block.size},
            "affineTransform": affine,
            "crsCode": "EPSG:32632",
        },
        "bands": ["B4", "B3", "observations"],
        "dtype": "uint16",
        "fill": 0,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(text.encode()).hexdigest()
    assert block_key(image, sensor, block, "earthengine") == key


# The sha256 of the canonical JSON and grid of release 0.1.0, computed with sha256sum.
QUERY_KEY = "ddc37f85e070e5891780400da5dba8a67bf1892a97316107549b04c170a95f7b"


def test_one_process_fetches_every_block_of_both_sensors(
    store: BlockStore,
    archive: Path,
    block_at: Callable[[int], Block],
    tmp_path: Path,
) -> None:
    radar = Sentinel1Spec(polarisations=("VV",))
    with EmulatorServer({store.sensor.collection: archive, radar.collection: archive}) as server:
        spec = PrefetchSpec(
            root=store.root,
            session=SessionSpec(credentials="anonymous", url=server.url),
            sensor=store.sensor,
            window=store.window,
            beside=((radar, "earthengine"),),
            concurrency=4,
            state_dir=tmp_path / "state",
        )
        with Prefetcher(spec, [block_at(k) for k in range(3)]) as prefetcher:
            pixels, _ = prefetcher.source(0).get(block_at(1)).read()
            assert pixels.dtype == np.uint16
            # These scenes are none of radar: an answer, too.
            empty = prefetcher.source(1).get(block_at(1))
            assert (empty.path, empty.signed, empty.bands) == (None, True, ("VV",))
            # A block that no plan names is fetched of the sensor whose reader misses it.
            assert prefetcher.source(1).get(block_at(5)).signed
            deadline = time.monotonic() + 20
            while prefetcher.stats().blocks_fetched < 7 and time.monotonic() < deadline:
                time.sleep(0.05)
        stats = prefetcher.stats()
        assert (stats.blocks_fetched, stats.blocks_empty) == (7, 4)
        assert stats.blocks_planned == 6
