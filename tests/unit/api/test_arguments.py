"""If these fail, a call ignores what it was told, or fails with words of Python's own."""

from __future__ import annotations

import re
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas
import pytest

from thor_geo import (
    EarthEngineSpec,
    EmulatorSpec,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    Sentinel1Spec,
    StacSpec,
    TemporalSpec,
    get_embedding,
    get_embeddings_batch,
)
from thor_geo.api import EmbeddingOptions, call
from thor_geo.api._source import composite_source
from thor_geo.datamodules.sensors import Sensors
from thor_geo.errors import ConfigError

PLACE = PointBuffer(lon=12.0, lat=60.0, buffer_m=480)
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
PIXELS = np.random.default_rng(0).integers(0, 10_000, (10, 32, 32), dtype=np.uint16)
STAC: dict[str, Any] = {"backend": StacSpec(url="catalog.json")}


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THOR_GEO_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": True}, "`crop=True`: a vector has no cells"),
        ({"backend": "stac"}, r"backend='stac'.*StacSpec\(url=...\)"),
        ({"backend": "aws"}, "backend='aws'.*auto, gee, emulator, stac"),
        ({"backend": 5}, "backend=5.*auto, gee, emulator, stac"),
        ({"backend": EarthEngineSpec(project="a"), "project": "b"}, "project='b'.*project 'a'"),
        ({"emulator_archive": "scenes"}, "emulator_archive='scenes'.*moved into a spec"),
        ({"fetch_worker": 2}, "fetch_worker=2.*Did you mean `fetch_workers`"),
        ({"tempral": WINDOW}, "tempral=.*Did you mean `temporal`"),
        ({**STAC, "sensor": Sentinel1Spec()}, "sentinel1.*Sentinel-2 only"),
        ({**STAC, "sensor": [SensorSpec(), Sentinel1Spec()]}, "sentinel1.*Sentinel-2 only"),
        ({**STAC, "sensor": SensorSpec(mask="cloud_score_plus")}, "mask.*STAC catalogue"),
        ({"output": "raster"}, "output='raster'.*pooled, grid"),
        ({"layers": "last"}, "layers='last'"),
        ({"layers": 1.5}, r"layers=1\.5.*-1"),
        ({"layers": None}, "layers=None"),
        ({"layers": 99}, "layers"),
        ({"sensor": 2}, "sensor=2.*SensorSpec"),
        ({"temporal": ("2022-06-01", "2022-09-01")}, r"temporal=.*TemporalSpec\.range"),
    ],
)
def test_what_has_no_effect_or_no_meaning_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    given = {"temporal": WINDOW, "pretrained": False, **changes}
    with pytest.raises(ConfigError, match=words):
        get_embedding("thor_v1_tiny", spatial=PLACE, **given)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "option",
    [
        {"project": "p"},
        {"backend": EarthEngineSpec(url="http://x")},
        {"backend": EmulatorSpec()},
        STAC,
        {"fetch_workers": 2},
        {"cache_dir": "cache"},
    ],
    ids=str,
)
def test_given_pixels_are_not_fetched_and_nothing_says_how(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=rf"`{name}=.*given as input_chw.*Leave it out"):
        get_embedding("thor_v1_tiny", input_chw=PIXELS, pretrained=False, **option)


def test_one_thing_is_not_a_list_of_them() -> None:
    with pytest.raises(ConfigError, match=r"spatials=PointBuffer.*Give \[place\]"):
        get_embeddings_batch("thor_v1_tiny", spatials=PLACE, temporal=WINDOW)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"input_chw=\(10, 32, 32\).*Give \[image\]"):
        get_embeddings_batch("thor_v1_tiny", input_chw=PIXELS)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`spatials=\[\]`: nothing to embed"):
        get_embeddings_batch("thor_v1_tiny", spatials=[], temporal=WINDOW)
    both = get_embeddings_batch("thor_v1_tiny", input_chw=list(PIXELS[None]), pretrained=False)
    assert len(both) == 1


def test_short_forms_mean_what_they_say() -> None:
    def embed(**more: Any) -> Any:
        return get_embedding("thor_v1_tiny", input_chw=PIXELS, pretrained=False, **more)

    np.testing.assert_array_equal(embed(layers=-2).data, embed(layers=[-2]).data)
    assert embed(layers=np.int64(-2)).meta["layers"] == embed(layers=(10,)).meta["layers"]
    grid = embed(output="grid")
    np.testing.assert_array_equal(grid.data.values, embed(output=OutputSpec.grid()).data.values)


