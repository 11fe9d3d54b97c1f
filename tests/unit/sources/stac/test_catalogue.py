"""If these fail, a catalogue's scenes are missed, doubled or mixed, or its errors say nothing."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.stac_web import Web
from thor_geo.emulator import Archive
from thor_geo.errors import (
    BlockError,
    ConfigError,
    SceneError,
    StacError,
    StacUnreachableError,
    ThorGeoError,
)
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import FetchStats, RetryPolicy
from thor_geo.sources.stac import CatalogueSpec
from thor_geo.sources.stac.client import StacClient
from thor_geo.sources.stac.listing import boxes_around
from thor_geo.sources.stac.opening import catalogue_coverage, catalogue_name
from thor_geo.sources.stac.recipe import catalogue_spec
from thor_geo.sources.stac.service import Stac
from thor_geo.sources.stac.session import StacSession
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec
from thor_geo.specs.sources import StacSpec

SENSOR = SensorSpec(bands=("B4", "B11"), cloudy_pct=100)
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
#: Over the upper left corner of the scenes in zone 32 (see `conftest.archive`).
BLOCK = Block(epsg=32632, size=128, resolution=10, left=66_560, top=665_660)
FAST = RetryPolicy(tries=3, throttled_tries=3, unreachable_s=0.2, base_s=0.01, cap_s=0.02)


def service(spec: CatalogueSpec) -> Stac:
    return Stac(StacClient(StacSession(spec), concurrency=4, retry=FAST))


def api(web: Web, **more: Any) -> CatalogueSpec:
    return CatalogueSpec(url=f"{web.url}/api", collection="made-up", **more)


def made(source: Stac, sensor: SensorSpec = SENSOR) -> tuple[list[str], Any]:
    """Return ids and planes of the block."""
    scenes = source.scenes(sensor, SUMMER, BLOCK, FetchStats()).scenes
    _, image = source.image(sensor, SUMMER, BLOCK, scenes, "c")
    planes = source.pixels(sensor, BLOCK, image, FetchStats())
    return [scene.index for scene in scenes], planes


def test_an_api_a_served_catalogue_and_one_on_disk_give_the_same(web: Web, archive: Path) -> None:
    ids, planes = made(service(CatalogueSpec(url=str(archive))))
    assert len(ids) == 6
    assert planes[-1].max() == 6
    for spec in (api(web), CatalogueSpec(url=f"{web.url}/catalog.json")):
        other, same = made(service(spec))
        assert other == ids
        np.testing.assert_array_equal(same, planes)
    # Three pages of two, and the items that were listed are not asked for again.
    assert [query.get("token") for query in web.searches] == [None, 2, 4]


def test_scenes_cloudier_than_the_limit_are_left_out_and_unknown_ones_pass(
    web: Web, archive: Path
) -> None:
    clouds = sorted(item["properties"]["eo:cloud_cover"] for item in web.items)
    sensor = SensorSpec(cloudy_pct=clouds[2])
    assert len(service(api(web)).scenes(sensor, SUMMER, BLOCK, FetchStats()).scenes) == 3
    for item in web.items:
        del item["properties"]["eo:cloud_cover"]
    assert len(service(api(web)).scenes(sensor, SUMMER, BLOCK, FetchStats()).scenes) == 6


def test_the_end_of_the_window_is_not_in_it(web: Web) -> None:
    times = sorted({item["properties"]["datetime"] for item in web.items})
    window = TemporalSpec(start=SUMMER.start, end=parsed(times[1]))
    scenes = service(api(web)).scenes(SENSOR, window, BLOCK, FetchStats()).scenes
    assert {scene.time_start for scene in scenes} == {times[0]}


def parsed(text: str) -> Any:
    import datetime as dt

    return dt.datetime.fromisoformat(text)


def test_pinned_scenes_are_asked_for_by_id_and_one_that_is_gone_is_named(web: Web) -> None:
    first = service(api(web))
    scenes = first.scenes(SENSOR, SUMMER, BLOCK, FetchStats()).scenes
    _, image = first.image(SENSOR, SUMMER, BLOCK, scenes, "c")
    web.searches.clear()
    later = service(api(web))
    later.pixels(SENSOR, BLOCK, image, FetchStats())
    assert sorted(web.searches[0]["ids"]) == [scene.index for scene in scenes]
    gone = web.items.pop()["id"]
    with pytest.raises(SceneError, match=f"Item '{gone}' is no longer in the catalogue"):
        service(api(web)).pixels(SENSOR, BLOCK, image, FetchStats())


@pytest.mark.parametrize(
    ("path", "status", "headers"),
    [("search", 503, {}), ("search", 429, {"Retry-After": "0"}), ("_10m.tif", 503, {})],
)
def test_what_passes_is_asked_for_again(
    web: Web, archive: Path, path: str, status: int, headers: dict[str, str]
) -> None:
    _, planes = made(service(CatalogueSpec(url=str(archive))))
    web.faults += [(path, status, headers, b"later")] * 2
    source, stats = service(api(web)), FetchStats()
    scenes = source.scenes(SENSOR, SUMMER, BLOCK, stats).scenes
    _, image = source.image(SENSOR, SUMMER, BLOCK, scenes, "c")
    got = source.pixels(SENSOR, BLOCK, image, stats)
    np.testing.assert_array_equal(got, planes)
    assert not web.faults
    assert stats.retries >= 1


def test_what_does_not_pass_is_given_up_for_the_block_alone(web: Web) -> None:
    web.faults += [("search", 503, {}, b"later")] * 3
    with pytest.raises(BlockError, match=r"The STAC catalogue did not answer .* in 3 tries.*503"):
        service(api(web)).scenes(SENSOR, SUMMER, BLOCK, FetchStats())


@pytest.mark.parametrize(
    ("path", "status", "error", "match"),
    [
        ("search", 401, StacError, "`data.stac.sign"),
        ("search", 400, StacError, "HTTP 400: no such thing.*check `data.stac.url`"),
        ("search", 413, StacError, "HTTP 413"),
        ("_10m.tif", 403, StacError, r"B4 of item .*`data\.stac\.sign: planetary_computer`"),
        ("_20m.tif", 404, BlockError, r"Item .* has a file for B11 that cannot be read.*404"),
    ],
)
def test_a_refusal_says_what_to_do(
    web: Web, path: str, status: int, error: type[ThorGeoError], match: str
) -> None:
    web.faults += [(path, status, {}, b"no such thing")] * 9
    with pytest.raises(error, match=match):
        made(service(api(web)))


def test_a_file_that_is_damaged_fails_its_block_alone(archive: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(archive, tmp_path / "copy")
    next(folder.glob("*32632*_20m.tif"), next(folder.glob("*_20m.tif"))).write_bytes(b"II*\0")
    for broken in folder.glob("*_20m.tif"):
        broken.write_bytes(b"II*\0 no raster")
    with pytest.raises(BlockError, match=r"has a file for B11 that cannot be read"):
        made(service(CatalogueSpec(url=str(folder))))


def test_an_address_where_nobody_answers_is_said_to_be_one() -> None:
    with pytest.raises(StacUnreachableError, match=r"127\.0\.0\.1:9 could not be reached"):
        service(CatalogueSpec(url="http://127.0.0.1:9")).client.connect()


def test_what_is_waited_for_is_told_at_once_and_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    client = StacClient(
        StacSession(CatalogueSpec(url="http://127.0.0.1:9")),
        retry=RetryPolicy(unreachable_s=100),
        sleep=sleep,
        clock=lambda: now[0],
    )
    with pytest.raises(StacUnreachableError):
        client.connect()
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert 3 <= len(told) <= 5
    for record in told:
        assert "Waiting for http://127.0.0.1:9: its root, for " in record.message
        assert "(up to 100 s without a connection). Failed to" in record.message
        assert "retries" not in record.message, "urllib3's, which are none of ours"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"type": "Feature"}'])
def test_what_is_not_a_catalogue_is_refused_as_such(web: Web, body: bytes) -> None:
    web.faults.append(("/api", 200, {}, body))
    with pytest.raises(StacError, match="is not the root of a STAC catalogue"):
        service(api(web)).client.connect()


def test_settings_of_the_catalogue_are_refused_before_anything_is_contacted() -> None:
    for match, more in (
        ("stac.url", {"url": "s3://bucket/catalog.json"}),
        ("stac.assets", {"url": "x", "assets": {"B10": "cirrus"}}),
        ("stac.assets", {"url": "x", "assets": {"B4": "red 1"}}),
        ("stac.offset", {"url": "x", "offset": -0.1}),
        ("stac.sign", {"url": "x", "sign": "me"}),
    ):
        with pytest.raises(ConfigError, match=match):
            CatalogueSpec(**more)


def test_a_path_without_a_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stac\.url.*no STAC catalogue is there.*--stac DIR"):
        catalogue_name(CatalogueSpec(url=str(tmp_path)))


def test_an_api_needs_a_collection_and_one_that_it_has(web: Web) -> None:
    with pytest.raises(ConfigError, match=r"stac\.collection=None"):
        catalogue_name(CatalogueSpec(url=f"{web.url}/api"))
    with pytest.raises(ConfigError, match=r"stac\.collection='other'.*no item"):
        catalogue_name(CatalogueSpec(url=f"{web.url}/api", collection="other"))


@pytest.mark.parametrize("collection", [None, "made-up"])
def test_the_address_of_a_collection_is_answered_with_the_root_to_set(
    web: Web, collection: str | None
) -> None:
    page = f"{web.url}/api/collections/made-up"
    with pytest.raises(ConfigError) as refused:
        catalogue_name(CatalogueSpec(url=page, collection=collection))
    assert "it is a collection of the API" in str(refused.value)
    # The remedy works.
    assert f"Set `data.stac.url` to {web.url}/api and `data.stac.collection` to made-up." in str(
        refused.value
    )
    assert catalogue_name(CatalogueSpec(url=f"{web.url}/api", collection="made-up"))


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("conforms", [True, False])
def test_an_api_that_has_a_link_for_it_is_searched_by_its_method(
    web: Web, archive: Path, method: str, conforms: bool
) -> None:
    ids, planes = made(service(CatalogueSpec(url=str(archive))))
    web.method, web.conforms = method, conforms
    other, same = made(service(api(web)))
    assert other == ids
    np.testing.assert_array_equal(same, planes)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_page_without_items_is_not_the_last_one(web: Web, method: str) -> None:
    web.method, web.empty_page = method, True
    assert len(made(service(api(web)))[0]) == 6


def test_pages_that_go_round_in_a_circle_are_refused(web: Web) -> None:
    again = {"type": "FeatureCollection", "features": [], "links": [web._next({}, 0)]}
    web.faults += [("search", 200, {}, json.dumps(again).encode())] * 3
    with pytest.raises(StacError, match="without end"):
        service(api(web)).scenes(SENSOR, SUMMER, BLOCK, FetchStats())


def test_what_a_catalogue_covers_is_told_in_the_words_of_the_settings(
    web: Web, archive: Path
) -> None:
    static = catalogue_coverage(CatalogueSpec(url=str(archive)))
    assert static.box is not None
    west, south, east, north = static.box
    assert west < 12 < east
    assert south < 60 < north + 0.1
    assert f"{north - south:.2f}" == "0.02"  # 2400 m
    assert (static.first, static.last) == ("2022-06-05", "2022-08-05")
    emulator = Archive.open(archive).coverage()
    np.testing.assert_allclose(static.box, emulator.box or (), atol=1e-5)
    assert str(emulator).startswith(f"bbox [{west:.3f}, {south:.3f}, ")
    spatial, temporal = {"bbox": [[1, 2, 3, 4]]}, {"interval": [["2015-06-27T10:25:31Z", None]]}
    web.extent = {"extent": {"spatial": spatial, "temporal": temporal}}
    assert (
        str(catalogue_coverage(api(web))) == "bbox [1.000, 2.000, 3.000, 4.000], 2015-06-27 to now"
    )
    spatial["bbox"] = [[1, 2, -9, 3, 4, 99]]
    assert catalogue_coverage(api(web)).box == (1, 2, 3, 4)
    web.extent = {}
    assert str(catalogue_coverage(api(web))) == "an extent that it does not state"


def test_a_static_catalogue_lists_its_collections(archive: Path) -> None:
    with pytest.raises(ConfigError, match=r"Choose from: None"):
        catalogue_name(CatalogueSpec(url=str(archive), collection="other"))


def test_bands_are_looked_for_before_any_work(archive: Path) -> None:
    spec = CatalogueSpec(url=str(archive), bands=("B4",), assets={"B4": "stack"})
    with pytest.raises(StacError, match=r"B4.*`stack`, which it does not have.*10m \(B2, B3"):
        catalogue_name(spec)


def test_the_name_of_a_catalogue_on_disk_is_that_of_its_content(
    archive: Path, tmp_path: Path
) -> None:
    name = catalogue_name(CatalogueSpec(url=str(archive)))
    copy = shutil.copytree(archive, tmp_path / "copy")
    assert catalogue_name(CatalogueSpec(url=str(copy / "catalog.json"))) == name
    others = [
        CatalogueSpec(url=str(archive), offset=-1000),
        CatalogueSpec(url=str(archive), assets={"B4": "10m#3"}),
    ]
    names = {name, *map(catalogue_name, others)}
    band = next(copy.glob("*_60m.tif"))
    content = bytearray(band.read_bytes())
    content[-1] ^= 1
    band.write_bytes(content)
    names.add(catalogue_name(CatalogueSpec(url=str(copy))))
    item = next((copy / "items").glob("*.json"))
    item.write_text(item.read_text().replace('"offset": 0', '"offset": -0.1'))
    names.add(catalogue_name(CatalogueSpec(url=str(copy))))
    assert len(names) == 5


def test_the_name_of_a_served_catalogue_leaves_login_and_query_out(web: Web) -> None:
    plain = catalogue_name(api(web))
    host = web.url.removeprefix("http://")
    signed = CatalogueSpec(url=f"http://ann:secret@{host}/api/?sig=planted", collection="made-up")
    assert signed.endpoint == f"{web.url}/api/"
    assert catalogue_name(signed) == plain
    served = catalogue_name(CatalogueSpec(url=f"{web.url}/catalog.json"))
    assert served != plain
    web.folder = Path("/nowhere")
    root = {"type": "Catalog", "id": "x", "description": "", "stac_version": "1.0.0"}
    item = web.items[0]
    links = [{"rel": "item", "href": f"{web.url}/one.json"}]
    answers = [("catalog.json", {**root, "links": links}), ("one.json", item)]
    web.faults += [(path, 200, {}, json.dumps(body).encode()) for path, body in answers] * 3
    assert catalogue_name(CatalogueSpec(url=f"{web.url}/catalog.json")) not in (plain, served)


def test_a_signature_is_neither_logged_nor_part_of_the_key(
    web: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    from types import ModuleType

    from thor_geo.support.redact import redact

    signer = ModuleType("planetary_computer")
    signed: list[str] = []

    def sign_url(href: str) -> str:
        signed.append(href)
        return f"{href}?st=1&sig=planted"

    signer.sign_url = sign_url  # type: ignore[attr-defined] # a stand-in for the package
    monkeypatch.setitem(sys.modules, "planetary_computer", signer)
    source = service(api(web, sign="planetary_computer"))
    scenes = source.scenes(SENSOR, SUMMER, BLOCK, FetchStats()).scenes
    key, image = source.image(SENSOR, SUMMER, BLOCK, scenes, "c")
    assert key == service(api(web)).image(SENSOR, SUMMER, BLOCK, scenes, "c")[0]
    caplog.set_level(logging.DEBUG)
    web.faults.append(("_10m.tif", 503, {}, b"later"))
    source.pixels(SENSOR, BLOCK, image, FetchStats())
    assert signed
    assert any("sig=planted" in path for path in web.asked)
    web.faults += [("_10m.tif", 403, {}, b"no")] * 9
    with pytest.raises(StacError) as refused:
        service(api(web, sign="planetary_computer")).pixels(SENSOR, BLOCK, image, FetchStats())
    assert "planted" not in str(refused.value)
    # As `redact_output` prints it.
    assert "planted" not in redact(caplog.text)


def test_a_block_at_the_antimeridian_is_asked_for_in_two_boxes() -> None:
    # 180 E lies at an easting of 834 km at the equator's zone 60.
    block = Block(epsg=32660, size=576, resolution=10, left=83_100, top=576)
    (west, *_, east, _), (west_2, *_, east_2, _) = boxes_around(block)
    assert west < 180.0 == east
    assert west_2 == -180.0 < east_2


@pytest.mark.parametrize(
    ("sensor", "match"),
    [
        (SensorSpec(mask="cloud_score_plus"), r"mask='cloud_score_plus'.*STAC"),
        (Sentinel1Spec(), r"sentinel1=.*Sentinel-2 only"),
    ],
)
def test_what_a_catalogue_cannot_do_is_refused_at_once(sensor: AnySensor, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        catalogue_spec(StacSpec(url="catalog.json"), [sensor])
