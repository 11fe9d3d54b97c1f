"""A table of places in place of an area: what goes with it, windows, and what is recorded."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.utilities import rank_zero_only

from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import PlacesSpec
from thor_geo.specs import SensorSpec
from thor_geo.specs.sources import EmulatorSpec

ROWS = """plot,lon,lat,day,crop
7,11.95,47.5,2022-07-01,wheat
8,12.05,47.5,2022-06-01,maize
9,12.06,47.5,2022-07-01,
"""


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    path = tmp_path / "survey.csv"
    path.write_text(ROWS)
    return path


def module(tmp_path: Path, survey: Path, **settings: Any) -> CompositeDataModule:
    places = {"file": survey, "date": "day", "days": (-10, 10), **settings.pop("places", {})}
    return CompositeDataModule(
        places=PlacesSpec(**places),
        emulator=EmulatorSpec(),
        cache_dir=tmp_path / "cache",
        **settings,
    )


def test_every_row_has_the_window_around_its_own_date(tmp_path: Path, survey: Path) -> None:
    data = module(tmp_path, survey)
    plan = data.load_plan()
    assert isinstance(plan, PlacePlan)
    spans = {int(plan.place[k]): plan.window_of(k) for k in range(3)}
    assert spans[1].start == dt.datetime(2022, 5, 22, tzinfo=dt.UTC)
    assert spans[1].end == dt.datetime(2022, 6, 12, tzinfo=dt.UTC)  # the tenth day after is in it
    assert spans[0] == spans[2] == plan.windows[1]
    assert data.windows.settings() == {
        "start": "2022-05-22T00:00:00+00:00",
        "end": "2022-07-12T00:00:00+00:00",
    }


def test_without_dates_the_window_is_that_of_the_settings(tmp_path: Path, survey: Path) -> None:
    data = module(
        tmp_path,
        survey,
        places={"date": None, "days": (-45, 45)},
        start="2022-06-01",
        end="2022-09-01",
    )
    plan = data.load_plan()
    assert isinstance(plan, PlacePlan)
    assert [w.start.month for w in plan.windows] == [6]


def test_the_coarsest_band_in_use_moves_the_chips(tmp_path: Path, survey: Path) -> None:
    fine = module(tmp_path, survey, sentinel2=SensorSpec(bands=("B2", "B4"))).load_plan()
    usual = module(tmp_path, survey).load_plan()
    coarse = module(tmp_path, survey, sentinel2=SensorSpec(bands=("B1", "B2"))).load_plan()
    assert [p.lattices[0].step for p in (fine, usual, coarse)] == [1, 2, 6]


def test_the_content_of_the_table_is_recorded(tmp_path: Path, survey: Path) -> None:
    def recorded(text: str) -> Any:
        survey.write_text(text)
        return module(tmp_path, survey, places={"id": "plot"})._table.settings()  # type: ignore[union-attr]

    before = recorded(ROWS)
    assert before["rows"] == 3
    assert before["id"] == "plot"
    assert before["keep"] == ["lon", "lat", "day", "crop"]
    after = recorded(ROWS.replace("maize", "rye"))
    changed = {k for k, v in before["columns"].items() if after["columns"][k] != v}
    assert changed == {next(k for k in before["columns"] if k.endswith("crop"))}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 144}, r"data\.stride=144.*one chip"),
        ({"anchor": (0.0, 0.0)}, r"data\.anchor=.*coarsest band"),
        ({"windows": [["2022-06-01", "2022-07-01"]]}, r"data\.windows=.*its own row"),
        ({"labels": Path("labels.tif")}, r"data\.labels='labels.tif'.*thor-geo probe"),
        ({"start": "2022-06-01"}, r"data\.start='2022-06-01'.*column 'day'"),
        ({"area": AreaSpec(bbox=(1, 2, 3, 4))}, r"data\.area=.*data\.places is given too"),
    ],
)
def test_what_a_table_does_not_go_with_is_refused(
    tmp_path: Path, survey: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module(tmp_path, survey, **settings)


def test_without_dates_at_all_the_settings_are_named(tmp_path: Path, survey: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.start"):
        module(tmp_path, survey, places={"date": None, "days": (-45, 45)})


def test_neither_area_nor_table_names_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.area=None.*data\.places \(file\)"):
        CompositeDataModule(emulator=EmulatorSpec(), cache_dir=tmp_path)


def test_a_tile_that_is_no_whole_number_of_coarse_pixels_is_refused(
    tmp_path: Path, survey: Path
) -> None:
    sensor = SensorSpec(bands=("B1", "B2"))
    with pytest.raises(ConfigError, match=r"data\.tile_size=100.*60 m.*Take 96 or 102"):
        module(tmp_path, survey, tile_size=100, sentinel2=sensor).load_plan()


def test_windows_before_the_first_image_are_refused(tmp_path: Path, survey: Path) -> None:
    survey.write_text(ROWS.replace("2022-06-01", "2016-06-01"))
    with pytest.raises(ConfigError, match=r"2017-03-28"):
        module(tmp_path, survey).load_plan()


def test_training_is_refused(tmp_path: Path, survey: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.places=.*for predict, not for fit"):
        module(tmp_path, survey).setup("fit")


def test_a_folder_takes_the_fields_of_a_table(tmp_path: Path, survey: Path) -> None:
    data = FolderDataModule(
        paths=str(tmp_path), bands=["S2:Red"], places={"file": str(survey), "date": "day"}
    )
    table = data.places_table
    assert table is not None
    assert len(table) == 3
    with pytest.raises(ConfigError, match=r"data\.places=.*fil"):
        FolderDataModule(paths=str(tmp_path), bands=["S2:Red"], places={"fil": str(survey)})
    with pytest.raises(ConfigError, match=r"data\.area=.*over an area or at places"):
        FolderDataModule(
            paths=str(tmp_path),
            bands=["S2:Red"],
            places={"file": str(survey), "date": "day"},
            area={"bbox": [1, 2, 3, 4]},
        )


def test_places_without_files_are_refused_or_skipped(
    tmp_path: Path, survey: Path, write_tif: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the table's places one lies in zone 32, where the file is, and two in zone 33."""
    write_tif(tmp_path / "tif" / "a.tif", np.ones((1, 4, 4), np.uint16), (700_000, 5_300_000))

    def table(on_bad_row: str) -> FolderDataModule:
        return FolderDataModule(
            paths=str(tmp_path / "tif"),
            bands=["S2:Red"],
            places={"file": str(survey), "date": "day", "on_bad_row": on_bad_row},
        )

    with pytest.raises(ConfigError, match=r"2 places .*utm33n.* rows 2 and 3 .*on_bad_row: skip"):
        table("fail").load_plan()
    data = table("skip")
    plan, places = data.load_plan(), data.places_table
    assert isinstance(plan, PlacePlan)
    assert places is not None
    assert plan.place.tolist() == [0]
    assert places.skipped == dict.fromkeys((1, 2), "no file lies in its zone: utm33n")
    assert np.isnan(places.lon[1:]).all()
    assert np.isnat(places.starts[1:]).all()
    assert "2 places of" in caplog.text
    survey.write_text("\n".join(ROWS.splitlines()[:1] + ROWS.splitlines()[2:]))
    with pytest.raises(ConfigError, match="2 places"):
        table("skip").load_plan()


@pytest.mark.parametrize("rank", [0, 1])
def test_one_rank_tells_of_rows_that_are_skipped(
    tmp_path: Path,
    survey: Path,
    rank: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", rank, raising=False)
    survey.write_text(ROWS + "10,,47.5,2022-07-01,rye\n")
    table = module(tmp_path, survey, places={"on_bad_row": "skip"}).places_table
    assert table is not None
    assert list(table.skipped) == [3]
    assert ("1 of 4 rows" in caplog.text) == (rank == 0)
