"""If this fails, a Python call from a STAC catalogue gives other numbers than one without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from thor_geo import (
    Area,
    EmulatorSpec,
    OutputSpec,
    SensorSpec,
    StacSpec,
    TemporalSpec,
    get_embeddings_batch,
)
from thor_geo.emulator import write_catalogue

SENSOR = SensorSpec(cloudy_pct=60, mask="scl")
# On both sides of the border of two UTM zones, where the archive's scenes are.
PLACES = [
    Area(geometry=shapely.box(11.985, 59.99, 11.995, 60.0), source="west"),
    Area(geometry=shapely.box(12.005, 59.99, 12.015, 60.0), source="east"),
]


@pytest.fixture(scope="module")
def catalogue(archive: Path) -> Path:
    write_catalogue(archive)
    return archive


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache for both kinds of output: its keys tell a catalogue from the emulator."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("output", ["pooled", "grid"])
def test_a_catalogue_gives_the_emulators_embeddings_bit_for_bit(
    catalogue: Path, cache: Path, output: str
) -> None:
    def embed(**source: Any) -> Any:
        return get_embeddings_batch(
            "thor_v1_tiny",
            spatials=PLACES,
            temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
            sensor=SENSOR,
            output=OutputSpec(kind=output),  # type: ignore[arg-type]
            pretrained=False,
            cache_dir=cache,
            **source,
        )

    emulated = embed(backend=EmulatorSpec(archive=catalogue))
    for url in (str(catalogue), str(catalogue / "catalog.json")):
        backend = StacSpec(url=url)
        for ours, theirs in zip(embed(backend=backend), emulated, strict=True):
            assert np.isfinite(np.asarray(ours.data)).all()
            np.testing.assert_array_equal(np.asarray(ours.data), np.asarray(theirs.data))
            assert ours.meta["scenes"] == theirs.meta["scenes"] != []
            provider = ours.meta["provider"]
            assert provider["backend"] == "stac"
            assert provider["stac"]["url"] == url
            assert provider["catalogues"][0].startswith("stac-")
    # Another statement about the items is another catalogue, and other pixels.
    shifted = embed(backend=StacSpec(url=str(catalogue), offset=-100))
    assert not np.array_equal(np.asarray(shifted[0].data), np.asarray(emulated[0].data))
    assert shifted[0].meta["provider"]["stac"]["offset"] == -100


def test_scenes_that_could_not_be_used_are_in_the_metadata(
    catalogue: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(catalogue, tmp_path / "scenes")
    path = sorted((folder / "items").glob("*T32*.json"))[0]
    item = json.loads(path.read_text())
    file = folder / Path(item["assets"]["20m"]["href"]).name
    file.unlink()
    (embedding,) = get_embeddings_batch(
        "thor_v1_tiny",
        spatials=PLACES[:1],
        temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
        sensor=SENSOR,
        pretrained=False,
        cache_dir=tmp_path / "cache",
        backend=StacSpec(url=str(folder)),
    )
    why = f"has a file for B5 that cannot be read: {file.name} is not there"
    assert embedding.meta["scenes_left_out"] == {item["id"]: why}
    assert item["id"] not in embedding.meta["scenes"] != []
    assert f"is made without the scene {item['id']}: it {why}" in caplog.text
