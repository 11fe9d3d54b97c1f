"""If one of these fails, a Sentinel-1 composite is not of the scenes or the values it claims."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ee
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

from thor_geo.emulator import EmulatorServer
from thor_geo.errors import ConfigError, EarthEngineError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine._expression import prepared_composite, prepared_query
from thor_geo.sources.earthengine._sensors import composite, scene_query
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.fetch import fetch_block, fetch_scenes
from thor_geo.sources.earthengine.recipe import block_key
from thor_geo.sources.earthengine.recipe_s1 import parse_sentinel1
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.scenes import OBSERVATIONS, Sentinel1Scene, provenance
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import Sentinel1Spec

BLOCK = Block(epsg=32632, size=64, resolution=10, left=640, top=6400)
JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")
SPEC = Sentinel1Spec()
COLLECTION = "COPERNICUS/S1_GRD"

# Day, orbit pass, mode and polarisations; the last four pass no filter of SPEC.
SCENES: dict[str, tuple[int, str, str, list[str]]] = {
    "asc1": (3, "ASCENDING", "IW", ["VV", "VH"]),
    "asc2": (15, "ASCENDING", "IW", ["VV", "VH"]),
    "desc1": (8, "DESCENDING", "IW", ["VV", "VH"]),
    "desc2": (20, "DESCENDING", "IW", ["VV", "VH"]),
    "late": (40, "DESCENDING", "IW", ["VV", "VH"]),
    "wide": (5, "ASCENDING", "EW", ["HH", "HV"]),
    "single": (6, "ASCENDING", "IW", ["VV"]),
    "ice": (7, "DESCENDING", "IW", ["HH", "HV"]),
}
USED = ("asc1", "asc2", "desc1", "desc2")


def decibels(name: str) -> npt.NDArray[np.float32]:
    """Return the made-up backscatter of a scene, (bands, 64, 64), NaN where there is none."""
    bands = SCENES[name][3]
    rng = np.random.default_rng(sorted(SCENES).index(name))
    values = rng.normal(-14, 6, (len(bands), 64, 64)).astype(np.float32)
    # Halves of a stored unit on either side of zero, and 0 dB, which is a value like any other.
    values[:, 0, :4] = [-12.125, 12.125, 0.0, -400.0]
    values[0, :8] = np.where(rng.random((8, 64)) < 0.5, np.nan, values[0, :8])
    values[:, 60:] = np.nan
    return values


@pytest.fixture(scope="module")
def radar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the user's own GeoTIFFs, with the index that docs/emulator.md describes."""
    folder = tmp_path_factory.mktemp("radar")
    left, _, _, top = BLOCK.bounds
    entries = []
    for name, (day, orbit, mode, bands) in SCENES.items():
        with rasterio.open(
            folder / f"{name}.tif",
            "w",
            driver="GTiff",
            width=64,
            height=64,
            count=len(bands),
            dtype="float32",
            nodata=np.nan,
            crs="EPSG:32632",
            transform=from_origin(left, top, 10, 10),
        ) as file:
            file.write(decibels(name))
        month, number = (6, day) if day <= 30 else (7, day - 30)
        entries.append(
            {
                "id": name,
                "datetime": f"2022-{month:02d}-{number:02d}T17:00:00Z",
                "file": f"{name}.tif",
                "bands": bands,
                "instrument_mode": mode,
                "orbit_pass": orbit,
                "relative_orbit": 44 if orbit == "ASCENDING" else 66,
            }
        )
    (folder / "scenes.json").write_text(json.dumps({"scenes": entries}))
    return folder


@pytest.fixture
def client(radar: Path) -> Iterator[EarthEngineClient]:
    with EmulatorServer({COLLECTION: radar}) as server:
        client = EarthEngineClient(
            EarthEngineSession(SessionSpec(credentials="anonymous", url=server.url))
        )
        client.connect()
        yield client


def fetched(client: EarthEngineClient, spec: Sentinel1Spec) -> tuple[list[str], Any]:
    scenes = fetch_scenes(client, spec, JUNE, BLOCK)
    image = composite(spec, JUNE, BLOCK, scenes)
    names = (*spec.bands, OBSERVATIONS)
    return [scene.index for scene in scenes], fetch_block(
        client, BLOCK, image, names, dtype="int16"
    )


def expected(names: list[str], bands: tuple[str, ...], reduce: Any) -> npt.NDArray[np.int16]:
    """Compute the composite with NumPy: reduced in dB, in hundredths, halves up, -32768 if none."""
    stacks = [
        np.stack([decibels(name)[SCENES[name][3].index(band)] for name in names]) for band in bands
    ]
    planes = []
    for stack in stacks:
        empty = np.isnan(stack).all(axis=0)
        with np.errstate(all="ignore"):
            value = reduce(np.where(empty, 0.0, stack.astype(np.float64)), axis=0)
        units = np.clip(np.floor(value * 100 + 0.5), -32767, 32767)
        planes.append(np.where(empty, -32768, units))
    seen = np.all([~np.isnan(stack) for stack in stacks], axis=0).sum(axis=0)
    return np.stack([*planes, seen]).astype(np.int16)


