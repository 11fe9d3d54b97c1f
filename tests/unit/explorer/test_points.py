"""If these fail, the page shows, finds, describes or saves a place of a table that it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest

from tests.support.asking import ask, request, running, unpacked
from tests.support.place_files import plan_of_places, table_of, vector_of, write_place_run
from tests.support.place_run import write_places
from thor_geo.explorer.http import Server
from thor_geo.explorer.patches import web_mercator
from thor_geo.explorer.points import PointVectors
from thor_geo.explorer.session import ExplorerSession
from thor_geo.ground.places import Places
from thor_geo.runs.opened_run import OpenedRun, read_run

RNG = np.random.default_rng(6)
LON, LAT = RNG.uniform(9, 15, 40), RNG.uniform(56, 62, 40)


@pytest.fixture(scope="module")
def table() -> Places:
    return table_of(LON, LAT)


@pytest.fixture(scope="module")
def survey(table: Places, tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return a run of 40 places; row 5 failed, row 6 is empty."""
    path = tmp_path_factory.mktemp("points") / "run"
    write_place_run(path, table, plan_of_places(table), failed=[5], empty=[6])
    return read_run(path)


@pytest.fixture(scope="module")
def session(survey: OpenedRun) -> ExplorerSession:
    return ExplorerSession(survey)


@pytest.fixture(scope="module")
def server(session: ExplorerSession) -> Iterator[Server]:
    with running(session) as one:
        yield one


def points(session: ExplorerSession) -> PointVectors:
    places = session.comparison("chips").places
    assert isinstance(places, PointVectors)
    return places


def test_places_are_points_where_the_table_has_them(
    server: Server, session: ExplorerSession
) -> None:
    header, arrays = unpacked(ask(server, "places", unit="chips"))
    assert (header["n"], header["points"], header["side_m"]) == (38, True, 2880)
    assert header["columns"] == ["yield", "crop", "country"]
    assert header["column"] == "crop"
    places = points(session)
    rows = places.plan.place[places.tile]
    to_web = pyproj.Transformer.from_crs("OGC:CRS84", 3857, always_xy=True)
    x, y = to_web.transform(LON[rows], LAT[rows])
    np.testing.assert_allclose(arrays["x"], x, atol=1e-3)
    np.testing.assert_allclose(arrays["y"], y, atol=1e-3)
    # What a page of a million places has to load.
    assert sum(array.nbytes for array in arrays.values()) == 38 * 19


def test_a_run_across_the_antimeridian_stays_together() -> None:
    x = web_mercator(np.array([179.9, -179.9]), np.array([-17.0, -17.0]))[:, 0]
    assert abs(x[0] - x[1]) < 25_000


@pytest.mark.parametrize("unit", ["chips", "centres"])
def test_similar_places_come_with_their_labels(
    server: Server, session: ExplorerSession, table: Places, unit: str
) -> None:
    header, arrays = unpacked(ask(server, "similar", unit=unit, place=7, k=5))
    places = points(session)
    assert places.tile is not None
    if unit == "chips":
        vectors = np.stack([vector_of(places.plan, k) for k in places.tile.tolist()])
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
        np.testing.assert_allclose(arrays["values"], vectors @ vectors[7], atol=1e-6)
    cosines = [one["cosine"] for one in header["neighbours"]]
    np.testing.assert_allclose(cosines, np.sort(np.delete(arrays["values"], 7))[::-1][:5])
    for one in [header["query"], *header["neighbours"]]:
        row = one["row"]
        crop = table.columns["crop"][row].as_py() or "no value"
        assert one["id"] == f"P{row:04d}"
        assert one["label"].startswith(f"P{row:04d} · {crop} · ")
        assert one["columns"]["country"] == table.columns["country"][row].as_py()
        assert (one["lon"], one["lat"]) == (LON[row], LAT[row])
        assert one["window"][:4] == ("2021", "2022")[row % 2]
        assert 0 <= one["offset_m"] <= 15


