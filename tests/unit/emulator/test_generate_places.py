"""If one of these fails, the quickstart's table says what is not on the ground."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import rasterio
from pyproj import Transformer

from thor_geo.emulator import Acquisition, ArchiveError, ensure_archive, ensure_places
from thor_geo.emulator.generate_places import COLUMNS, COVERS, DAYS


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_places(tmp_path_factory.mktemp("places") / "places.csv")


def test_every_region_has_places_of_every_cover_on_days_of_the_summer(table: Path) -> None:
    places = pd.read_csv(table)
    assert tuple(places.columns) == COLUMNS
    assert places["plot"].is_unique
    assert set(places.surveyed) == set(DAYS)
    assert places.groupby(["region", "cover"]).size().to_dict() == {
        (f"{y}-{x}", cover.name.lower()): 3
        for y in ("north", "south")
        for x in ("east", "west")
        for cover in COVERS
    }
    assert ((places.lon < 12) == places.region.str.endswith("west")).all()
    assert ((places.lat > 60) == places.region.str.startswith("north")).all()


def test_the_labels_are_those_of_the_scenes(table: Path, tmp_path: Path) -> None:
    """The scene classification of a cloudless scene knows water, vegetation and bare ground."""
    summer = (Acquisition(date="2022-06-20", cloud_cover=0),)
    archive = ensure_archive(tmp_path / "archive", acquisitions=summer, zones=[32632])
    seen = {"water": 6, "conifer": 4, "meadow": 4, "cereal": 4, "built": 5}
    places = pd.read_csv(table)
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(places.lon, places.lat)
    (file,) = archive.glob("*_SCL.tif")
    with rasterio.open(file) as scl:
        classes = [int(value[0]) for value in scl.sample(zip(x, y, strict=True))]
    assert classes == [seen[cover] for cover in places.cover]


def test_a_table_that_is_there_stays_and_the_same_parameters_give_the_same(
    table: Path, tmp_path: Path
) -> None:
    again = ensure_places(tmp_path / "again" / "places.csv")
    assert again.read_bytes() == table.read_bytes()
    again.write_text("mine")
    assert ensure_places(again).read_text() == "mine"


def test_land_without_a_cover_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"`seed=0`: the land has too few places of .* in the"):
        ensure_places(tmp_path / "places.csv", size_m=2400)
    assert not list(tmp_path.iterdir())
