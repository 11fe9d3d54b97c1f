"""Embeddings and labels of one place stand side by side, each place once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from tests.support.synthetic_run import CELLS, DIMENSION, embed, plan_of, write_run
from thor_geo.errors import ConfigError
from thor_geo.probe import ProbeSpec, open_labels
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.joining import JoinableLabels
from thor_geo.runs.opened_run import OpenedRun, read_run


def everywhere(
    path: Path, epsg: int = 32632, bounds: tuple[int, ...] | None = None
) -> JoinableLabels:
    """Return squares of 1 km with a number each, over all of a run."""
    left, bottom, right, top = bounds or (580_000, 6_630_000, 610_000, 6_655_000)
    boxes = [
        shapely.box(x, y, x + 1000, y + 1000)
        for x in range(left, right, 1000)
        for y in range(bottom, top, 1000)
    ]
    centres = [b.centroid for b in boxes]
    frame = gpd.GeoDataFrame(
        {"east": [c.x for c in centres], "kind": [int(c.x // 4000) for c in centres]},
        geometry=boxes,
        crs=epsg,
    )
    frame.to_file(path)
    return open_labels(path, "kind")


def test_cells_carry_the_embedding_of_their_place(opened: OpenedRun, tmp_path: Path) -> None:
    labels = everywhere(tmp_path / "a.gpkg")
    samples = collect_samples(opened, labels, ProbeSpec(on="cells"))
    assert len(samples) == len(opened.plan) * CELLS**2
    assert samples.side == 480
    # The first two values of a synthetic embedding are easting and northing in km.
    np.testing.assert_allclose(samples.vectors[:, 0], samples.x / 1000, rtol=1e-6)
    np.testing.assert_allclose(samples.vectors[:, 1], samples.y / 1000, rtol=1e-6)
    for k in range(0, len(samples), 97):
        left, bottom, right, top = opened.plan.tile(int(samples.tile[k])).bounds
        assert left < samples.x[k] < right
        assert bottom < samples.y[k] < top
    # A cell lies in one or two squares east to west: its class is that of its centre's, or next to.
    true = samples.x // 4000
    wrong = np.array([int(labels.class_of(v)) for v in samples.values]) != true
    assert (np.abs(samples.x[wrong] % 4000 - 2000) > 2000 - 240).all()


def test_tiles_carry_their_own_vector(opened: OpenedRun, tmp_path: Path) -> None:
    samples = collect_samples(opened, everywhere(tmp_path / "a.gpkg"), ProbeSpec())
    assert samples.unit == "tiles"
    for k, index in enumerate(samples.tile.tolist()):
        np.testing.assert_array_equal(samples.vectors[k], embed(opened.plan.tile(index))[0])


def test_ground_in_two_zones_counts_once(two_zones: OpenedRun, tmp_path: Path) -> None:
    """A place in training and in testing at once would be a leak."""
    labels = open_labels(_whole(tmp_path / "w.gpkg"), "kind")
    cells = collect_samples(two_zones, labels, ProbeSpec(on="cells"))
    for epsg in (32632, 32633):
        in_zone = cells.epsg == epsg
        change = Transformer.from_crs(epsg, 4326, always_xy=True)
        lon, _ = change.transform(cells.x[in_zone], cells.y[in_zone])
        assert ((lon < 12) if epsg == 32632 else (lon >= 12)).all()
        assert in_zone.any()
    tiles = collect_samples(two_zones, labels, ProbeSpec(on="tiles"))
    assert len(tiles) == int(two_zones.plan.primary.sum()) < len(two_zones.plan)


def _whole(path: Path) -> Path:
    box = shapely.box(11, 59, 13, 61)
    gpd.GeoDataFrame({"kind": ["a"]}, geometry=[box], crs=4326).to_file(path)
    return path


def test_a_point_labels_the_one_tile_in_whose_middle_it_lies(tmp_path: Path) -> None:
    """Several overlapping tiles hold a point; each of them would count it again."""
    plan = plan_of(stride=144)
    write_run(tmp_path / "run", plan, grid=False)
    tile = plan.tile(len(plan) // 2)
    x, y = tile.centre.bounds[0] + 10, tile.centre.bounds[1] + 10
    gpd.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.Point(x, y)], crs=32632).to_file(
        tmp_path / "p.gpkg"
    )
    labels = open_labels(tmp_path / "p.gpkg", "kind")
    assert collect_samples(read_run(tmp_path / "run"), labels, ProbeSpec()).tile.tolist() == [
        len(plan) // 2
    ]


def test_what_is_left_out_is_counted(
    opened: OpenedRun, tmp_path: Path, write_tif: Callable[..., Path]
) -> None:
    plan = opened.plan
    write_run(tmp_path / "run", plan, failed={0: "lost"})
    left, _, _, top = plan.tile(0).bounds
    pixels = np.ones((1, 288, 288 * 2), dtype=np.uint8)
    pixels[:, :30] = 0  # most of the first row of cells
    path = write_tif(tmp_path / "labels.tif", pixels, (left, top), nodata=0)
    run = read_run(tmp_path / "run")
    samples = collect_samples(run, open_labels(path), ProbeSpec())
    assert samples.unit == "cells"
    counts = samples.counts
    neighbour = [k for k in range(len(plan)) if plan.tile(k).bounds[0::3] == (left + 2880, top)]
    held = 1 + len(neighbour)
    assert counts.thin == held * CELLS
    assert counts.without_embedding == CELLS * (CELLS - 1)
    assert counts.labelled == (held - 1) * CELLS * (CELLS - 1) == len(samples)
    total = counts.labelled + counts.thin + counts.without_embedding + counts.unlabelled
    assert total == len(plan) * CELLS**2
    more = collect_samples(run, open_labels(path), ProbeSpec(min_cover=0.3))
    assert more.counts.thin == 0
    few = collect_samples(opened, open_labels(path), ProbeSpec(max_samples=10))
    assert (len(few), few.counts.thinned) == (10, few.counts.labelled - 10)
    assert few.vectors.shape == (10, DIMENSION)


def test_labels_elsewhere_are_refused(opened: OpenedRun, tmp_path: Path) -> None:
    labels = everywhere(tmp_path / "a.gpkg", bounds=(100_000, 100_000, 102_000, 102_000))
    with pytest.raises(ConfigError, match=r"no tile of .* the right CRS"):
        collect_samples(opened, labels, ProbeSpec())


@pytest.mark.parametrize("raster", [False, True])
def test_exchanged_coordinates_are_recognised(
    opened: OpenedRun, tmp_path: Path, raster: bool, write_tif: Callable[..., Path]
) -> None:
    """The CRS is right then: to blame it would send the user searching in the wrong place."""
    if raster:
        pixels = np.ones((1, 10, 10), dtype=np.uint8)
        path = write_tif(tmp_path / "a.tif", pixels, (59.86, 10.78), 0.01, crs="EPSG:4326")
    else:
        path = tmp_path / "a.gpkg"
        points = [shapely.Point(59.87, 10.65), shapely.Point(59.95, 10.75)]
        gpd.GeoDataFrame({"kind": [1, 2]}, geometry=points, crs=4326).to_file(path)
    labels = open_labels(path, None if raster else "kind")
    with pytest.raises(ConfigError, match="longitude first") as caught:
        collect_samples(opened, labels, ProbeSpec(on="cells"))
    assert f"labels lie at {59.86 if raster else 59.87:.4f} to" in str(caught.value)
    west, south = opened.plan.rings().reshape(-1, 2).min(axis=0)
    assert f"the run at {west:.4f} to" in str(caught.value)
    assert f"{south:.4f} to" in str(caught.value)


def test_a_run_without_maps_or_vectors_says_which_setting(
    opened: OpenedRun, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", opened.plan, grid=False)
    labels = everywhere(tmp_path / "a.gpkg")
    with pytest.raises(ConfigError, match=r"output\.grid=true"):
        collect_samples(read_run(tmp_path / "run"), labels, ProbeSpec(on="cells"))
