"""If these fail, a row of a user's table is embedded elsewhere, at another time, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.errors import ConfigError
from thor_geo.ground.places import PlacesSpec


def test_a_table_gives_places_windows_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("plot,lon,lat,day,crop\na,11.5,60,2021-06-01,maize\nb,12,61,2022-01-01,\n")
    places = PlacesSpec(file=path, id="plot", date="day", days=(-1, 0), keep=["crop"]).load()
    assert len(places) == 2
    assert places.lon.tolist() == [11.5, 12]
    assert places.lat.tolist() == [60, 61]
    assert places.starts.astype("datetime64[D]").astype(str).tolist() == [
        "2021-05-31",
        "2021-12-31",
    ]
    assert ((places.ends - places.starts) == np.timedelta64(2, "D")).all()
    assert places.columns.to_pydict() == {"plot": ["a", "b"], "crop": ["maize", None]}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"date": "a", "year": "b"}, "`data.places.year='b'`: `date` is given as well"),
        ({"start": "a"}, "`data.places.end=None`: `start` is the name of a column"),
        ({"end": "a"}, "`data.places.start=None`"),
        ({"date": "a", "days": (3, 1)}, "the last day is before the first"),
        ({"year": "a", "days": (0, 0)}, "there is no `date`"),
        ({"keep": ["a", "b", "a"]}, "'a' is named twice"),
        ({"crs": "EPSG:0"}, "unknown CRS"),
        ({"on_bad_row": "drop"}, "Choose from: fail, skip"),
        ({"shard_places": 0}, "less than 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_file_is_opened(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        PlacesSpec(file=Path("none.csv"), **settings)


def test_no_table_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"`data.places.file=None`: there is no table of places"):
        PlacesSpec().load()
