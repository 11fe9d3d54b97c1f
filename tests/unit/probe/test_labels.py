"""Labels of squares, against counts made by hand: a probe learns what it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin

from thor_geo.errors import ConfigError
from thor_geo.probe import open_labels
from thor_geo.probe.joining import Squares

LEFT, TOP = 600_000.0, 6_640_000.0


def squares(rows: int, cols: int, side: float = 40) -> Squares:
    return Squares(32632, LEFT, TOP, side, rows, cols)


def vector(path: Path, geometry: list[Any], crs: str | None = "EPSG:32632", **columns: Any) -> Path:
    gpd.GeoDataFrame(columns, geometry=geometry, crs=crs).to_file(path)
    return path


def test_a_cell_takes_the_majority_of_its_pixels_and_of_equal_ones_the_lowest(
    tmp_path: Path, write_tif: Callable[..., Path]
) -> None:
    pixels = np.random.default_rng(0).integers(1, 5, (1, 40, 40), dtype=np.uint8)
    pixels[0, :4, :4] = np.repeat([7, 3], 8).reshape(4, 4)
    path = write_tif(tmp_path / "labels.tif", pixels, (LEFT, TOP))
    joined = open_labels(path).join(squares(10, 10))
    for (row, col), value in np.ndenumerate(joined.value):
        part = pixels[0, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
        counts = np.bincount(part.ravel())
        assert value == counts.argmax()
        assert joined.tied[row, col] == ((counts == counts.max()).sum() > 1)
    assert joined.value[0, 0] == 3
    assert (joined.cover == 1).all()


def test_nodata_ignored_values_and_ground_outside_the_raster_are_not_labels(
    tmp_path: Path, write_tif: Callable[..., Path]
) -> None:
    pixels = np.full((1, 8, 8), 5, dtype=np.uint8)
    pixels[0, :4, :4] = 0  # the raster's own nodata
    pixels[0, 4:, :4] = 9
    pixels[0, :2, 4:] = 8
    path = write_tif(tmp_path / "labels.tif", pixels, (LEFT, TOP), nodata=0)
    joined = open_labels(path, nodata=9, ignore=("8",)).join(squares(3, 3))
    expected = [[np.nan, 5, np.nan], [np.nan, 5, np.nan], [np.nan] * 3]
    np.testing.assert_array_equal(joined.value, expected)
    np.testing.assert_array_equal(joined.cover, [[0, 0.5, 0], [0, 1, 0], [0, 0, 0]])


def test_a_raster_in_degrees_labels_the_ground_it_shows(
    tmp_path: Path, write_tif: Callable[..., Path]
) -> None:
    """A mistake in the change of CRS would shift every label."""
    to_lonlat = Transformer.from_crs(32632, 4326, always_xy=True)
    west, north = to_lonlat.transform(LEFT - 500, TOP + 500)
    pixels = np.arange(1, 401, dtype=np.uint16).reshape(1, 20, 20)
    path = write_tif(tmp_path / "labels.tif", pixels, (west, north), 0.002, crs="EPSG:4326")
    joined = open_labels(path).join(squares(9, 9, 20))
    for (row, col), value in np.ndenumerate(joined.value):
        lon, lat = to_lonlat.transform(LEFT + 20 * col + 10, TOP - 20 * row - 10)
        true = pixels[0, int((north - lat) / 0.002), int((lon - west) / 0.002)]
        assert value == true


def test_numbers_of_a_raster_are_averaged(tmp_path: Path, write_tif: Callable[..., Path]) -> None:
    pixels = np.random.default_rng(1).normal(size=(1, 8, 8)).astype(np.float32)
    pixels[0, 0, 0] = np.nan
    labels = open_labels(write_tif(tmp_path / "height.tif", pixels, (LEFT, TOP)))
    assert (labels.task, labels.name, labels.kind) == ("regression", "height", "raster")
    joined = labels.join(squares(2, 2))
    parts = pixels[0].reshape(2, 4, 2, 4).swapaxes(1, 2).reshape(2, 2, 16)
    np.testing.assert_allclose(joined.value, np.nanmean(parts, axis=2), atol=1e-6)
    assert joined.cover[0, 0] == 15 / 16


def test_of_polygons_the_class_counts_that_covers_most(tmp_path: Path) -> None:
    """Many slivers of one class outweigh a single larger piece of another."""
    shapes = [
        shapely.box(LEFT, TOP - 40, LEFT + 18, TOP),
        shapely.box(LEFT + 18, TOP - 40, LEFT + 30, TOP),
        shapely.box(LEFT + 30, TOP - 40, LEFT + 40, TOP),
        shapely.box(LEFT + 40, TOP - 10, LEFT + 80, TOP),
    ]
    path = vector(tmp_path / "a.gpkg", shapes, use=["wood", "field", "field", "wood"])
    labels = open_labels(path, "use")
    joined = labels.join(squares(1, 3))
    names = [labels.class_of(v) for v in joined.value[0, :2]]
    assert names == ["field", "wood"]
    np.testing.assert_allclose(joined.cover, [[1, 0.25, 0]])
    assert np.isnan(joined.value[0, 2])


@pytest.mark.parametrize("ignore", ["255", "255.0"])
@pytest.mark.parametrize("codes", [[1, 255, None, 2], [1, 255, 2, 2]])
def test_a_number_is_ignored_however_readers_write_it(
    tmp_path: Path, codes: list[int | None], ignore: str
) -> None:
    """Integers with gaps are read as floats: 255.0 is what `--ignore 255` means."""
    points = [shapely.Point(LEFT + 20 + 40 * k, TOP - 20) for k in range(4)]
    path = vector(tmp_path / "a.gpkg", points, kind=pd.array(codes, dtype="Int64"))
    labels = open_labels(path, "kind", ignore=(ignore, "wood"))
    value = labels.join(squares(1, 4)).value[0]
    assert np.isnan(value[1])
    assert [labels.class_of(v) for v in value[[0, 3]]] == [1, 2]


def test_ground_under_several_polygons_counts_once(tmp_path: Path) -> None:
    """A piece that was mapped twice would pass --min-cover, and outweigh a larger class."""
    left, right = (
        shapely.box(LEFT, TOP - 40, LEFT + 12, TOP),
        shapely.box(LEFT + 20, TOP - 40, LEFT + 38, TOP),
    )
    over = shapely.box(LEFT + 10, TOP - 40, LEFT + 14, TOP)
    shapes = [left, left, right, over]
    path = vector(
        tmp_path / "a.gpkg", shapes, use=["wood", "wood", "field", "lake"], h=[1.5, 2.5, 4.0, 4.0]
    )
    labels = open_labels(path, "use")
    joined = labels.join(squares(1, 1))
    assert labels.class_of(joined.value[0, 0]) == "field"
    assert joined.cover[0, 0] == pytest.approx((14 + 18) / 40)
    joined = open_labels(path, "h").join(squares(1, 1))
    assert joined.cover[0, 0] == pytest.approx((14 + 18) / 40)
    weights = [12, 12, 18, 4]
    assert joined.value[0, 0] == pytest.approx(np.average([1.5, 2.5, 4, 4], weights=weights))


def test_numbers_of_polygons_are_weighted_by_area_in_any_crs(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"height": [1.5, 4.0]},
        geometry=[
            shapely.box(LEFT, TOP - 40, LEFT + 30, TOP),
            shapely.box(LEFT + 30, TOP - 40, LEFT + 40, TOP),
        ],
        crs="EPSG:32632",
    ).to_crs(4326)
    frame.to_file(tmp_path / "a.geojson")
    joined = open_labels(tmp_path / "a.geojson", "height").join(squares(1, 1))
    np.testing.assert_allclose(joined.value, (1.5 * 3 + 4.0) / 4, rtol=1e-3)


def test_a_square_holds_the_points_on_its_western_and_northern_edge(tmp_path: Path) -> None:
    """A point on an edge must label one square: neither two nor none."""
    corners = [(0, 0), (40, 0), (39.9, -40), (80.1, -1), (79, -79), (41, -41), (42, -42)]
    path = vector(
        tmp_path / "a.gpkg",
        [shapely.Point(LEFT + x, TOP + y) for x, y in corners],
        kind=[1, 2, 3, 4, 5, 6, 6],
    )
    labels = open_labels(path, "kind")
    joined = labels.join(squares(2, 2))
    named = [[labels.class_of(v) for v in row] for row in joined.value]
    assert named == [[1, 2], [3, 6]]
    assert labels.record()["features"] == 7


def test_what_is_predicted_follows_the_column(tmp_path: Path) -> None:
    points = [shapely.Point(LEFT + k, TOP) for k in range(3)]
    path = vector(
        tmp_path / "a.gpkg",
        points,
        text=["a", "b", None],
        whole=[1, 2, 3],
        gaps=[1, None, 2],
        number=[0.5, 1.0, 2.0],
    )
    tasks = {c: open_labels(path, c).task for c in ("text", "whole", "gaps", "number")}
    assert tasks["number"] == "regression"
    assert {tasks[c] for c in ("text", "whole", "gaps")} == {"classification"}
    assert open_labels(path, "whole", task="regression").task == "regression"
    assert open_labels(path, "text").record()["features_without_label"] == 1
    for column, task, match in (
        ("text", "regression", "holds text"),
        ("number", "classification", "not whole"),
    ):
        with pytest.raises(ConfigError, match=match):
            open_labels(path, column, task=task)  # type: ignore[arg-type]


def test_unusable_labels_are_refused_with_the_reason(
    tmp_path: Path, write_tif: Callable[..., Path]
) -> None:
    point, line = shapely.Point(LEFT, TOP), shapely.LineString([(LEFT, TOP), (LEFT + 9, TOP)])
    several = shapely.MultiPoint([(LEFT, TOP), (LEFT + 9, TOP)])
    good = vector(tmp_path / "good.gpkg", [point], kind=["a"])
    cases: list[tuple[Path, str | None, str]] = [
        (tmp_path / "none.gpkg", "kind", "no such file"),
        (good, "class", "Choose one of kind"),
        (good, None, "Choose one of kind"),
        (vector(tmp_path / "l.gpkg", [line], kind=["a"]), "kind", "LineString"),
        (vector(tmp_path / "m.gpkg", [point, line], kind=["a", "b"]), "kind", "only points"),
        (vector(tmp_path / "b.gpkg", [several], kind=["a"]), "kind", "Split MultiPoints"),
        (vector(tmp_path / "e.gpkg", [point], kind=[None]), "kind", "no feature"),
        (vector(tmp_path / "i.gpkg", [point], kind=[np.inf]), "kind", "infinite"),
    ]
    for path, target, match in cases:
        with pytest.raises(ConfigError, match=match):
            open_labels(path, target)
    frame = gpd.GeoDataFrame({"kind": ["a"]}, geometry=[point])
    frame.to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ConfigError, match="has no CRS"):
        open_labels(tmp_path / "c.parquet", "kind")
    (tmp_path / "junk.gpkg").write_bytes(b"junk")
    with pytest.raises(ConfigError, match="not readable"):
        open_labels(tmp_path / "junk.gpkg", "kind")
    two = write_tif(tmp_path / "two.tif", np.ones((2, 4, 4), dtype=np.uint8), (LEFT, TOP))
    with pytest.raises(ConfigError, match="has 2 bands"):
        open_labels(two)
    labels_file = write_tif(tmp_path / "one.tif", np.ones((1, 4, 4), dtype=np.uint8), (LEFT, TOP))
    bare = write_tif(
        tmp_path / "bare.tif", np.ones((1, 4, 4), dtype=np.uint8), (LEFT, TOP), crs=None
    )
    with pytest.raises(ConfigError, match="has no CRS"):
        open_labels(bare)
    with pytest.raises(ConfigError, match="not numbers"):
        open_labels(labels_file, ignore=("wood",))


def test_classes_have_the_names_of_a_file(tmp_path: Path) -> None:
    path = vector(tmp_path / "a.gpkg", [shapely.Point(LEFT, TOP)], kind=[11])
    (tmp_path / "names.json").write_text('{"11": "crops"}')
    assert open_labels(path, "kind", names=tmp_path / "names.json").names == {"11": "crops"}
    (tmp_path / "names.json").write_text('{"11": 3}')
    with pytest.raises(ConfigError, match="--names"):
        open_labels(path, "kind", names=tmp_path / "names.json")


def test_a_missing_target_is_named_with_the_columns_there_are(tmp_path: Path) -> None:
    path = vector(tmp_path / "a.gpkg", [shapely.Point(LEFT, TOP)], use=["wood"])
    with pytest.raises(ConfigError, match=r"`--target`: not given.*Choose one of use\."):
        open_labels(path, None)


def bow(left: float, top: float) -> shapely.Polygon:
    """Return a polygon that crosses itself: two triangles, with half the ground of 40 x 40 m."""
    right, bottom = left + 40, top - 40
    return shapely.Polygon([(left, top), (right, bottom), (right, top), (left, bottom)])


def test_invalid_polygons_near_are_repaired_and_counted_and_far_ones_do_not_matter(
    tmp_path: Path,
) -> None:
    """One bad parcel among a country's must not stop a probe in another valley."""
    shapes = [
        shapely.box(LEFT, TOP - 40, LEFT + 40, TOP),
        bow(LEFT + 40, TOP),
        bow(LEFT - 80_000, TOP - 1_600_000),
        shapely.Polygon([(LEFT + 81, TOP), (LEFT + 82, TOP - 1), (LEFT + 83, TOP - 2)]),
        shapely.Polygon([(LEFT, TOP), (np.inf, TOP), (LEFT, TOP - 40)]),
    ]
    frame = gpd.GeoDataFrame({"use": list("aabbb")}, geometry=shapes, crs=32632)
    frame.to_parquet(tmp_path / "a.parquet")
    labels = open_labels(tmp_path / "a.parquet", "use")
    joined = labels.join(squares(1, 3))
    np.testing.assert_allclose(joined.cover, [[1, 0.5, 0]])
    assert [labels.class_of(v) for v in joined.value[0, :2]] == ["a", "a"]
    record = labels.record()
    assert (record["repaired_polygons"], record["polygons_left_out"]) == (1, 1)


