"""The plan of a table of places: chips on the coarsest pixels, order, shards, and its file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.chips import chip_around, chip_unit
from thor_geo.ground.lattice import Lattice, zone_of
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.runs.plan_file import read_plan, write_plan
from thor_geo.specs.bands import bands_from_ee, select_bands


def table(lon: Any, lat: Any, starts: Any = "2021-05-01", ends: Any = "2021-08-01") -> Places:
    lon, lat = np.asarray(lon, float), np.asarray(lat, float)
    starts, ends = (
        np.broadcast_to(np.asarray(times, "datetime64[us]"), lon.shape) for times in (starts, ends)
    )
    return Places(
        source="survey.csv",
        lon=lon,
        lat=lat,
        starts=starts,
        ends=ends,
        columns=pa.table({"crop": [f"c{k % 3}" for k in range(len(lon))]}),
        id=None,
        polygons=None,
        skipped={},
        digests={"geometry": "a", "start": "b", "end": "c", "column:crop": "d"},
    )


def planned(places: Places, *, size: int = 288, unit: int = 2, shard: int = 64) -> PlacePlan:
    lattice = Lattice(epsg=32601, tile_size=size)
    return PlacePlan.from_places(places, lattice, unit=unit, shard_places=shard, block_size=576)


@pytest.fixture(scope="module")
def scattered() -> Places:
    rng = np.random.default_rng(0)
    days = rng.integers(0, 3, 300)
    starts = np.datetime64("2021-05-01") + 10 * days
    return table(rng.uniform(-179.9, 179.9, 300), rng.uniform(-79, 83, 300), starts, starts + 90)


@pytest.mark.parametrize(("unit", "size"), [(1, 288), (2, 288), (6, 288), (6, 150)])
def test_centres_lie_within_half_a_coarse_pixel_of_the_place_and_corners_on_its_grid(
    scattered: Places, unit: int, size: int
) -> None:
    plan = planned(scattered, unit=unit, size=size)
    for k in range(len(plan)):
        chip, row = plan.tile(k), plan.place[k]
        lon, lat = scattered.lon[row], scattered.lat[row]
        assert chip.epsg == zone_of(lon, lat)
        x, y = transformer(LONLAT, f"EPSG:{chip.epsg}").transform(lon, lat)
        left, bottom, right, top = chip.bounds
        step = unit * 10
        assert abs((left + right) / 2 - x) <= step / 2 + 1e-6
        assert abs((bottom + top) / 2 - y) <= step / 2 + 1e-6
        assert right - left == top - bottom == size * 10
        assert left % step == 0
        assert top % step == 0 or chip.epsg > 32700  # 10,000 km is no multiple of 60 m
        offset = np.hypot((left + right) / 2 - x, (bottom + top) / 2 - y)
        assert plan.offset_m[k] == pytest.approx(offset, abs=1e-3)
        assert plan.at(k) == pytest.approx(((top - y) / 10, (x - left) / 10))


def test_a_single_place_has_the_chip_that_a_table_gives_it(scattered: Places) -> None:
    plan = planned(scattered, unit=6)
    for k in range(len(plan)):
        chip = plan.tile(k)
        lon, lat = float(plan.lon[k]), float(plan.lat[k])
        alone = chip_around(lon, lat, size=288, resolution=10, unit=6)
        assert (alone.epsg, alone.bounds, alone.id) == (chip.epsg, chip.bounds, chip.id)


def test_southern_chips_lie_on_the_60_m_pixels_of_granules() -> None:
    plan = planned(table([-60.0], [-10.0]), unit=6)
    assert (10_000_000 - plan.tile(0).bounds[3]) % 60 == 0


def test_the_coarsest_band_gives_the_unit() -> None:
    assert chip_unit(select_bands([b.channel for b in bands_from_ee(["B2", "B4"])]), 10) == 1
    assert chip_unit(select_bands([b.channel for b in bands_from_ee(["B2", "B11"])]), 10) == 2
    assert chip_unit(select_bands([b.channel for b in bands_from_ee(["B2", "B11", "B1"])]), 10) == 6
    assert chip_unit(select_bands([b.channel for b in bands_from_ee(["B2", "B11"])]), 20) == 1


def test_a_tile_of_half_a_coarse_pixel_is_refused_with_the_sides_that_fit() -> None:
    with pytest.raises(ConfigError, match=r"tile_size=100.*60 m.*Take 96 or 102"):
        planned(table([10.0], [50.0]), size=100, unit=6)


def test_places_are_ordered_by_zone_window_and_neighbourhood(scattered: Places) -> None:
    plan = planned(scattered)
    assert sorted(plan.place.tolist()) == list(range(300))
    keys = list(zip(plan.zone.tolist(), plan.window.tolist(), strict=True))
    assert keys == sorted(keys)
    assert [w.start for w in plan.windows] == sorted(w.start for w in plan.windows)
    for k in range(len(plan)):
        row = plan.place[k]
        span = plan.window_of(k)
        assert np.datetime64(span.start.replace(tzinfo=None)) == scattered.starts[row]
        assert np.datetime64(span.end.replace(tzinfo=None)) == scattered.ends[row]


def test_neighbours_are_near_each_other_in_a_shard() -> None:
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(6.1, 11.9, 2000), rng.uniform(40, 60, 2000)
    plan = planned(table(lon, lat))
    steps = np.hypot(np.diff(plan.x), np.diff(plan.y))
    at_random = np.hypot(np.diff(rng.permutation(plan.x)), np.diff(rng.permutation(plan.y)))
    assert np.median(steps) < np.median(at_random) / 10


def test_shards_hold_as_many_places_each_whatever_their_zones(scattered: Places) -> None:
    plan = planned(scattered, shard=64)
    assert [len(shard) for shard in plan.shards] == [64, 64, 64, 64, 44]
    assert [shard.id for shard in plan.shards][:2] == ["places_000000", "places_000001"]
    assert plan.shards[2:4][1].id == "places_000003"
    assert plan.tile(64).shard_id == "places_000001"
    part = plan.part(64, 192)
    assert [shard.id for shard in part.shards] == ["places_000001", "places_000002"]
    assert part.tile(0) == plan.tile(64)


def test_rows_in_another_order_give_the_same_chips() -> None:
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(5, 20, 100), rng.uniform(40, 60, 100)
    order = rng.permutation(100)
    one, other = planned(table(lon, lat)), planned(table(lon[order], lat[order]))
    assert [one.tile(k).id for k in range(100)] == [other.tile(k).id for k in range(100)]
    assert one.digest != other.digest  # the rows' numbers are part of the outputs


def test_skipped_rows_are_no_part_of_the_plan() -> None:
    plan = planned(table([10.0, np.nan, 11.0], [50.0, np.nan, 50.0]))
    assert sorted(plan.place.tolist()) == [0, 2]


def test_the_file_gives_the_plan_back(tmp_path: Any, scattered: Places) -> None:
    plan = planned(scattered)
    write_plan(tmp_path / "plan.parquet", plan, rows_at_once=100)
    again = read_plan(tmp_path / "plan.parquet")
    assert isinstance(again, PlacePlan)
    assert again.digest == plan.digest
    assert again.windows == plan.windows
    for name in ("zone", "col", "row", "place", "window", "lon", "lat", "x", "y", "alone"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plan, name))
    assert [s.id for s in again.shards] == [s.id for s in plan.shards]


def test_the_digest_follows_the_table() -> None:
    places = table([10.0, 11.0], [50.0, 50.0])
    other = Places(**{**vars(places), "digests": {**places.digests, "column:crop": "e"}})
    assert planned(places).digest == planned(places).digest != planned(other).digest


def test_places_in_zones_without_files_are_named() -> None:
    lattice = Lattice(epsg=32601)
    with pytest.raises(ConfigError, match=r"1 place in zones .*utm33n.* row 2 "):
        PlacePlan.from_places(
            table([10.0, 13.0], [50.0, 50.0]),
            lattice,
            unit=2,
            shard_places=64,
            block_size=None,
            anchors={32632: None},
        )
