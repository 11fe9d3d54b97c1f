"""If these fail, a vector of another place is compared with THOR's, and nobody notices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tests.support import place_run
from tests.support.synthetic_run import CELLS, TWO_ZONES, plan_of, write_run
from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe import ProbeSpec, kept_labels, open_labels
from thor_geo.probe.beside import Beside, BesideVectors
from thor_geo.probe.beside_join import sample_lonlat
from thor_geo.probe.beside_samples import in_all, match_words, read_besides, sample_ids
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.samples import Samples
from thor_geo.runs.opened_run import OpenedRun, read_run


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two polygons over all of both runs, so that every tile and cell has a label."""
    path = tmp_path_factory.mktemp("labels") / "halves.gpkg"
    halves = [shapely.box(9, 59, 10.7, 61), shapely.box(10.7, 59, 14, 61)]
    gpd.GeoDataFrame({"kind": ["a", "b"]}, geometry=halves, crs=4326).to_file(path)
    return path


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return a run of 11 places in two zones, one of them twice."""
    path = tmp_path_factory.mktemp("survey") / "run"
    place_run.write_places(path, place_run.places())
    # The layout of the model's maps, as a model of THOR's records it.
    document = json.loads((path / "run.json").read_text())
    document["info"]["model"]["group_grid_side"] = {"group0": CELLS}
    (path / "run.json").write_text(json.dumps(document))
    return read_run(path)


def joined(opened: OpenedRun, samples: Samples, path: Path, **spec: Any) -> BesideVectors:
    besides = (Beside(name="other", path=path),)
    return read_besides(opened, samples, ProbeSpec(besides=besides, **spec))[0]


@pytest.fixture
def sampled(labels: Path) -> Callable[[OpenedRun, Any], Samples]:
    def collect(opened: OpenedRun, on: Any) -> Samples:
        return collect_samples(opened, open_labels(labels, "kind"), ProbeSpec(on=on))

    return collect


def table(path: Path, lon: np.ndarray, lat: np.ndarray, vectors: np.ndarray, **more: Any) -> Path:
    columns = {"lon": lon, "lat": lat, "embedding": list(vectors), **more}
    pq.write_table(pa.table(columns), path)
    return path


def shuffled(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(count)


def test_tiles_take_the_row_of_their_id_whatever_the_order(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(opened, "tiles")
    paths = [opened.run.pooled_path(shard) for shard in opened.plan.shards]
    frame = pd.concat([gpd.read_parquet(path) for path in paths], ignore_index=True)
    mixed = frame.iloc[shuffled(len(frame))]
    for column in ("tile_id", "id"):
        mixed[[column, "embedding"]].to_parquet(tmp_path / "ours.parquet")
        found = joined(opened, samples, tmp_path / "ours.parquet")
        assert found.joined == f"by {column}"
        np.testing.assert_array_equal(found.vectors, samples.vectors)
    # The table that `thor-geo merge` writes has ids and outlines.
    mixed.to_parquet(tmp_path / "merged.parquet")
    np.testing.assert_array_equal(
        joined(opened, samples, tmp_path / "merged.parquet").vectors, samples.vectors
    )


def test_the_same_run_beside_itself_has_the_same_vectors(
    opened: OpenedRun, two_zones: OpenedRun, sampled: Any
) -> None:
    for run in (opened, two_zones):
        for on in ("tiles", "cells"):
            samples = sampled(run, on)
            found = joined(run, samples, run.run.path)
            assert found.has.all()
            np.testing.assert_allclose(found.vectors, samples.vectors, rtol=1e-6)


def test_cells_that_serve_two_zones_are_counted_once(
    two_zones: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    """Tiles at a zone's edge reach into the next one, whose samples come second."""
    write_run(tmp_path / "west", plan_of((*TWO_ZONES[:2], 12.0, TWO_ZONES[3])))
    west = read_run(tmp_path / "west")
    samples = sampled(two_zones, "cells")
    found = joined(two_zones, samples, west.run.path)
    assert set(samples.epsg[found.has]) == {32632, 32633}
    assert found.rows == len(west.plan) * CELLS**2


