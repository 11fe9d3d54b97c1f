"""Where the emulator's scenes come from: generated archives, or folders of the user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thor_geo.datamodules.sensors import Sensors
from thor_geo.datamodules.source import CompositeSource, disconnect
from thor_geo.emulator import COLLECTIONS, Acquisition, Archive, generate_archive
from thor_geo.errors import ConfigError
from thor_geo.specs import SensorSpec
from thor_geo.specs.sources import EmulatorSpec

SR, TOA, SCORES = COLLECTIONS["sr"], COLLECTIONS["toa"], COLLECTIONS["cloud_score_plus"]


def sensors(**recipe: Any) -> Sensors:
    return Sensors.on_grid(10, SensorSpec(**recipe), None)


def source(*, archive: Path | None = None, cache_dir: Path) -> CompositeSource:
    return CompositeSource(
        source=EmulatorSpec(archive=archive), sensors=sensors(), cache_dir=cache_dir
    )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[Path, str]:
    """Collect which archives would be generated, with small ones in their place."""
    made: dict[Path, str] = {}

    def ensure(folder: Path, product: Any = "sr") -> Path:
        made[folder.relative_to(tmp_path)] = product
        if not folder.is_dir():
            generate_archive(
                folder,
                size_m=240,
                zones=(32632,),
                acquisitions=(Acquisition(date="2022-06-05", cloud_cover=0.1),),
                product=product,
            )
        return folder

    monkeypatch.setattr("thor_geo.emulator.ensure_archive", ensure, raising=False)
    return made


def test_only_the_collections_of_a_run_are_generated(
    made: dict[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, the quickstart waits for scenes that it never shows."""
    monkeypatch.delenv("THOR_GEO_EMULATOR_URL", raising=False)
    root = Path("emulator-archive")
    spec = source(cache_dir=tmp_path)
    plain = spec.connect()
    disconnect(plain)
    assert made == {root: "sr"}
    assert plain.catalogues["S2"] == f"emulator-{Archive.open(tmp_path / root).fingerprint()}"
    made.clear()
    linked = replace(spec, sensors=sensors(mask="cloud_score_plus")).connect()
    disconnect(linked)
    assert made == {root: "sr", root / SCORES: "cloud_score_plus"}
    # Other scores make other pixels: the cache must not mix them up.
    scores = Archive.open(tmp_path / root / SCORES).fingerprint()
    assert linked.catalogues["S2"] == f"{plain.catalogues['S2']}+{scores}"
    made.clear()
    top = replace(spec, sensors=sensors(collection=TOA)).connect()
    disconnect(top)
    assert made == {root: "sr", root / TOA: "toa"}
    assert top.catalogues != plain.catalogues


def test_a_folder_of_ones_own_has_other_collections_below_it(
    made: dict[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, own scenes cannot be masked by scores, or are silently not."""
    monkeypatch.delenv("THOR_GEO_EMULATOR_URL", raising=False)
    scenes = tmp_path / "mine"
    one = (Acquisition(date="2022-06-05", cloud_cover=0.1),)
    generate_archive(scenes, size_m=240, zones=(32632,), acquisitions=one)
    spec = source(archive=scenes, cache_dir=tmp_path / "cache")
    with pytest.raises(ConfigError, match=f"holds no scenes of {SCORES}"):
        replace(spec, sensors=sensors(mask="cloud_score_plus")).connect()
    generate_archive(
        scenes / SCORES, size_m=240, zones=(32632,), acquisitions=one, product="cloud_score_plus"
    )
    connection = replace(spec, sensors=sensors(mask="cloud_score_plus")).connect()
    try:
        assert connection.catalogues["S2"].endswith(Archive.open(scenes / SCORES).fingerprint())
    finally:
        disconnect(connection)
    assert made == {}


def test_only_the_generated_landscape_has_a_table_of_places_and_it_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """If this fails, places of one land are embedded with the pixels of another."""
    monkeypatch.setattr("thor_geo.emulator.ensure_places", lambda file: file, raising=False)
    assert source(cache_dir=tmp_path).places_table() == tmp_path / "emulator-places.csv"
    assert str(tmp_path / "emulator-places.csv") in caplog.text
    caplog.clear()
    assert source(archive=tmp_path / "mine", cache_dir=tmp_path).places_table() is None
    assert not caplog.text
