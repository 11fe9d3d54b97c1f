"""If these fail, one bad scene ends a run, or is left out by one process and not by another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.stac_web import Web
from tests.unit.sources.stac.test_catalogue import BLOCK, FAST, SENSOR, SUMMER, api, made, service
from thor_geo.composites import BlockStore
from thor_geo.composites.produce import produce
from thor_geo.composites.stored import StoredBlock
from thor_geo.errors import BlockError, ConfigError, SceneError, StacError
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.stac import CatalogueSpec
from thor_geo.sources.stac.client import StacClient
from thor_geo.sources.stac.opening import catalogue_name
from thor_geo.sources.stac.recipe import catalogue_spec
from thor_geo.sources.stac.service import Stac
from thor_geo.sources.stac.session import StacSession
from thor_geo.specs import SensorSpec
from thor_geo.specs.sources import StacSpec


def store(folder: Path, sensor: SensorSpec = SENSOR) -> BlockStore:
    return BlockStore(folder, sensor=sensor, window=SUMMER, catalogue="stac-test")


def stored(spec: CatalogueSpec, folder: Path) -> StoredBlock:
    """Return the block as a new process makes it, or finds it."""
    cache = store(folder)
    cache.prepare()
    return cache.get(BLOCK) or produce(cache, service(spec), BLOCK)


def without(web: Web, name: str, folder: Path) -> StoredBlock:
    """Return the block of a catalogue that does not list an item."""
    kept = [item for item in web.items if item["id"] != name]
    every, web.items = web.items, kept
    try:
        return stored(api(web), folder)
    finally:
        web.items = every


def drop_asset(item: dict[str, Any]) -> None:
    del item["assets"]["20m"]


def drop_baseline(item: dict[str, Any]) -> None:
    item["properties"].pop("s2:processing_baseline", None)
    for asset in item["assets"].values():
        asset.pop("raster:bands", None)


def drop_geometry(item: dict[str, Any]) -> None:
    item["geometry"] = None
    for name in ("proj:epsg", "proj:bbox"):
        del item["properties"][name]


def impossible_offset(item: dict[str, Any]) -> None:
    for asset in item["assets"].values():
        asset["raster:bands"] = [{"scale": 1e-4, "offset": -0.7}] * 12


def no_such_file(item: dict[str, Any]) -> None:
    item["assets"]["20m"]["href"] += "f"


def no_raster(item: dict[str, Any]) -> None:
    item["assets"]["20m"]["href"] = item["assets"]["20m"]["href"].rpartition("/")[0] + "/index.json"


BROKEN: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (drop_asset, "has B11 in none of its assets by name"),
    (drop_baseline, "states neither its processing baseline nor an offset"),
    (drop_geometry, "states neither a rectangle"),
    (impossible_offset, "states offset=-0.7"),
    (no_such_file, "has a file for B11 that cannot be read: HTTP 404"),
    (no_raster, "has a file for B11 that cannot be read"),
]


@pytest.mark.parametrize(("damage", "why"), BROKEN, ids=[each.__name__ for each, _ in BROKEN])
def test_a_scene_that_cannot_be_used_is_left_out_and_recorded(
    web: Web, tmp_path: Path, damage: Callable[[dict[str, Any]], None], why: str
) -> None:
    # The file that is no raster; a Web serves whatever lies in the folder.
    name = web.items[1]["id"]
    expected = without(web, name, tmp_path / "expected")
    damage(web.items[1])
    block = stored(api(web), tmp_path / "cache")
    assert [scene.index for scene in block.scenes] == [scene.index for scene in expected.scenes]
    for ours, theirs in zip(block.read(), expected.read(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(block.left_out) == [name]
    assert why in block.left_out[name]
    # What others read is what this process knows, and the files of the cache say it, too.
    again = store(tmp_path / "cache").get(BLOCK)
    assert again is not None
    assert again.left_out == block.left_out
    for record in (tmp_path / "cache").rglob("*.json"):
        assert json.loads(record.read_text())["left_out"] == dict(block.left_out)
    assert expected.left_out == {}


def test_who_pins_first_decides_which_scenes_are_left_out(web: Web, tmp_path: Path) -> None:
    name = web.items[1]["id"]
    cache = store(tmp_path)
    cache.prepare()
    slow = service(api(web))
    listed = slow.scenes(SENSOR, SUMMER, BLOCK, FetchStats())
    assert len(listed.scenes) == 6
    # While a process reads all six, a file is gone for another one, which is faster.
    pixels = slow.pixels

    def overtaken(*args: Any, **more: Any) -> Any:
        planes = pixels(*args, **more)
        if cache.pinned(BLOCK) is None:
            no_such_file(web.items[1])
            faster = produce(cache, service(api(web)), BLOCK)
            assert len(faster.scenes) == 5
        return planes

    slow.pixels = overtaken  # type: ignore[method-assign] # what a race of two processes does
    block = produce(cache, slow, BLOCK)
    assert list(block.left_out) == [name]
    expected = without(web, name, tmp_path / "expected")
    assert block.scenes == expected.scenes
    for ours, theirs in zip(block.read(), expected.read(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_scene_that_comes_back_does_not_change_a_block(web: Web, tmp_path: Path) -> None:
    href = web.items[1]["assets"]["20m"]["href"]
    no_such_file(web.items[1])
    first = stored(api(web), tmp_path)
    web.items[1]["assets"]["20m"]["href"] = href
    # Found in the cache; and made again of the same scenes where its pixels are lost.
    assert stored(api(web), tmp_path) == first
    for path in (tmp_path / "blocks").rglob("*.*"):
        path.unlink()
    again = stored(api(web), tmp_path)
    assert (again.scenes, again.left_out) == (first.scenes, first.left_out)
    np.testing.assert_array_equal(again.read()[0], first.read()[0])


def test_a_pinned_scene_that_is_gone_fails_its_block_and_stays_pinned(
    web: Web, tmp_path: Path
) -> None:
    first = stored(api(web), tmp_path)
    for path in (tmp_path / "blocks").rglob("*.*"):
        path.unlink()
    no_such_file(web.items[1])
    with pytest.raises(SceneError, match=r"404.*data\.stac\.exclude"):
        stored(api(web), tmp_path)
    pinned = store(tmp_path).pinned(BLOCK)
    assert pinned is not None
    assert pinned.scenes == first.scenes


@pytest.mark.parametrize("status", [500, 503, 429])
@pytest.mark.parametrize("path", ["search", "20m.tif"])
def test_a_server_that_fails_is_not_a_missing_scene(
    web: Web, tmp_path: Path, path: str, status: int
) -> None:
    web.faults += [(path, status, {}, b"later")] * 200
    with pytest.raises(BlockError, match="did not answer"):
        stored(api(web), tmp_path)
    assert store(tmp_path).pinned(BLOCK) is None
    web.faults.clear()
    assert len(stored(api(web), tmp_path).scenes) == 6


def test_a_server_that_fails_in_the_middle_of_a_file_is_not_a_missing_scene(
    web: Web, tmp_path: Path
) -> None:
    # GDAL passes no status on when a part of a file that it has opened is refused.
    web.late = 503
    with pytest.raises(BlockError, match="did not answer"):
        stored(api(web), tmp_path)
    assert store(tmp_path).pinned(BLOCK) is None
    web.late = None
    assert stored(api(web), tmp_path).left_out == {}


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.5, 0.9])
def test_a_file_on_a_server_that_is_cut_short_is_a_scene_that_cannot_be_used(
    web: Web, tmp_path: Path, share: float
) -> None:
    name = web.items[1]["id"]
    expected = without(web, name, tmp_path / "expected")
    web.kept[web.items[1]["assets"]["20m"]["href"].rpartition("/")[2]] = share
    block = stored(api(web), tmp_path / "cache")
    assert list(block.left_out) == [name]
    assert "has a file for B11 that cannot be read: " in block.left_out[name]
    for ours, theirs in zip(block.read(), expected.read(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_block_none_of_whose_scenes_can_be_used_fails_and_is_tried_again(
    web: Web, tmp_path: Path
) -> None:
    for item in web.items:
        item["properties"]["kept"] = item["assets"].pop("20m")
    with pytest.raises(BlockError, match="none of the scenes that pass the filters can be used"):
        stored(api(web), tmp_path)
    for item in web.items:
        item["assets"]["20m"] = {**item["properties"]["kept"], "href": f"{web.url}/nothing.tif"}
    with pytest.raises(BlockError, match=r"none of the 6 scenes .* can be used.*404"):
        stored(api(web), tmp_path)
    for item in web.items:
        item["assets"]["20m"] = item["properties"]["kept"]
    assert len(stored(api(web), tmp_path).scenes) == 6


def test_a_named_scene_is_not_left_out(web: Web, tmp_path: Path) -> None:
    sensor = SensorSpec(
        bands=("B4", "B11"), cloudy_pct=100, scenes=tuple(item["id"] for item in web.items)
    )
    no_such_file(web.items[1])
    with pytest.raises(BlockError, match=r"404.*`data\.sentinel2\.scenes`") as failed:
        produce(store(tmp_path, sensor), service(api(web)), BLOCK)
    assert not isinstance(failed.value, SceneError)
    drop_asset(web.items[1])
    with pytest.raises(StacError, match=f"{web.items[1]['id']} has B11 in none"):
        service(api(web)).check(sensor, SUMMER)


def test_items_are_left_out_by_hand_whatever_is_wrong_with_them(web: Web, tmp_path: Path) -> None:
    name = web.items[1]["id"]
    expected = without(web, name, tmp_path / "expected")
    plain = catalogue_name(api(web))
    web.items[1]["assets"] = None
    spec = api(web, exclude=(name,))
    block = stored(spec, tmp_path / "cache")
    assert block.scenes == expected.scenes
    assert block.left_out == {}
    # Other blocks, and so another run.
    assert catalogue_name(spec) != plain
    assert catalogue_name(api(web, exclude=())) == plain
    assert StacSpec(url="x", exclude=["b", "a", "b"]).exclude == ("a", "b")  # type: ignore[arg-type] # as configs give it


@pytest.mark.parametrize("static", [True, False])
def test_an_id_to_leave_out_that_there_is_not_is_named(
    web: Web, archive: Path, static: bool, caplog: pytest.LogCaptureFixture
) -> None:
    exclude = (web.items[1]["id"], "S2A_TYPO")
    spec = CatalogueSpec(url=str(archive), exclude=exclude)
    assert catalogue_name(spec if static else api(web, exclude=exclude))
    assert "data.stac.exclude=['S2A_TYPO']" in caplog.text
    caplog.clear()
    assert catalogue_name(api(web, exclude=exclude[:1]))
    assert "exclude" not in caplog.text


def test_ids_to_leave_out_are_checked_before_any_work() -> None:
    for wrong in ("S2A", [7], [""], {"a": 1}):
        with pytest.raises(ConfigError, match=r"stac\.exclude.*not a list of ids"):
            StacSpec(url="x", exclude=wrong)  # type: ignore[arg-type] # as a config may have it
    with pytest.raises(ConfigError, match=r"stac\.exclude.*scenes names a, too"):
        catalogue_spec(StacSpec(url="x", exclude=("a",)), [SensorSpec(scenes=("a", "b"))])


def test_one_bad_item_does_not_stop_the_opening_and_only_bad_ones_do(web: Web) -> None:
    drop_asset(web.items[0])
    assert catalogue_name(api(web, bands=("B11",)))
    for item in web.items[1:]:
        drop_asset(item)
    with pytest.raises(StacError, match=r"B11 in none.*Nor can 5 other items be used"):
        catalogue_name(api(web, bands=("B11",)))


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archive, tmp_path / "copy")


def gone(path: Path) -> None:
    path.unlink()


def no_json(path: Path) -> None:
    path.write_text("<html>")


def no_item(path: Path) -> None:
    path.write_text('{"type": "Feature", "id": "x"}')


def no_time(path: Path) -> None:
    content = json.loads(path.read_text())
    content["properties"]["datetime"] = "June"
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("damage", [gone, no_json, no_item, no_time])
@pytest.mark.parametrize("served", [True, False])
def test_an_item_of_a_static_catalogue_that_cannot_be_read_is_left_out(
    web: Web, folder: Path, tmp_path: Path, damage: Callable[[Path], None], served: bool
) -> None:
    item = sorted((folder / "items").glob("*T32*"))[0]
    damage(item)
    web.folder = folder
    spec = CatalogueSpec(url=f"{web.url}/catalog.json" if served else str(folder))
    assert catalogue_name(spec)
    block = stored(spec, tmp_path / "cache")
    assert len(block.scenes) == 5
    assert len(block.left_out) == 1


def link(page: Path, rel: str, href: str) -> None:
    content = json.loads(page.read_text())
    content["links"].append({"rel": rel, "href": href})
    page.write_text(json.dumps(content))


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "is a sub-catalogue that is listed in the catalogue, but its file is not there"),
        ("<html>", "is a sub-catalogue that is not JSON"),
        ('{"type": "Feature", "id": "x"}', "is a sub-catalogue that is not a STAC catalogue"),
    ],
)
def test_a_sub_catalogue_that_cannot_be_read_is_left_out_and_named(
    web: Web, folder: Path, tmp_path: Path, content: str | None, why: str, served: bool
) -> None:
    link(folder / "catalog.json", "child", "./2021/catalog.json")
    if content is not None:
        (folder / "2021").mkdir()
        (folder / "2021/catalog.json").write_text(content)
    web.folder = folder
    url = f"{web.url}/catalog.json" if served else str(folder)
    assert catalogue_name(CatalogueSpec(url=url))
    block = stored(CatalogueSpec(url=url), tmp_path / "cache")
    assert len(block.scenes) == 6
    assert list(block.left_out) == ["2021/catalog.json"]
    assert why in block.left_out["2021/catalog.json"]
    # What is left out by hand is not counted.
    known = CatalogueSpec(url=url, exclude=("2021/catalog.json",))
    assert stored(known, tmp_path / "known").left_out == {}


def test_a_server_that_does_not_answer_for_a_sub_catalogue_is_asked_again(
    web: Web, folder: Path
) -> None:
    link(folder / "catalog.json", "child", "./2021/catalog.json")
    web.folder = folder
    web.faults += [("2021", 503, {}, b"later")] * 200
    with pytest.raises(BlockError, match="did not answer"):
        catalogue_name(CatalogueSpec(url=f"{web.url}/catalog.json"))


def test_an_item_listed_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    item = sorted((folder / "items").glob("*T32*"))[0]
    link(folder / "catalog.json", "item", f"./items/{item.name}")
    # A catalogue that lists its root is walked once, too.
    link(folder / "catalog.json", "child", "./catalog.json")
    block = stored(CatalogueSpec(url=str(folder)), tmp_path / "cache")
    assert (len(block.scenes), len(block.left_out)) == (6, 0)


def test_items_with_one_id_are_left_out_as_none_knows_which_is_meant(
    folder: Path, tmp_path: Path
) -> None:
    item = sorted((folder / "items").glob("*T32*"))[0]
    other = json.loads(item.read_text())
    other["properties"]["eo:cloud_cover"] = 1.5
    (folder / "items/other.json").write_text(json.dumps(other))
    link(folder / "catalog.json", "item", "./items/other.json")
    spec = CatalogueSpec(url=str(folder))
    assert catalogue_name(spec)
    block = stored(spec, tmp_path / "cache")
    assert (len(block.scenes), list(block.left_out)) == (5, [other["id"]])
    assert "has an id that another item" in block.left_out[other["id"]]


def test_a_file_that_is_missing_on_this_machine_is_part_of_the_catalogues_name(
    folder: Path, tmp_path: Path
) -> None:
    spec = CatalogueSpec(url=str(folder))
    whole = catalogue_name(spec)
    file = sorted(folder.glob("*T32*_20m.tif"))[0]
    content = file.read_bytes()
    file.unlink()
    assert catalogue_name(spec) != whole
    block = stored(spec, tmp_path / "cache")
    assert (len(block.scenes), len(block.left_out)) == (5, 1)
    file.write_bytes(content)
    assert catalogue_name(spec) == whole


def test_a_block_beside_all_scenes_is_empty_though_one_item_may_be_anywhere(
    web: Web, folder: Path, tmp_path: Path
) -> None:
    item = sorted((folder / "items").glob("*.json"))[0]
    content = json.loads(item.read_text())
    drop_geometry(content)
    item.write_text(json.dumps(content))
    far = service(CatalogueSpec(url=str(folder)))
    block = type(BLOCK)(epsg=32632, size=128, resolution=10, left=0, top=0)
    listed = far.scenes(SENSOR, SUMMER, block, FetchStats())
    assert listed.scenes == ()
    assert len(listed.left_out) == 1


def test_a_retried_file_that_is_whole_again_is_used(web: Web, tmp_path: Path) -> None:
    # An answer of another server in between (a gateway's page with status 200), once.
    web.faults.append(("20m.tif", 200, {}, b"<html>"))
    block = stored(api(web), tmp_path)
    assert len(block.scenes) == 6
    assert block.left_out == {}


def test_a_file_damaged_in_part_is_left_out_of_the_blocks_that_need_the_part(
    web: Web, tmp_path: Path
) -> None:
    source = Stac(StacClient(StacSession(api(web)), concurrency=4, retry=FAST))
    web.garbled = True
    with pytest.raises(BlockError, match="can be used"):
        produce(store(tmp_path), source, BLOCK)
    web.garbled = False
    # Nothing is remembered of it: another block may not need the part.
    assert len(source.scenes(SENSOR, SUMMER, BLOCK, FetchStats()).scenes) == 6
    assert made(source)[0]
