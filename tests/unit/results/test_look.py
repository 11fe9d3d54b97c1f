"""similar, change and view: what they find, measure and write is what NumPy and rasterio say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer
from shapely import Point

from tests.support.synthetic_run import CELLS, Data, Model, embed, plan_of, write_run
from thor_geo.checks.overlap import redundant_tiles
from thor_geo.cli.main import main
from thor_geo.cli.options import join_coordinates, parse_bbox, parse_lonlat
from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.results import zone_cells
from thor_geo.results.changes import cosine_distance
from thor_geo.results.similarity import similar_cells, similar_tiles
from thor_geo.runs.opened_run import read_run

# The window of the synthetic run in the names of files.
DAYS = "20220601_20220901"


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=-1) * np.linalg.norm(query)
    return np.asarray(vectors @ query / lengths)


def lonlat_of(plan: Plan, tile: int) -> tuple[float, float]:
    left, bottom, right, top = plan.tile(tile).bounds
    to = Transformer.from_crs(plan.tile(tile).epsg, "OGC:CRS84", always_xy=True)
    lon, lat = to.transform(0.6 * left + 0.4 * right, 0.6 * bottom + 0.4 * top)
    return lon, lat


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run in two zones, with a failed and an empty tile."""
    path = tmp_path_factory.mktemp("look") / "run"
    write_run(path, plan, failed={3: "lost"}, empty=(4,))
    return path


def test_the_most_similar_tiles_are_those_with_the_largest_cosine(run: Path, plan: Plan) -> None:
    query = next(k for k in range(5, len(plan)) if plan.primary[k])
    found = similar_tiles(read_run(run), [lonlat_of(plan, query)], [], 6)
    assert found.queries == (plan.tile(query).id,)
    produced = np.array([k not in (3, 4) for k in range(len(plan))])
    twice = redundant_tiles(plan, produced)
    among = [k for k in range(len(plan)) if produced[k] and not twice[k] and k != query]
    true = cosines(np.stack([embed(plan.tile(k))[0] for k in among]), embed(plan.tile(query))[0])
    order = np.argsort(-true, kind="stable")[:6]
    np.testing.assert_allclose(found.cosine, true[order], atol=1e-6)
    assert set(found.ids) <= {plan.tile(k).id for k in among}
    assert plan.tile(query).id not in found.ids, "the query itself tells nothing"
    assert found.compared == len(among)


def test_the_id_of_a_row_is_told_the_tiles(run: Path, plan: Plan) -> None:
    tile = plan.tile(5).id
    with pytest.raises(ConfigError, match=rf"--tile=.*give its tile_id, {tile}\."):
        similar_tiles(read_run(run), [], [f"{tile}_20220601_20220901"], 3)
    with pytest.raises(ConfigError, match="Give its place: --at"):
        similar_tiles(read_run(run), [], ["utm01n"], 3)


def test_several_places_are_asked_about_as_the_mean_of_their_directions(
    run: Path, plan: Plan
) -> None:
    asked = [6, 9]
    ids = [plan.tile(k).id for k in asked]
    found = similar_tiles(read_run(run), [], ids, 3)
    directions = [embed(plan.tile(k))[0] / np.linalg.norm(embed(plan.tile(k))[0]) for k in asked]
    others = {plan.tile(k).id: embed(plan.tile(k))[0] for k in range(len(plan))}
    true = cosines(np.stack([others[one] for one in found.ids]), np.mean(directions, axis=0))
    np.testing.assert_allclose(found.cosine, true, atol=1e-6)
    assert not set(ids) & set(found.ids)


