"""similar, change, view and export on runs of places: as NumPy says, or refused with a reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.support.place_files import plan_of_places, table_of, vector_of, write_place_run
from thor_geo.cli.main import main
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.results.place_changes import PlaceChange
from thor_geo.results.place_parts import chosen_places, nearest_place
from thor_geo.results.place_table import place_lines
from thor_geo.results.similar_places import PlaceUnit, similar_places
from thor_geo.runs.opened_run import read_run

RNG = np.random.default_rng(4)
LON, LAT = RNG.uniform(9, 15, 50), RNG.uniform(56, 62, 50)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of 50 places in two zones; row 3 failed, row 4 is empty."""
    places = table_of(LON, LAT)
    path = tmp_path_factory.mktemp("places") / "run"
    write_place_run(path, places, plan_of_places(places), failed=[3], empty=[4])
    return path


def plan_at(path: Path) -> PlacePlan:
    plan = read_run(path).plan
    assert isinstance(plan, PlacePlan)
    return plan


@pytest.mark.parametrize(("unit", "column"), [("chips", "embedding"), ("centres", "centre")])
def test_the_most_similar_places_have_the_largest_cosine(
    run: Path, unit: PlaceUnit, column: str
) -> None:
    found = similar_places(read_run(run), 6, places=[17], unit=unit)
    # As a user reads the rows.
    rows = pd.concat(map(pd.read_parquet, sorted((run / "pooled").glob("places_*.parquet"))))
    rows = rows[rows["status"] == "ok"].set_index("place")
    assert set(range(50)) - set(rows.index) == {3, 4}
    vectors = np.stack(rows[column]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    cosine = pd.Series(vectors @ vectors[rows.index.get_loc(17)], rows.index).drop(17)
    expected = cosine.sort_values(ascending=False)[:6]
    np.testing.assert_allclose(found.cosine, expected, atol=1e-6)
    np.testing.assert_allclose(cosine[plan_at(run).place[found.index]], expected, atol=1e-7)
    assert found.queries == ("place 17 (P0017)",)
    names = [f"P{row:04d}" for row in plan_at(run).place[found.index]]
    assert found.columns["plot_id"].to_pylist() == names


def test_a_place_is_named_by_row_id_or_point(run: Path) -> None:
    opened = read_run(run)
    by_row = similar_places(opened, 3, places=[17])
    by_id = similar_places(opened, 3, ids=["P0017"])
    by_point = similar_places(opened, 3, at=[(LON[17] + 0.001, LAT[17])])
    for other in (by_id, by_point):
        np.testing.assert_array_equal(other.index, by_row.index)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"places": [3]}, "--place=3.*has no embedding"),
        ({"places": [50]}, "--place=50.*no such row"),
        ({"ids": ["P9999"]}, "--id='P9999'.*Give one"),
        ({"at": [(30.0, 10.0)]}, "--at='30,10'.*nearest is place"),
    ],
)
def test_a_place_that_is_not_there_is_named(run: Path, asked: dict[str, list], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        similar_places(read_run(run), 3, **asked)


def test_a_row_that_was_skipped_is_refused_with_its_reason(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    rows = {"place": [50], "plot_id": ["P0050"], "error": ["no date in `surveyed`"]}
    pd.DataFrame(rows).to_parquet(copy / "pooled" / "skipped.parquet")
    asked: list[dict[str, Any]] = [{"places": [50]}, {"ids": ["P0050"]}]
    for each in asked:
        with pytest.raises(ConfigError, match=r"50.*was skipped: no date in"):
            similar_places(read_run(copy), 3, **each)


def test_the_list_of_similar_places_leaves_out_coordinates(run: Path) -> None:
    found = similar_places(read_run(run), 3, places=[17])
    rows = plan_at(run).place[found.index]
    columns = found.columns
    for name, values in (("breite", LAT), ("lon", LON)):
        columns = columns.add_column(1, name, pa.array(values[rows].round(6)))
    lines = place_lines(found.plan, found.index, columns, found.cosine, "cosine")
    shown = place_lines(found.plan, found.index, found.columns, found.cosine, "cosine")
    assert lines == shown
    assert "crop" in lines[0]


def test_the_table_of_similar_places_has_the_users_columns(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "like.parquet"
    args = ["similar", str(run), "--id", "P0017", "-k", "30", "--to", str(target)]
    assert main([*args, "--png", str(tmp_path / "like.png")]) == 0
    table = geopandas.read_parquet(target)
    assert list(table.columns)[:6] == ["rank", "place", "plot_id", "yield", "crop", "country"]
    assert table["yield"].dtype == np.float32
    assert table["crop"].isna().any()
    np.testing.assert_allclose(table.geometry.x, LON[table["place"]], atol=1e-9)
    assert (tmp_path / "like.png").stat().st_size > 10_000


def test_changes_are_matched_by_id(run: Path, tmp_path: Path) -> None:
    # The same plots in another order and other years, and one that has moved.
    order = np.roll(RNG.permutation(50), 1)
    order = np.append(order[order > 4], order[order <= 4])
    lon = LON[order].copy()
    lon[0] += 0.2
    places = table_of(lon, LAT[order], years=(2023,))
    ids = places.columns["plot_id"].take(order)
    places = type(places)(
        **{**vars(places), "columns": places.columns.set_column(0, "plot_id", ids)}
    )
    write_place_run(tmp_path / "later", places, plan_of_places(places))
    change = PlaceChange.between(read_run(run), read_run(tmp_path / "later"))
    # Rows 3 and 4 of the earlier table have no embedding.
    assert (len(change.index), change.moved) == (47, 1)
    earlier = plan_at(run)
    later = plan_at(tmp_path / "later")
    for k in range(0, len(change.index), 7):
        a, b = int(change.before_index[k]), int(change.index[k])
        assert order[later.place[b]] == earlier.place[a]
        vectors = [vector_of(plan, at) for plan, at in ((earlier, a), (later, b))]
        cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
        assert change.distance[k] == pytest.approx(1 - cosine, abs=1e-6)
    assert (np.diff(change.distance) <= 0).all()
    assert main(["change", str(run), str(tmp_path / "later"), "--to", str(tmp_path / "c")]) == 0
    table = geopandas.read_parquet(tmp_path / "c" / "change.parquet")
    assert {"change", "crop", "datetime_start_before", "datetime_start"} <= set(table.columns)


def test_tables_that_cannot_be_matched_are_refused(run: Path, tmp_path: Path) -> None:
    places = table_of(LON[:20] + 1, LAT[:20])
    places = type(places)(**{**vars(places), "id": None})
    write_place_run(tmp_path / "other", places, plan_of_places(places))
    with pytest.raises(RunDirectoryError, match="other places, and no column of ids"):
        PlaceChange.between(read_run(run), read_run(tmp_path / "other"))


def test_a_run_of_an_area_is_not_compared_to_places(run: Path, written: object) -> None:
    area = read_run(written.path)  # type: ignore[attr-defined]
    with pytest.raises(RunDirectoryError, match="one is a run of places"):
        PlaceChange.between(read_run(run), area)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["export", "--cog"], "has no map"),
        (["view", "--cog", "maps"], "thor-geo merge"),
        (["similar", "--id", "P0001", "--tif", "maps"], "has no map"),
        (["similar", "--id", "P0001", "--window", "0"], "time window of its own"),
        (["view", "--png", "--by", "height"], "plot_id, yield, crop, country"),
        (["view", "--png", "--zone", "utm01n"], "utm32n, utm33n"),
        (["view", "--png", "--bbox", "0,0,1,1"], "no place of the run is there"),
    ],
)
def test_what_needs_a_map_is_refused_with_a_way_out(
    run: Path, args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([args[0], str(run), *args[1:]]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "args", [["--on", "cells", "--id", "P0001"], ["--tile", "utm32n"], ["--on", "tiles", "-k", "1"]]
)
def test_tiles_and_cells_are_not_compared_in_a_run_of_places(run: Path, args: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["similar", str(run), *args])


def test_a_part_is_chosen_by_zone_box_and_square(run: Path) -> None:
    plan = plan_at(run)
    assert (plan.zone[chosen_places(plan, zone="utm33n")] == 1).all()
    chosen = chosen_places(plan, bbox=(10, 57, 13, 60))
    np.testing.assert_array_equal(
        chosen, (plan.lon >= 10) & (plan.lon <= 13) & (plan.lat >= 57) & (plan.lat <= 60)
    )
    around = chosen_places(plan, bbox=(170, 57, 13, 60))
    np.testing.assert_array_equal(around, (plan.lon <= 13) & (plan.lat >= 57) & (plan.lat <= 60))
    near, metres = nearest_place(plan, (LON[9], LAT[9]))
    assert plan.place[near] == 9
    assert metres < 1
    only = chosen_places(plan, middle=(LON[9], LAT[9]), side_m=100)
    assert plan.place[only].tolist() == [9]
