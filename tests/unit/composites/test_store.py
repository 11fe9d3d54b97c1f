from __future__ import annotations

import json
import logging
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from thor_geo.composites import BlockStore, Pinned, StoredBlock, _records, _tiff
from thor_geo.composites import store as store_module
from thor_geo.errors import BlockError, ConfigError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import FetchStats, Scene

Put = Callable[..., StoredBlock]


def path_of(stored: StoredBlock) -> Path:
    assert stored.path is not None
    return stored.path


def test_what_is_put_comes_back(store: BlockStore, block: Block, put: Put, scene: Scene) -> None:
    planes = np.random.default_rng(1).integers(0, 65536, (3, 64, 64), dtype=np.uint16)
    put(store, block, planes=planes)
    stored = store.get(block)
    assert stored is not None
    assert (stored.block, stored.scenes, stored.bands) == (block, (scene,), ("B4", "B3"))
    pixels, observations = stored.read()
    np.testing.assert_array_equal(pixels, planes[:2])
    np.testing.assert_array_equal(observations, np.minimum(planes[2], 255))
    assert pixels.dtype == np.uint16
    assert observations.dtype == np.uint8


def test_windows_are_parts_of_the_whole(store: BlockStore, block: Block, put: Put) -> None:
    stored = put(store, block)
    whole, counts = stored.read()
    pixels, observations = stored.read(slice(3, 20), slice(60, 64))
    np.testing.assert_array_equal(pixels, whole[:, 3:20, 60:64])
    np.testing.assert_array_equal(observations, counts[3:20, 60:64])


@pytest.mark.parametrize("rows", [slice(0, 65), slice(5, 5), slice(-3, 4), slice(0, 10, 2)])
def test_windows_outside_the_block_are_refused(
    store: BlockStore, block: Block, put: Put, rows: slice
) -> None:
    with pytest.raises(IndexError, match="rows"):
        put(store, block).read(rows, slice(0, 4))


def test_the_file_is_a_geotiff_that_any_tool_places_right(
    store: BlockStore, block: Block, put: Put
) -> None:
    with rasterio.open(path_of(put(store, block))) as file:
        assert file.crs.to_epsg() == 32632
        assert tuple(file.transform)[:6] == block.transform
        assert file.descriptions == ("B4", "B3", "observations")
        assert set(file.dtypes) == {"uint16"}


def test_the_sidecar_says_where_pixels_are_from_and_what_they_cost(
    store: BlockStore, block: Block, put: Put
) -> None:
    planes = np.full((3, 64, 64), 10_001, np.uint16)
    planes[0, 0] = 10_000
    planes[2, 1] = 0
    sidecar = json.loads(path_of(put(store, block, planes=planes)).with_suffix(".json").read_text())
    assert sidecar["scenes"][0]["index"] == "s1"
    assert sidecar["block"] == block.id
    assert sidecar["catalogue"] == "earthengine"
    assert sidecar["fetch"]["requests"] == 2
    # Values that readers clamp: not where nothing was observed, there they are fill.
    assert sidecar["values"]["values_above_range"] == 62 * 64 + 63 * 64
    assert sidecar["values"]["pixels_observed"] == 63 * 64


def test_a_block_without_scenes_is_an_answer_without_a_file(
    store: BlockStore, block: Block
) -> None:
    store.sensor = replace(store.sensor, fill_value=9)
    store.pin(block, Pinned(scenes=(), block_key=None))
    stored = store.get(block)
    assert stored is not None
    assert stored.path is None
    pixels, observations = stored.read(slice(0, 5), slice(0, 7))
    assert pixels.shape == (2, 5, 7)
    assert np.unique(pixels).tolist() == [9]
    assert observations.max() == 0


def test_scenes_alone_are_not_a_block(store: BlockStore, block: Block, scene: Scene) -> None:
    store.pin(block, Pinned(scenes=(scene,), block_key="ab" * 32))
    assert store.get(block) is None
    assert store.pinned(block) == Pinned(scenes=(scene,), block_key="ab" * 32)