def test_a_polygon_that_cannot_be_cut_at_the_antimeridian_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    near = gpd.GeoSeries([shapely.box(LEFT, TOP - 40, LEFT + 40, TOP)], crs=32632).to_crs(4326)[0]
    crossed = shapely.Polygon([(179, 0), (-179, 2), (-179, 0), (179, 2)])
    frame = gpd.GeoDataFrame({"use": list("ab")}, geometry=[near, crossed], crs=4326)
    frame.to_parquet(tmp_path / "a.parquet")
    labels = open_labels(tmp_path / "a.parquet", "use")
    assert labels.class_of(labels.join(squares(1, 1)).value[0, 0]) == "a"
    assert labels.record()["polygons_left_out"] == 1
    assert np.isfinite(labels.extent()).all()


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.csv"])
def test_blank_text_is_no_class(tmp_path: Path, name: str) -> None:
    """A class of blanks would be predicted all over the map."""
    points = [shapely.Point(LEFT + 20 + 40 * k, TOP - 20) for k in range(7)]
    frame = gpd.GeoDataFrame(
        {"use": ["wood", "", "  ", "nan", None, "field", "NaN"]}, geometry=points, crs=32632
    ).to_crs(4326)
    if name == "a.csv":
        table = pd.DataFrame({"use": frame["use"], "wkt": frame.geometry.to_wkt()})
        table.to_csv(tmp_path / name, index=False)
    else:
        frame.to_file(tmp_path / name)
    labels = open_labels(tmp_path / name, "use")
    value = labels.join(squares(1, 7)).value[0]
    assert np.isfinite(value).tolist() == [True, False, False, False, False, True, False]
    assert {labels.class_of(v) for v in value[[0, 5]]} == {"wood", "field"}
    assert labels.record()["blank_labels"] == 5
    assert labels.record()["features_without_label"] == 5