def test_the_window_of_given_pixels_is_recorded() -> None:
    given = {"input_chw": PIXELS, "pretrained": False}
    found = get_embedding("thor_v1_tiny", temporal=WINDOW, **given)  # type: ignore[arg-type]
    assert found.meta["temporal"] == {
        "start": "2022-06-01T00:00:00+00:00",
        "end": "2022-09-01T00:00:00+00:00",
    }
    assert (found.meta["sensor"], found.meta["scenes"]) == (None, None)
    assert get_embedding("thor_v1_tiny", **given).meta["temporal"] is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({}, EarthEngineSpec()),
        ({"backend": "auto"}, EarthEngineSpec()),
        ({"backend": "gee"}, EarthEngineSpec()),
        ({"backend": "gee", "project": "p"}, EarthEngineSpec(project="p")),
        (
            {"backend": EarthEngineSpec(url="http://x"), "project": "p"},
            EarthEngineSpec(project="p", url="http://x"),
        ),
        ({"backend": "emulator"}, EmulatorSpec()),
        ({"backend": "emulator", "project": "p"}, EmulatorSpec()),
        (STAC, StacSpec(url="catalog.json")),
    ],
)
def test_a_name_or_a_spec_says_where_pixels_are_from(options: dict[str, Any], source: Any) -> None:
    sensors = Sensors.on_grid(10, SensorSpec(), None)
    assert composite_source(options, sensors, 8).source == source


def test_a_table_is_for_the_function_that_returns_several() -> None:
    with pytest.raises(ConfigError, match=r"places.*get_embeddings_batch"):
        get_embedding(places="survey.csv")  # type: ignore[call-arg]


def test_columns_of_no_single_type_are_named() -> None:
    frame = pandas.DataFrame({"lon": [12, 12], "lat": [60, 60], "note": [1, "a"]})
    with pytest.raises(ConfigError, match=r"`places='a table of 2 rows'`.*column note"):
        get_embeddings_batch(places=frame, pretrained=False)


def test_both_functions_take_the_same_options_and_explain_each() -> None:
    ours, theirs = (signature(f).parameters for f in (get_embedding, get_embeddings_batch))
    several = {"spatial": "spatials", "raster": "rasters"}
    # A table of one place is a table.
    assert [several.get(name, name) for name in ours] == [n for n in theirs if n != "places"]
    explained = re.findall(r"^ {8}(\w+): ", EmbeddingOptions.__doc__ or "", re.MULTILINE)
    assert explained == list(EmbeddingOptions.__annotations__)


def test_one_call_passes_every_option_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "model",
        "spatial",
        "temporal",
        "input_chw",
        "raster",
        *EmbeddingOptions.__annotations__,
    )
    options: dict[str, Any] = {name: object() for name in names}
    monkeypatch.setattr(call, "get_embeddings_batch", lambda model, **rest: [(model, rest)])
    model, rest = cast(Any, get_embedding)(**options)
    assert model is options.pop("model")
    assert rest.pop("spatials") == [options.pop("spatial")]
    assert rest.pop("input_chw") == [options.pop("input_chw")]
    assert rest.pop("rasters") == [options.pop("raster")]
    assert rest == options


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("credentials", "EarthEngineSpec(credentials=...)"),
        ("service_account_file", "EarthEngineSpec(service_account_file=...)"),
        ("url", "EarthEngineSpec(url=...)"),
        ("emulator_archive", "EmulatorSpec(archive=...)"),
        ("stac_url", "StacSpec(url=...)"),
        ("stac_collection", "StacSpec(url=..., collection=...)"),
        ("stac_assets", "StacSpec(url=..., assets=...)"),
        ("stac_offset", "StacSpec(url=..., offset=...)"),
        ("stac_sign", "StacSpec(url=..., sign=...)"),
    ],
)
def test_an_option_that_moved_into_a_spec_names_it(name: str, spec: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"Pass backend={spec}.")):
        get_embedding("thor_1_0_tiny", spatial=None, **{name: "x"})