def test_a_column_comes_as_classes(server: Server, session: ExplorerSession, table: Places) -> None:
    header, arrays = unpacked(ask(server, "column", unit="chips", name="crop"))
    places = points(session)
    rows = places.plan.place[places.tile].tolist()
    words = [header["names"][code] for code in arrays["codes"]]
    assert words == [table.columns["crop"][row].as_py() or "no value" for row in rows]
    assert sum(header["counts"]) == 38
    assert len(header["colours"]) == len(header["names"])


def test_a_place_is_described(server: Server, session: ExplorerSession) -> None:
    one = json.loads(ask(server, "describe", unit="chips", place=3))
    places = points(session)
    assert places.tile is not None
    index = int(places.tile[3])
    assert one["chip"] == places.plan.tile(index).id
    assert one["offset_m"] == pytest.approx(float(places.plan.offset_m[index]), abs=0.01)
    assert one["observations"] == one["row"] % 7 + 2.5


def test_observations_are_those_of_each_chip(server: Server, session: ExplorerSession) -> None:
    _, arrays = unpacked(ask(server, "observations", unit="chips"))
    places = points(session)
    np.testing.assert_array_equal(arrays["values"], places.plan.place[places.tile] % 7 + 2.5)


def test_findings_are_points_with_the_users_columns(
    server: Server, tmp_path: Path, table: Places
) -> None:
    asked = {"unit": "chips", "place": 7, "k": 5, "positive": [1, 2], "negative": [3]}
    (tmp_path / "findings.gpkg").write_bytes(ask(server, "download", **asked))
    near = geopandas.read_file(tmp_path / "findings.gpkg", layer="neighbours")
    assert near["rank"].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(near.geometry.x, LON[near["place"]], atol=1e-9)
    assert near["country"].tolist() == [
        table.columns["country"][row].as_py() for row in near["place"]
    ]
    examples = geopandas.read_file(tmp_path / "findings.gpkg", layer="examples")
    assert examples["label"].tolist() == ["positive", "positive", "negative"]
    assert len(geopandas.read_file(tmp_path / "findings.gpkg", layer="probe")) == 38


@pytest.mark.parametrize(
    ("question", "given", "told"),
    [
        ("column", {"unit": "chips", "name": "height"}, "no column of the table"),
        ("column", {"unit": "chips"}, "not the name of a column"),
        ("describe", {"unit": "chips", "place": 38}, "place=38"),
        ("similar", {"unit": "tiles", "place": 0, "k": 3}, "chips or centres"),
        ("picture", {"shard": 0, "side": 64}, "thumbnail"),
    ],
)
def test_a_wrong_question_is_named(
    server: Server, question: str, given: dict[str, object], told: str
) -> None:
    status, body, _ = request(server, "POST", f"api/{question}", json.dumps(given).encode())
    assert status == 400
    assert told in json.loads(body)["error"]


def test_tiles_have_no_table(written: object) -> None:
    session = ExplorerSession(read_run(written.path))  # type: ignore[attr-defined]
    with running(session) as server:
        given = json.dumps({"unit": "tiles", "place": 0}).encode()
        status, body, _ = request(server, "POST", "api/describe", given)
    assert status == 400
    assert "no table of places" in json.loads(body)["error"]


@pytest.mark.parametrize("writer", [{"only": 1}, {"dtype": "int8"}, {"centre": False}])
def test_other_runs_of_places_are_opened_too(tmp_path: Path, writer: dict[str, object]) -> None:
    write_places(tmp_path / "run", **writer)  # type: ignore[arg-type]
    session = ExplorerSession(read_run(tmp_path / "run"))
    assert session.units == (("chips",) if "centre" in writer else ("chips", "centres"))
    for unit in session.units:
        header, _ = unpacked(session.places(unit))
        assert header["n"] == (4 if "only" in writer else 11)
        assert header["missing"] == (2 if "only" in writer else 0)