def test_the_first_list_of_scenes_keeps_its_cost_and_old_ones_have_none(
    store: BlockStore, block_at: Callable[[int], Block]
) -> None:
    first = Pinned(scenes=(), block_key=None, cost=FetchStats(requests=3, seconds=0.5))
    store.pin(block_at(0), first)
    record = next((store.root / "scenes").rglob("*.json"))
    written = record.read_bytes()
    assert json.loads(written)["fetch"]["requests"] == 3
    # Another process was told the same: nothing of it is written.
    held = store.pin(block_at(0), replace(first, cost=FetchStats(requests=9)))
    assert (held, held.cost) == (first, first.cost)
    assert record.read_bytes() == written
    store.pin(block_at(1), Pinned(scenes=(), block_key=None))
    old = store.pinned(block_at(1))
    assert old == first
    assert old.cost is None


def test_a_crash_between_pixels_and_sidecar_leaves_no_block(
    store: BlockStore, block: Block, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record = _records.write_record

    def crash(path: Path, content: dict[str, Any], **how: Any) -> bool:
        if "file" in content:
            raise KeyboardInterrupt
        return write_record(path, content, **how)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_record", crash)
        with pytest.raises(KeyboardInterrupt):
            put(store, block)
    assert list(store.root.rglob("*.tif"))
    assert store.get(block) is None
    put(store, block)
    assert store.get(block) is not None


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("which", [".tif", ".json"])
@pytest.mark.parametrize("known", [False, True], ids=["first read", "read before"])
def test_damaged_files_count_as_absent_and_are_replaced(
    store: BlockStore,
    block: Block,
    put: Put,
    damage: Callable[[Path], None],
    which: str,
    known: bool,
) -> None:
    stored = put(store, block)
    before = stored.read()[0]
    if known:
        assert store.get(block) is not None
    damage(path_of(stored).with_suffix(which))
    if not (known and which == ".json" and damage is not Path.unlink):
        # A sidecar that breaks after its file was verified does no harm to this process.
        assert store.get(block) is None
    put(store, block)
    again = store.get(block)
    assert again is not None
    np.testing.assert_array_equal(again.read()[0], before)


def test_to_have_a_block_is_to_have_all_its_files(
    store: BlockStore, block: Block, put: Put
) -> None:
    assert not store.has(block)
    path = path_of(put(store, block))
    assert store.has(block)
    flip(path)  # left to whoever reads it
    assert store.has(block)
    for suffix in (".tif", ".json"):
        put(store, block)
        path.with_suffix(suffix).unlink()
        assert not store.has(block)


def test_a_block_without_scenes_is_there_without_a_file(store: BlockStore, block: Block) -> None:
    store.pin(block, Pinned(scenes=(), block_key=None))
    assert store.has(block)


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_list_of_scenes_is_asked_for_again(
    store: BlockStore, block: Block, put: Put, damage: Callable[[Path], None]
) -> None:
    put(store, block)
    damage(next((store.root / "scenes").rglob("*.json")))
    assert store.get(block) is None
    assert store.pinned(block) is None
    assert not list((store.root / "scenes").rglob("*.json"))


def test_what_was_verified_is_not_read_again(
    store: BlockStore, block: Block, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, block)
    assert store.get(block) is not None

    def forbidden(what: object) -> str:
        raise AssertionError(f"{what} was read a second time")

    monkeypatch.setattr(_tiff, "checksum", forbidden)
    monkeypatch.setattr(_tiff, "_directory", forbidden)
    assert store.get(block) is not None


def test_a_replaced_file_is_verified_and_read_anew(
    store: BlockStore, block: Block, put: Put
) -> None:
    put(store, block).read()
    other = np.full((3, 64, 64), 5, np.uint16)
    put(store, block, planes=other)
    stored = store.get(block)
    assert stored is not None
    assert np.unique(stored.read()[0]).tolist() == [5]


def test_recipes_share_a_folder_without_mixing(store: BlockStore, block: Block, put: Put) -> None:
    put(store, block)
    for other in (
        BlockStore(store.root, sensor=replace(store.sensor, mask="scl"), window=store.window),
        BlockStore(store.root, sensor=store.sensor, window=store.window, catalogue="emulator-1"),
    ):
        assert other.get(block) is None
    same = pickle.loads(pickle.dumps(store))
    assert same.get(block) is not None


def test_writers_of_one_block_do_not_disturb_each_other(
    store: BlockStore, block: Block, put: Put
) -> None:
    expected = put(store, block).read()[0]
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                np.testing.assert_array_equal(put(store, block).read()[0], expected)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.get(block) is not None
    assert not [path for path in store.root.rglob("*") if path.name.endswith(".tmp")]


def test_a_file_that_vanishes_fails_its_block_alone(
    store: BlockStore, block: Block, put: Put
) -> None:
    stored = put(store, block)
    path_of(stored).unlink()
    with pytest.raises(BlockError, match="could not be read"):
        stored.read()


def test_a_file_that_vanishes_as_soon_as_it_is_written_is_not_a_block_without_scenes(
    store: BlockStore, block: Block, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_tiff, "identity", lambda path: None)
        stored = put(store, block)
    with pytest.raises(BlockError, match="vanished"):
        stored.read()


def test_the_environment_does_not_change_how_blocks_are_written(
    store: BlockStore, block: Block, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = path_of(put(store, block)).read_bytes()
    monkeypatch.setenv("GDAL_TIFF_ENDIANNESS", "BIG")
    assert path_of(put(store, block)).read_bytes() == expected


def test_a_whole_file_that_cannot_be_read_as_a_block_is_fetched_again(
    store: BlockStore, block: Block, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(put(store, block))
    with rasterio.open(path) as file:
        pixels, profile = file.read(), {**file.profile, "compress": "deflate"}
    path.unlink()  # GDAL would keep the packing of a file that is there
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    sidecar = _records.read_record(path.with_suffix(".json"))
    assert sidecar is not None
    content = path.read_bytes()
    sidecar["file"] = {"crc32c": _tiff.checksum(content), "size": len(content)}
    _records.write_record(path.with_suffix(".json"), sidecar)
    with caplog.at_level(logging.WARNING):
        assert store.get(block) is None
    assert f"{path}: it is complete, but not as this release writes blocks" in caplog.text
    assert not path.exists()
    assert not path.with_suffix(".json").exists()
    assert not store.has(block)
    put(store, block)
    stored = store.get(block)
    assert stored is not None
    np.testing.assert_array_equal(stored.read()[0], pixels[:2])


def test_a_forked_child_reads_what_its_parent_has_read(
    store: BlockStore, block: Block, put: Put
) -> None:
    stored = put(store, block)
    expected = stored.read(slice(0, 9), slice(0, 9))[0]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(not (stored.read(slice(0, 9), slice(0, 9))[0] == expected).all())
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(stored.read(slice(0, 9), slice(0, 9))[0], expected)


def test_no_file_stays_open_and_few_pixels_stay_in_memory(
    store: BlockStore, block_at: Callable[[int], Block], put: Put
) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for k in range(_tiff.KEPT_TILES + 4):
        put(store, block_at(k), seed=k).read(slice(0, 1), slice(0, 1))
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert _tiff._kept_tile.cache_info().currsize == _tiff.KEPT_TILES


def test_a_file_that_changes_after_it_was_verified_fails_its_block(
    store: BlockStore, block: Block, put: Put
) -> None:
    put(store, block)
    stored = store.get(block)
    assert stored is not None
    flip(path_of(stored))
    with pytest.raises(BlockError, match="replaced"):
        stored.read()


def test_blocks_are_read_however_they_were_packed(
    store: BlockStore, block: Block, put: Put
) -> None:
    packed = put(store, block).read()[0]
    plain = BlockStore(store.root, sensor=store.sensor, window=store.window, compression="none")
    path = path_of(put(plain, block))
    with rasterio.open(path) as file:
        assert file.compression is None
    stored = store.get(block)
    assert stored is not None
    np.testing.assert_array_equal(stored.read()[0], packed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named_before_work_starts(
    store: BlockStore, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match=r"data\.cache_dir"):
        store.prepare()


def test_a_cache_folder_that_is_a_file_is_named_before_work_starts(store: BlockStore) -> None:
    store.root.write_text("")
    with pytest.raises(ConfigError, match=r"data\.cache_dir"):
        store.prepare()


@pytest.mark.parametrize(
    ("planes", "problem"),
    [
        (np.zeros((3, 64, 63), np.uint16), r"the block has the shape \(3, 64, 64\)"),
        (np.zeros((3, 64, 64), np.int32), "int32.*stored as uint16"),
    ],
)
def test_pixels_of_another_shape_or_type_are_refused(
    store: BlockStore, block: Block, scene: Scene, planes: Any, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        store.put(block, Pinned(scenes=(scene,), block_key="ab" * 32), planes, FetchStats())
    assert not list(store.root.rglob("*.tif"))
