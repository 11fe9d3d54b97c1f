"""Archives: what is refused, what their properties and fingerprints are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.emulator import Archive, ArchiveError
from thor_geo.emulator._archive import earth_engine_name
from thor_geo.emulator._mgrs import mgrs_tile


@pytest.fixture
def folder(tmp_path: Path, write_scenes: Any, stack: Any) -> Path:
    written: Path = write_scenes(tmp_path / "archive", stack(2)[0])
    return written


def test_missing_folder_index_and_raster_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such folder"):
        Archive.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match=r"the folder has no index .*index\.json"):
        Archive.open(tmp_path / "empty")
    (folder / "S1_B2.tif").unlink()
    with pytest.raises(ArchiveError, match=r"the raster S1_B2\.tif is missing"):
        Archive.open(folder)


def test_bad_indices_and_rasters_are_refused(folder: Path) -> None:
    index = folder / "index.json"
    good = json.loads(index.read_text())

    def refused(words: str, **changes: Any) -> None:
        index.write_text(json.dumps({**good, **changes}))
        with pytest.raises(ArchiveError, match=words):
            Archive.open(folder)

    refused("version 2 of the format", version=2)
    refused("no scenes in the index", scenes=[])
    refused("scene ids repeat", scenes=[good["scenes"][0]] * 2)
    refused("has no 'bands'", scenes=[{"id": "a", "properties": {}}])
    bands = [{"name": "B2", "file": "S0_B2.tif", "index": 2}]
    refused("should be number 2 of the file", scenes=[{**good["scenes"][0], "bands": bands}])
    index.write_text("{")
    with pytest.raises(ArchiveError, match="not a readable JSON index"):
        Archive.open(folder)
    index.write_text(json.dumps(good))
    (folder / "S0_B2.tif").write_bytes(b"no raster")
    with pytest.raises(ArchiveError, match="not a readable raster"):
        Archive.open(folder)


def test_fingerprint_tells_archives_apart(folder: Path, tmp_path: Path, write_scenes: Any,
                                          stack: Any) -> None:  # fmt: skip
    first = Archive.open(folder).fingerprint()
    assert len(first) == 64
    same = write_scenes(tmp_path / "copy", stack(2)[0])
    assert Archive.open(same).fingerprint() == first
    raster = folder / "S0_B2.tif"
    raster.write_bytes(raster.read_bytes() + b"\0")
    assert Archive.open(folder).fingerprint() != first
    other = write_scenes(tmp_path / "other", stack(3)[0])
    assert Archive.open(other).fingerprint() != first


def test_foreign_index_is_understood(tmp_path: Path, write_scenes: Any) -> None:
    pixel = np.full((4, 4), 5, dtype=np.uint16)
    scl = np.full((4, 4), 4, dtype=np.uint8)
    bands = {"raw": pixel, "SCL": scl}
    write_scenes(tmp_path, [{"id": "x", "date": "2018-05-01", "bands": bands}])
    (tmp_path / "index.json").unlink()
    entry = {
        "id": "S2_L2A_31UDS_20180501T105029", "datetime": "2018-05-01T10:50:29Z",
        "file": "somewhere/else/x_raw.tif", "bands": ["B02"], "cloud_pct": 12.5,
        "mask_file": "somewhere/else/x_SCL.tif", "mask_kind": "SCL",
    }  # fmt: skip
    (tmp_path / "scenes.json").write_text(json.dumps({"scenes": [entry]}))
    (scene,) = Archive.open(tmp_path).scenes
    assert scene.names == ["B2", "SCL"]
    assert dict(scene.properties) == {
        "system:index": "S2_L2A_31UDS_20180501T105029",
        "system:time_start": 1525171829000,
        "CLOUDY_PIXEL_PERCENTAGE": 12.5,
        "MGRS_TILE": "31UDS",
    }
    (tmp_path / "scenes.json").unlink()
    chip = {key: entry[key] for key in ("id", "datetime", "file", "bands")}
    (tmp_path / "chip.json").write_text(json.dumps([chip]))
    (scene,) = Archive.open(tmp_path).scenes
    assert scene.names == ["B2"]
    assert "CLOUDY_PIXEL_PERCENTAGE" not in scene.properties
    (tmp_path / "chip.json").write_text(json.dumps([{**entry, "mask_kind": "QA60"}]))
    with pytest.raises(ArchiveError, match="mask_kind 'QA60' is unknown"):
        Archive.open(tmp_path)


def test_band_names_follow_earth_engine() -> None:
    names = ["B01", "B02", "B8A", "B10", "B12", "SCL"]
    assert [earth_engine_name(n) for n in names] == ["B1", "B2", "B8A", "B10", "B12", "SCL"]


def test_mgrs_tiles_of_known_places() -> None:
    # Oslo, the zone edge at 12 E 60 N from both sides, Bruges and Cape Town.
    assert mgrs_tile(32632, 597_000, 6_643_000) == "32VNM"
    assert mgrs_tile(32632, 667_000, 6_654_000) == "32VPM"
    assert mgrs_tile(32633, 333_000, 6_654_000) == "33VUG"
    assert mgrs_tile(32631, 501_700, 5_629_300) == "31UES"
    assert mgrs_tile(32734, 262_000, 6_243_000) == "34HBH"