@pytest.mark.parametrize(("name", "reduce"), [("median", np.nanmedian), ("mean", np.nanmean)])
def test_composites_equal_numpys(client: EarthEngineClient, name: Any, reduce: Any) -> None:
    names, pixels = fetched(client, replace(SPEC, composite=name))
    assert names == list(USED)
    assert pixels.dtype == np.int16
    np.testing.assert_array_equal(pixels, expected(names, ("VV", "VH"), reduce))
    assert (pixels[-1, 60:] == 0).all()
    assert (pixels[:2, 60:] == -32768).all()


def test_halves_are_rounded_up_and_zero_is_a_value(client: EarthEngineClient) -> None:
    with_one = replace(SPEC, polarisations=("VH",))
    _, pixels = fetched(client, with_one)
    # -400 dB is clamped: the lowest value of int16 means no data.
    assert pixels[0, 0, :4].tolist() == [-1212, 1213, 0, -32767]
    assert pixels[1, 0, :4].tolist() == [4, 4, 4, 4]


def test_another_order_of_polarisations_is_another_order_of_planes(
    client: EarthEngineClient,
) -> None:
    _, there = fetched(client, SPEC)
    _, back = fetched(client, replace(SPEC, polarisations=("VH", "VV")))
    np.testing.assert_array_equal(there[[1, 0, 2]], back)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (replace(SPEC, orbit="ascending"), ["asc1", "asc2"]),
        (replace(SPEC, orbit="descending"), ["desc1", "desc2"]),
        (replace(SPEC, polarisations=("VV",), orbit="ascending"), ["asc1", "asc2", "single"]),
        (replace(SPEC, polarisations=("HH", "HV")), ["ice"]),
        (replace(SPEC, polarisations=("HH",), mode="EW"), ["wide"]),
    ],
)
def test_mode_polarisation_and_orbit_really_filter(
    client: EarthEngineClient, spec: Sentinel1Spec, names: list[str]
) -> None:
    found, pixels = fetched(client, spec)
    assert found == names
    np.testing.assert_array_equal(pixels, expected(names, spec.bands, np.nanmedian))


def test_scenes_say_from_which_side_they_look(client: EarthEngineClient) -> None:
    scenes = fetch_scenes(client, SPEC, JUNE, BLOCK)
    assert scenes[0] == Sentinel1Scene(
        index="asc1",
        time_start="2022-06-03T17:00:00.000Z",
        orbit_pass="ASCENDING",
        relative_orbit=44,
    )
    assert Sentinel1Scene.from_dict(scenes[0].to_dict()) == scenes[0]


def test_an_empty_orbit_falls_through_only_when_asked_and_says_so(
    client: EarthEngineClient,
) -> None:
    # In the first week there are ascending scenes only.
    week = TemporalSpec.range("2022-06-01", "2022-06-08")
    strict = replace(SPEC, orbit="descending")
    assert fetch_scenes(client, strict, week, BLOCK) == ()

    loose = replace(strict, orbit_fallback=True)
    (scene,) = fetch_scenes(client, loose, week, BLOCK)
    assert (scene.index, provenance(loose, [scene])) == ("asc1", {"orbit_fallback": True})
    # Where the pass was taken, the other one stays out.
    scenes = fetch_scenes(client, loose, JUNE, BLOCK)
    assert [scene.index for scene in scenes] == ["desc1", "desc2"]
    assert provenance(loose, scenes) == {"orbit_fallback": False}


def test_a_filled_graph_is_the_one_that_the_client_would_build(client: EarthEngineClient) -> None:
    for spec in (SPEC, replace(SPEC, orbit="ascending", composite="mean", polarisations=("VV",))):
        scenes = fetch_scenes(client, spec, JUNE, BLOCK)
        built = ee.serializer.encode(composite(spec, JUNE, BLOCK, scenes))
        assert prepared_composite(spec, JUNE, BLOCK, scenes).graph == built
        query = ee.serializer.encode(scene_query(spec, JUNE, BLOCK))
        assert prepared_query(spec, JUNE, BLOCK).graph == query


@pytest.mark.usefixtures("client")
def test_the_key_follows_everything_that_changes_pixels() -> None:
    def key(spec: Sentinel1Spec, *names: str) -> str:
        scenes = [
            Sentinel1Scene(index=name, time_start=None, orbit_pass=None, relative_orbit=None)
            for name in names
        ]
        return block_key(composite(spec, JUNE, BLOCK, scenes), spec, BLOCK, "earthengine")

    keys = [
        key(SPEC, "a"),
        key(SPEC, "a", "b"),
        key(replace(SPEC, composite="mean"), "a"),
        key(replace(SPEC, polarisations=("VH", "VV")), "a"),
        key(replace(SPEC, collection="COPERNICUS/S1_OTHER"), "a"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(SPEC, "b", "a") == keys[1]


@pytest.mark.parametrize(
    "answer", [None, {"list": [["a", 1]]}, {"list": [[1, 1, None, None]]}, {"list": [["a", "b"]]}]
)
def test_an_odd_list_of_scenes_is_refused_not_guessed_at(answer: Any) -> None:
    with pytest.raises(EarthEngineError):
        parse_sentinel1(SPEC, answer)


@pytest.mark.usefixtures("client")
def test_a_composite_of_no_scenes_is_refused() -> None:
    with pytest.raises(ConfigError, match="scenes"):
        composite(SPEC, JUNE, BLOCK, ())