def test_points_without_coordinates_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("TH_LAT,TH_LONG,LC1\n59.9,10.8,A\n,,B\n59.8,10.8,C\n")
    labels = open_labels(tmp_path / "a.csv", "LC1")
    assert labels.kind == "points"
    assert (labels.record()["features"], labels.record()["features_without_label"]) == (3, 1)


def test_what_is_ignored_without_effect_is_said_with_how_commas_are_written(
    tmp_path: Path,
) -> None:
    points = [shapely.Point(LEFT + 20 + 40 * k, TOP - 20) for k in range(3)]
    path = vector(tmp_path / "a.gpkg", points, use=["maize, silage", "wood", "field"])
    labels = open_labels(path, "use", ignore=("maize", "silage", "wood"))
    (note,) = labels.notes
    assert "'maize' or 'silage'" in note
    assert """--ignore '"maize, silage"'""" in note
    labels = open_labels(path, "use", ignore=("maize, silage", "wood"))
    assert labels.notes == ()
    assert np.isfinite(labels.join(squares(1, 3)).value[0]).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("gap", "add", "nodata", "task", "note"),
    [
        (np.nan, 0, None, "classification", True),
        (np.nan, 0, np.nan, "classification", True),
        (-9999, 0, -9999, "regression", True),
        (np.nan, 0.5, None, "regression", False),
        (-9999.5, 0, -9999.5, "regression", True),
    ],
)
def test_whole_numbers_with_gaps_are_classes_in_rasters_too(
    tmp_path: Path,
    write_tif: Callable[..., Path],
    gap: float,
    add: float,
    nodata: float | None,
    task: str,
    note: bool,
) -> None:
    """Programs turn integers into floats to write NaN; regressed class codes mean nothing."""
    pixels = np.full((1, 8, 8), 10, dtype=np.float32)
    pixels[0, :, 4:] = 40 + add
    pixels[0, 0, 0] = gap
    path = write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP), nodata=nodata)
    labels = open_labels(path)
    assert labels.task == task
    assert bool(labels.notes) == note
    other = "regression" if task == "classification" else "classification"
    assert open_labels(path, task=other).task == other  # type: ignore[arg-type]
    assert open_labels(path, task=other).notes == ()  # type: ignore[arg-type]
    if task == "classification":
        assert labels.join(squares(1, 2)).value.tolist() == [[10, 40]]


