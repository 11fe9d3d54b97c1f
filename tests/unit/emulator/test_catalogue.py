"""If these fail, a folder of scenes cannot be read as the STAC catalogue that it is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pystac
import pytest

from thor_geo.emulator import Archive, ArchiveError, generate_archive, main, write_catalogue


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_archive(tmp_path_factory.mktemp("catalogue") / "scenes", size_m=240)


def test_pystac_reads_what_the_command_writes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Archive.open(folder).fingerprint()
    assert main(["--stac", str(folder)]) == 0
    assert str(folder / "catalog.json") in capsys.readouterr().out
    # The archive is what it was.
    assert Archive.open(folder).fingerprint() == before
    items = list(pystac.Catalog.from_file(str(folder / "catalog.json")).get_items())
    scenes = {str(scene.properties["system:index"]): scene for scene in Archive.open(folder).scenes}
    assert sorted(item.id for item in items) == sorted(scenes)
    for item in items:
        properties = scenes[item.id].properties
        assert item.datetime.timestamp() * 1000 == properties["system:time_start"]
        assert item.properties["eo:cloud_cover"] == properties["CLOUDY_PIXEL_PERCENTAGE"]
        assert item.properties["s2:mgrs_tile"] == properties["MGRS_TILE"]
        assert sorted(item.assets) == ["10m", "20m", "60m", "SCL"]
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href()).is_file()
        # The footprint's corners are its raster's.
        west, south, east, north = item.bbox
        assert 11 < west < 12 < east < 13
        assert 59 < south < 60 < north < 61


def test_writing_it_again_gives_the_same(folder: Path) -> None:
    root = write_catalogue(folder)
    before = root.read_bytes()
    assert write_catalogue(folder).read_bytes() == before


def test_an_id_that_is_not_a_file_name_is_refused(folder: Path, tmp_path: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    index["scenes"] = index["scenes"][:1]
    index["scenes"][0]["id"] = "../a"
    for band in index["scenes"][0]["bands"]:
        (tmp_path / band["file"]).write_bytes((folder / band["file"]).read_bytes())
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(ArchiveError, match=r"'\.\./a' cannot be the name of a file"):
        write_catalogue(tmp_path)
