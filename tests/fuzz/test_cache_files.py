"""If these fail, a damaged cache file ends a run, or is served as another block's pixels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fuzz_campaign import fuzz
from tests.support.fuzz_mutations import damaged, damaged_json
from thor_geo.composites import BlockStore, Pinned, _tiff
from thor_geo.errors import BlockError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import FetchStats, Scene
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.support.jsontext import canonical_sha256

SENSOR = SensorSpec(bands=("B4", "B3"), cloudy_pct=100)
BLOCK = Block(epsg=32632, size=64, resolution=10, left=640, top=6400)
SCENE = Scene(
    index="20220605T104031_20220605T104031_T32VNM",
    time_start="2022-06-05T10:40:31.000Z",
    mgrs_tile="32VNM",
    processing_baseline="04.00",
    cloudy_pct=1.5,
)
PLANES = np.random.default_rng(0).integers(0, 12_000, (3, 64, 64), dtype=np.uint16)


class Cache:
    """One block in a store, whose three files are restored before every input."""

    def __init__(self, folder: Path) -> None:
        self.store = BlockStore(
            folder, sensor=SENSOR, window=TemporalSpec.range("2022-06-01", "2022-07-01")
        )
        self.store.prepare()
        pinned = Pinned(scenes=(SCENE,), block_key="ab" * 32)
        self.store.pin(BLOCK, pinned)
        path = self.store.put(BLOCK, pinned, PLANES, FetchStats(requests=2)).path
        assert path is not None
        self.tiff, self.sidecar = path, path.with_suffix(".json")
        (self.scenes,) = folder.glob("scenes/*/*.json")
        self.files = {p: p.read_bytes() for p in (self.tiff, self.sidecar, self.scenes)}

    def content(self, path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.files[path])
        del content["record_sha256"]
        return content

    def check(self, changed: dict[Path, bytes], *, exact: bool = True) -> None:
        """Read the block; what is served must be what was stored, or at least be a block."""
        for path, content in (self.files | changed).items():
            path.write_bytes(content)
        stored = self.store.get(BLOCK)
        if stored is None:
            # it counts as absent, and is written anew
            raise BlockError("absent")
        pixels, observations = stored.read()
        assert (pixels.dtype, pixels.shape) == (np.uint16, (2, 64, 64))
        assert (observations.dtype, observations.shape) == (np.uint8, (64, 64))
        if exact and stored.scenes:
            assert (pixels == PLANES[:2]).all()
            assert (observations == np.minimum(PLANES[2], 255)).all()
        assert all(isinstance(scene.index, str) for scene in stored.scenes)
        json.dumps([asdict(scene) for scene in stored.scenes])


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache")
    cache.check({})
    return cache


def signed(content: bytes) -> bytes:
    """Return a JSON object with the checksum that records carry, where it is one."""
    try:
        value = json.loads(content)
        return json.dumps({**value, "record_sha256": canonical_sha256(value)}).encode()
    except (ValueError, TypeError, RecursionError):
        return content


def test_images(cache: Cache) -> None:
    fuzz(
        "cached GeoTIFF",
        damaged([cache.files[cache.tiff]]),
        lambda content: cache.check({cache.tiff: content}),
    )


def test_images_with_a_fitting_checksum(cache: Cache) -> None:
    def check(content: bytes) -> None:
        file = {"crc32c": _tiff.checksum(content), "size": len(content)}
        sidecar = signed(json.dumps(cache.content(cache.sidecar) | {"file": file}).encode())
        cache.check({cache.tiff: content, cache.sidecar: sidecar}, exact=False)

    check(cache.files[cache.tiff])
    fuzz("cached GeoTIFF, checksum fitting", damaged([cache.files[cache.tiff]]), check)


@pytest.mark.parametrize("name", ["sidecar", "scenes"])
def test_records(cache: Cache, name: str) -> None:
    path: Path = getattr(cache, name)
    strategy = damaged([cache.files[path]]) | damaged_json([json.loads(cache.files[path])])
    fuzz(f"cache record, {name}", strategy, lambda content: cache.check({path: content}))


@pytest.mark.parametrize("name", ["sidecar", "scenes"])
def test_records_with_a_fitting_checksum(cache: Cache, name: str) -> None:
    path: Path = getattr(cache, name)
    cache.check({path: signed(json.dumps(cache.content(path)).encode())})
    fuzz(
        f"cache record, {name}, checksum fitting",
        damaged_json([cache.content(path)]).map(signed),
        lambda content: cache.check({path: content}),
    )