@pytest.mark.parametrize("epsg", [32760, 32701])
def test_labels_on_both_sides_of_the_antimeridian_are_joined(epsg: int, tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(180.0, -17.0)
    across = Squares(epsg, x - 200, y + 100, 100, 2, 4)
    points = [
        shapely.Point(lon, lat) for lat in (-16.9995, -17.0005) for lon in (179.999, -179.999)
    ]
    path = vector(tmp_path / "points.gpkg", points, "OGC:CRS84", kind=["a", "b", "c", "d"])
    joined = open_labels(path, target="kind").join(across)
    assert np.isfinite(joined.value).sum() == 4
    polygon = shapely.Polygon(
        [(179.998, -17.1), (-179.998, -17.1), (-179.998, -16.9), (179.998, -16.9)]
    )
    uncut = vector(tmp_path / "polygon.gpkg", [polygon], "OGC:CRS84", kind=["a"])
    joined = open_labels(uncut, target="kind").join(across)
    assert (joined.value == 0).all()
    np.testing.assert_allclose(joined.cover, 1)
    far = Squares(32632, 500_000, y, 100, 2, 4)
    assert np.isnan(open_labels(uncut, target="kind").join(far).value).all()


@pytest.mark.parametrize("epsg", [32760, 32701])
@pytest.mark.parametrize("west", [179.9, -180.1])
def test_a_raster_of_labels_may_reach_beyond_180_degrees(
    epsg: int, west: float, tmp_path: Path
) -> None:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(180.0, -17.0)
    path = tmp_path / "labels.tif"
    with rasterio.open(
        path,
        "w",
        "GTiff",
        count=1,
        dtype="uint8",
        crs="EPSG:4326",
        width=200,
        height=200,
        transform=from_origin(west, -16.9, 1e-3, 1e-3),
    ) as file:
        file.write(np.full((1, 200, 200), 3, np.uint8))
    joined = open_labels(path).join(Squares(epsg, x - 2000, y + 1000, 500, 4, 8))
    assert (joined.value == 3).all()
    assert joined.cover.min() > 0.9


def test_the_target_of_a_raster_is_its_band_or_a_name_for_a_nameless_one(
    tmp_path: Path, write_tif: Callable[..., Path]
) -> None:
    """A band that is not there would give its name to the labels of another."""
    path = write_tif(tmp_path / "scene.tif", np.ones((1, 4, 4), dtype=np.uint8), (LEFT, TOP))
    assert open_labels(path).name == "scene"
    assert open_labels(path, "cover").name == "cover"
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "SCL")
    assert open_labels(path, "SCL").name == "SCL"
    with pytest.raises(ConfigError, match=r"--target='cover'`: the band of .* is called SCL"):
        open_labels(path, "cover")