def test_cells_take_the_mean_of_the_points_in_them(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    """As of AlphaEarth's pixels of 10 m in a cell of 160 m."""
    samples = sampled(opened, "cells")
    quarter = samples.side / 4
    x = np.concatenate([samples.x + dx for dx in (-quarter, quarter, -1.9 * quarter)])
    y = np.concatenate([samples.y + dy for dy in (-quarter, quarter, 0)])
    place = gpd.GeoSeries(gpd.points_from_xy(x, y, crs=32632))
    n = len(samples)
    vectors = np.random.default_rng(0).normal(size=(3 * n, 4)).astype(np.float32)
    order = shuffled(3 * n)
    gpd.GeoDataFrame(
        {"embedding": list(vectors[order])}, geometry=place.iloc[order].to_numpy(), crs=32632
    ).to_parquet(tmp_path / "points.parquet")
    found = joined(opened, samples, tmp_path / "points.parquet")
    assert found.joined == "by place: means of up to 3 points"
    expected = vectors.reshape(3, n, 4).mean(axis=0)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


def test_cells_of_two_zones_take_their_own_points(
    two_zones: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(two_zones, "cells")
    assert len(np.unique(samples.epsg)) == 2
    lon, lat = sample_lonlat(samples)
    path = table(tmp_path / "t.parquet", lon, lat, samples.vectors)
    found = joined(two_zones, samples, path)
    # On the border a cell also holds the middle of one of the other zone, whose grid is turned.
    own = (found.vectors == samples.vectors).all(axis=1)
    assert own.mean() > 0.95
    assert found.has.all()


def test_outlines_larger_than_a_cell_give_it_their_vector(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    """As of Clay's chips: many cells share one, which the report says."""
    cells, tiles = sampled(opened, "cells"), sampled(opened, "tiles")
    half = tiles.side / 2
    boxes = shapely.box(tiles.x - half, tiles.y - half, tiles.x + half, tiles.y + half)
    frame = gpd.GeoDataFrame({"embeddings": list(tiles.vectors)}, geometry=boxes, crs=32632)
    frame.to_parquet(tmp_path / "chips.parquet")
    found = joined(opened, cells, tmp_path / "chips.parquet")
    assert found.joined == "by outline"
    by_tile = dict(zip(tiles.tile.tolist(), tiles.vectors, strict=True))
    expected = np.stack([by_tile[tile] for tile in cells.tile.tolist()])
    np.testing.assert_array_equal(found.vectors, expected)
    assert found.record()["distinct"] == len(tiles)


def test_a_run_of_smaller_cells_is_averaged_over_each(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(opened, "cells")
    plan = plan_of(tile_size=96)
    write_run(tmp_path / "fine", plan)
    found = joined(opened, samples, tmp_path / "fine")
    assert found.joined == "by place: means of up to 9 cells"
    # Easting and northing, in km: the mean of the nine cells is that of the cell.
    near = np.isclose(found.vectors[:, :2], samples.vectors[:, :2], atol=1e-3).all(axis=1)
    assert near[found.has].mean() > 0.9


def test_places_take_the_row_of_their_id_or_the_point_at_hand(
    survey: OpenedRun, tmp_path: Path
) -> None:
    plan = survey.plan
    assert isinstance(plan, PlacePlan)
    samples = collect_samples(survey, kept_labels(survey, "country"), ProbeSpec())
    lon, lat = sample_lonlat(samples)
    plots = [texts[0] for texts in sample_ids(survey, samples)["plot_id"]]
    mixed = shuffled(len(samples))
    path = table(
        tmp_path / "t.parquet",
        lon[mixed],
        lat[mixed],
        samples.vectors[mixed],
        plot_id=np.array(plots)[mixed],
    )
    found = joined(survey, samples, path)
    assert found.joined == "by plot_id"
    np.testing.assert_array_equal(found.vectors, samples.vectors)
    assert joined(survey, samples, survey.run.path).has.all()
    # By place, of two rows at one point nobody can say which is meant.
    other = samples.vectors + np.arange(len(samples), dtype=np.float32)[:, None]
    path = table(tmp_path / "t.parquet", lon, lat, other)
    with pytest.raises(ConfigError, match="lie at one place and have different vectors"):
        joined(survey, samples, path)
    _, once = np.unique(np.stack([lon, lat], axis=1), axis=0, return_index=True)
    path = table(tmp_path / "t.parquet", lon[once], lat[once] + 1e-4, samples.vectors[once])
    found = joined(survey, samples, path)
    assert found.joined == f"by place, at most {samples.side / 2:g} m away"
    np.testing.assert_array_equal(found.vectors[once], samples.vectors[once])
    path = table(tmp_path / "t.parquet", lon[once], lat[once] + 1e-2, samples.vectors[once])
    with pytest.raises(ConfigError, match=f"none of the {len(samples)} places has a vector"):
        joined(survey, samples, path)


def test_places_and_vectors_of_different_rows_are_counted_apart(
    survey: OpenedRun, tmp_path: Path
) -> None:
    """Exports have a row for each place, and one without geometry for each that failed."""
    samples = collect_samples(survey, kept_labels(survey, "country"), ProbeSpec())
    (lon, lat), n = sample_lonlat(samples), len(samples)
    gone, nothing = np.full(n, np.nan), np.full_like(samples.vectors, np.nan)
    path = table(
        tmp_path / "t.parquet",
        np.concatenate([lon, gone]),
        np.concatenate([lat, gone]),
        np.concatenate([nothing, samples.vectors]),
    )
    with pytest.raises(
        ConfigError, match=f"{2 * n} rows, {n} with a place and {n} with a vector, none with both"
    ):
        joined(survey, samples, path)


def test_rows_without_a_vector_have_no_part_in_the_extent(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(opened, "cells")
    lon, _ = sample_lonlat(samples)
    vectors = samples.vectors.copy()
    vectors[10:] = np.nan
    lon = np.where(np.arange(len(lon)) < 10, 50.0, lon)
    path = table(tmp_path / "t.parquet", lon, np.arange(len(lon)) / 1e4, vectors)
    with pytest.raises(ConfigError, match=r"at 50\.0000 to 50\.0000 E, 0\.0000 to 0\.0009 N"):
        joined(opened, samples, path)


def test_different_vectors_are_counted_once(opened: OpenedRun, sampled: Any) -> None:
    """The report is written anew with the curve, and counting sorts all vectors."""
    found = joined(opened, sampled(opened, "cells"), opened.run.path)
    count = found.distinct
    found.vectors[:] = 0
    assert found.record()["distinct"] == count > 1


def test_ids_that_agree_by_chance_are_refused(survey: OpenedRun, tmp_path: Path) -> None:
    """Row numbers of another table are ids, too."""
    samples = collect_samples(survey, kept_labels(survey, "crop"), ProbeSpec())
    lon, lat = sample_lonlat(samples)
    plots = [texts[0] for texts in sample_ids(survey, samples)["plot_id"]]
    path = table(tmp_path / "t.parquet", lon + 1, lat, samples.vectors, plot_id=plots)
    with pytest.raises(ConfigError, match=r"plot_id agrees, but 8 of 8 rows lie elsewhere, 5\d"):
        joined(survey, samples, path)


def test_one_id_with_two_vectors_is_refused(survey: OpenedRun, tmp_path: Path) -> None:
    """As in a table of several years."""
    samples = collect_samples(survey, kept_labels(survey, "crop"), ProbeSpec())
    plots = [texts[0] for texts in sample_ids(survey, samples)["plot_id"]]
    columns = {"plot_id": plots * 2, "embedding": [*samples.vectors, *(samples.vectors + 1)]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="rows 1 and 9 both have plot_id plot-"):
        joined(survey, samples, tmp_path / "t.parquet")


def test_samples_without_a_vector_leave_all_sides(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(opened, "cells")
    lon, lat = sample_lonlat(samples)
    a = table(tmp_path / "a.parquet", lon[:40], lat[:40], samples.vectors[:40])
    b = table(tmp_path / "b.parquet", lon[30:90], lat[30:90], samples.vectors[30:90])
    spec = ProbeSpec(besides=(Beside(name="a", path=a), Beside(name="b", path=b)))
    found = read_besides(opened, samples, spec)
    n = len(samples)
    assert match_words(found[0], "cells") == f"40 of {n:,} cells have a vector in a"
    assert np.flatnonzero(in_all(samples, found)).tolist() == list(range(30, 40))
    b = table(tmp_path / "b.parquet", lon[50:90], lat[50:90], samples.vectors[50:90])
    with pytest.raises(ConfigError, match=f"of {n:,} cells: a 40, b 40"):
        in_all(samples, read_besides(opened, samples, spec))


def test_what_does_not_cover_the_run_is_refused(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(opened, "cells")
    lon, lat = sample_lonlat(samples)
    far = table(tmp_path / "far.parquet", lon + 40, lat, samples.vectors)
    with pytest.raises(ConfigError, match=r"cells has a vector in it .* at 50\..* lie at 10\."):
        joined(opened, samples, far)
    with pytest.raises(ConfigError, match="no such file or run"):
        joined(opened, samples, tmp_path / "gone.parquet")
    with pytest.raises(ConfigError, match=r"a folder without run\.json"):
        joined(opened, samples, tmp_path)
    write_run(tmp_path / "run", plan_of(TWO_ZONES))
    with pytest.raises(ConfigError, match=f"none of the {len(samples):,} cells"):
        joined(opened, samples, tmp_path / "run")


def test_exchanged_coordinates_are_recognised_and_the_option_shown_as_typed(
    opened: OpenedRun, sampled: Any, tmp_path: Path
) -> None:
    samples = sampled(opened, "tiles")
    lon, lat = sample_lonlat(samples)
    exchanged = table(tmp_path / "exchanged.parquet", lat, lon, samples.vectors)
    with pytest.raises(ConfigError, match="meet with longitude and latitude exchanged"):
        joined(opened, samples, exchanged)
    elsewhere = table(tmp_path / "elsewhere.parquet", lon + 40, lat, samples.vectors)
    with pytest.raises(ConfigError, match="Check that it covers the run's ground"):
        joined(opened, samples, elsewhere)
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"lon": lon, "lat": lat}), bare)
    with pytest.raises(ConfigError, match=f"--beside='other={bare}'`: it holds no vectors"):
        joined(opened, samples, bare)