def test_similar_cells_count_ground_once_and_are_the_largest(run: Path, plan: Plan) -> None:
    opened = read_run(run)
    place = lonlat_of(plan, 7)
    found = similar_cells(opened, [place], 9)
    zones = zone_cells(opened)
    zone = zones[plan.tile(7).epsg]
    x, y = Transformer.from_crs("OGC:CRS84", zone.epsg, always_xy=True).transform(*place)
    everything = {}
    for epsg, one in zones.items():
        for rows, cols, values in one.parts():
            for (r, c), own in np.ndenumerate(one.in_strip(rows, cols)):
                if own and np.isfinite(values[r, c]).all():
                    everything[epsg, rows.start + r, cols.start + c] = values[r, c]
    query = (
        zone.epsg,
        int((zone.bounds[3] - y) // zone.cell),
        int((x - zone.bounds[0]) // zone.cell),
    )
    vector = everything.pop(query)
    assert found.compared == len(everything)
    true = np.sort(cosines(np.stack(list(everything.values())), vector))[::-1][:9]
    np.testing.assert_allclose(found.cosine, true, atol=1e-6)


def test_a_place_outside_is_told_the_nearest_tile_and_its_distance(run: Path) -> None:
    for search in (lambda o, p: similar_tiles(o, p, [], 1), lambda o, p: similar_cells(o, p, 1)):
        with pytest.raises(ConfigError, match=r"nearest tile is utm3\dn_.* km away.*longitude"):
            search(read_run(run), [(12.0, 61.0)])


def test_what_similar_writes_opens_with_its_numbers(
    run: Path, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lon, lat = lonlat_of(plan, 7)
    asked = ["similar", str(run), "--at", f"{lon},{lat}", "-k", "4"]
    for name in ("a.parquet", "a.gpkg", "a.geojson"):
        assert main([*asked, "--to", str(tmp_path / name)]) == 0
        path = tmp_path / name
        table = (
            geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
        )
        assert table["rank"].tolist() == [1, 2, 3, 4]
        assert (table["cosine"].diff().dropna() <= 0).all()
        for row in table.itertuples():
            assert row.geometry.contains(Point(row.lon, row.lat))
    assert main([*asked, "--to", str(tmp_path / "a.gpkg")]) == 2, "it exists"
    assert main([*asked, "--to", str(run / "run.json")]) == 2
    tifs = ["--on", "cells", "--tif", str(tmp_path / "tif"), "--png", str(tmp_path / "a.png")]
    assert main([*asked, *tifs]) == 0
    capsys.readouterr()
    found = similar_cells(read_run(run), [(lon, lat)], 4)
    with rasterio.open(tmp_path / "tif" / f"utm{found.epsg[0] % 100}n_similar_cells.tif") as file:
        centre = found.bounds[0, :2] + file.res[0] / 2
        np.testing.assert_allclose(next(file.sample([centre]))[0], found.cosine[0])
    assert Image.open(tmp_path / "a.png").width == 1600
    capsys.readouterr()
    for name, option in (("a.png", "--png"), ("tif", "--tif")):
        assert main([*asked, "--on", "cells", option, str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.startswith(f"thor-geo: ConfigError: `{option}="), "exists"


def test_distance_keeps_its_digits_where_little_changed() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(50, 16)).astype(np.float32)
    b = (a + 1e-4 * rng.normal(size=a.shape)).astype(np.float32)
    wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
    dot = (wide_a * wide_b).sum(axis=1)
    true = 1 - dot / np.sqrt((wide_a**2).sum(axis=1) * (wide_b**2).sum(axis=1))
    np.testing.assert_allclose(cosine_distance(a, b), true.astype(float), rtol=0.02)
    assert (cosine_distance(a, a) == 0).all()
    assert cosine_distance(a[:1], -a[:1])[0] == pytest.approx(2)
    assert cosine_distance(a[:1], 0 * a[:1])[0] == 1


def test_change_is_one_minus_the_cosine_where_both_runs_are(
    run: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another area, other shards and other dates: cells still meet the cells of their place."""
    from tests.support import synthetic_run

    def later(tile: Any) -> tuple[np.ndarray, np.ndarray]:
        pooled, grid = embed(tile)
        return pooled + np.float32(1000), grid + np.arange(5, dtype=np.float32)[:, None, None] * 900

    monkeypatch.setattr(synthetic_run, "embed", later)
    other = plan_of((11.99, 59.98, 12.1, 60.03), shard_tiles=3)
    write_run(tmp_path / "b", other, data=Data(other, start="2023-06-01", end="2023-09-01"))
    assert main(["change", str(run), str(tmp_path / "b"), "--to", str(tmp_path / "c")]) == 0
    table = geopandas.read_parquet(tmp_path / "c" / "change.parquet")
    here = {plan.tile(k).id: plan.tile(k) for k in range(len(plan)) if k not in (3, 4)}
    there = {other.tile(k).id for k in range(len(other))}
    assert set(table["id"]) == here.keys() & there
    for row in table.itertuples():
        tile = here[row.id]
        true = 1 - cosines(embed(tile)[0], later(tile)[0])
        assert row.change == pytest.approx(true, abs=1e-6)
    assert (table["change"].diff().dropna() <= 0).all()
    for epsg in {tile.epsg for tile in here.values()}:
        with rasterio.open(tmp_path / "c" / f"utm{epsg % 100}n_change_cells.tif") as file:
            assert np.isnan(file.nodata)
            assert file.tags()["THOR_GEO_START"] == "2023-06-01"
            assert file.tags()["THOR_GEO_START_BEFORE"] == "2022-06-01"
            for name, tile in here.items():
                if tile.epsg != epsg or name not in there:
                    continue
                part = file.read(1, window=file.window(*tile.bounds))
                true = 1 - cosines_of_maps(embed(tile)[1], later(tile)[1])
                np.testing.assert_allclose(part, true, atol=1e-6)
    assert Image.open(tmp_path / "c" / "change.png").width == 1600


def cosines_of_maps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.asarray((a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0))


@pytest.mark.parametrize(
    ("model", "data", "lattice", "named"),
    [
        ({"patch_size": 8}, {}, {}, "model.patch_size is 16 and 8"),
        ({"weights_sha256": "00"}, {}, {}, "model.weights_sha256"),
        ({}, {"normalize": "none"}, {}, "data.normalize"),
        ({}, {}, {"tile_size": 144}, "tile lattice"),
    ],
)
def test_runs_that_differ_otherwise_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Any, data: Any,
    lattice: Any, named: str,
) -> None:  # fmt: skip
    other = plan_of((11.99, 59.98, 12.02, 60.0), **lattice)
    write_run(tmp_path / "b", other, model=Model(**model), data=Data(other, **data))
    assert main(["change", str(run), str(tmp_path / "b"), "--to", str(tmp_path / "c")]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_cogs_hold_the_colours_and_the_numbers_of_the_maps(
    run: Path, plan: Plan, tmp_path: Path
) -> None:
    asked = ["view", str(run), "--cog", str(tmp_path), "--bands", "0,4"]
    assert main(asked) == 0
    colours = load_or_fit_colours(read_run(run).run, plan)
    for k in range(len(plan)):
        tile = plan.tile(k)
        zone = f"utm{tile.epsg % 100}n"
        true = embed(tile)[1]
        with rasterio.open(tmp_path / f"{zone}_{DAYS}_bands.tif") as file:
            assert file.crs.to_epsg() == tile.epsg
            assert file.descriptions == ("embedding 0", "embedding 4")
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.transform.e < 0 < file.transform.a
            part = file.read(window=file.window(*tile.bounds))
            assert part.shape == (2, CELLS, CELLS)
            np.testing.assert_array_equal(part, true[[0, 4]] if k not in (3, 4) else np.nan * part)
        with rasterio.open(tmp_path / f"{zone}_{DAYS}_pca.tif") as file:
            assert [one.name for one in file.colorinterp] == ["red", "green", "blue", "alpha"]
            part = file.read(window=file.window(*tile.bounds))
            assert (part[3] == (0 if k in (3, 4) else 255)).all()
            if k not in (3, 4):
                rgb = colours[5](np.moveaxis(true, 0, -1))
                np.testing.assert_array_equal(np.moveaxis(part[:3], 0, -1), rgb)
    assert main(["view", str(run), "--cog", str(tmp_path / "x"), "--bands", "5"]) == 2


def test_large_cogs_have_overviews(tmp_path: Path, plan: Plan) -> None:
    from thor_geo.results.cog import RasterExtent, write_cog

    run = write_run(tmp_path / "run", plan, only=1).run
    extent = RasterExtent(epsg=32632, bounds=(600000, 6600000, 624000, 6620000), shape=(2000, 2400))
    row = np.ones((1, 100, 2400), dtype=np.float32)
    windows = [(slice(k, k + 100), slice(0, 2400), row * k) for k in range(0, 2000, 100)]
    path = tmp_path / "a.tif"
    write_cog(run, path, extent, windows, bands=["one"], tags={}, overwrite=False)
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4, 8]
        assert file.read(1)[:, 7].tolist() == np.repeat(np.arange(0, 2000, 100), 100).tolist()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.tif", "run"]


def test_a_run_without_maps_is_exported_by_tile(tmp_path: Path, plan: Plan) -> None:
    write_run(tmp_path / "run", plan, grid=False)
    assert main(["view", str(tmp_path / "run"), "--cog", str(tmp_path), "--bands", "1"]) == 0
    for k in range(len(plan)):
        tile = plan.tile(k)
        with rasterio.open(tmp_path / f"utm{tile.epsg % 100}n_{DAYS}_bands.tif") as file:
            (value,) = file.read(1, window=file.window(*tile.bounds)).ravel()
            assert value == embed(tile)[0][1]


def test_a_part_is_drawn_in_the_size_asked_for(
    run: Path, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lon, lat = lonlat_of(plan, 7)
    path = tmp_path / "a.png"
    asked = ["view", str(run), "--layer", "pca", "--png", str(path)]
    assert main([*asked, "--at", f"{lon},{lat}", "--km", "2", "--size", "800"]) == 0
    assert Image.open(path).width == 800
    assert main([*asked, "--bbox=-4,40,-3,41"]) == 2
    assert "no tile of the run is there" in capsys.readouterr().err
    assert main([*asked, "--zone", "utm31n"]) == 2
    assert "utm32n, utm33n" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["view", str(run), "--png", "--at", "1,2", "--bbox", "1,2,3,4"])


def test_the_composite_is_asked_for_or_left_out_with_a_word(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A synthetic run has no pixels behind it."""
    assert main(["view", str(run), "--png", str(tmp_path / "a.png")]) == 0
    assert "the composite is left out" in capsys.readouterr().err
    assert main(["view", str(run), "--png", str(tmp_path / "b.png"), "--layer=composite"]) == 2
    assert not (tmp_path / "b.png").exists()


def test_coordinates_west_of_greenwich_are_taken_as_they_are() -> None:
    assert join_coordinates(["out", "--at", "-3.7,40.4", "-k", "3"], "--at") == [
        "out",
        "--at=-3.7,40.4",
        "-k",
        "3",
    ]
    assert parse_lonlat("--at", "-3.7,40.4") == (-3.7, 40.4)
    for text in ("3.7", "a,b", "3,nan", "12,95", "1,2,3"):
        with pytest.raises(ConfigError, match="--at"):
            parse_lonlat("--at", text)
    for text in ("1,2,3", "3,2,1,4", "1,2,3,2"):
        with pytest.raises(ConfigError, match="--bbox"):
            parse_bbox("--bbox", text)
