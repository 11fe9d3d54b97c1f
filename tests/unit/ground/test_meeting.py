"""If one of these fails, a plan misses ground, or a run begun before is another's plan now."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import shapely

from thor_geo.errors import AreaError
from thor_geo.ground import meeting as planning
from thor_geo.ground import plan as plan_module
from thor_geo.ground.area import LONLAT, Area, AreaSpec, transformer
from thor_geo.ground.lattice import Lattice, zone_of, zone_strip
from thor_geo.ground.plan import Plan


def tile_by_tile(area: Area, lattice: Lattice) -> npt.NDArray[np.int64]:
    """Zone, column, row and primary flag of every tile by the definition, in plan order, (n, 4)."""
    found = []
    for index, (epsg, geometry) in enumerate(area.zones().items()):
        left, bottom, right, top = geometry.bounds
        one = Lattice(
            epsg=epsg,
            tile_size=lattice.tile_size,
            stride=lattice.stride,
            resolution=lattice.resolution,
            shard_tiles=lattice.shard_tiles,
            anchor=lattice.anchor,
        )
        west, south, east, north = zone_strip(epsg)
        to_lonlat = transformer(f"EPSG:{epsg}", LONLAT)
        for row in one.rows(bottom, top):
            for col in one.columns(left, right):
                x0, y0, x1, y1 = one.tile(col, row).bounds
                if geometry.intersects(shapely.box(x0 + 0.01, y0 + 0.01, x1 - 0.01, y1 - 0.01)):
                    lon, lat = to_lonlat.transform((x0 + x1) / 2, (y0 + y1) / 2)
                    primary = west <= lon < east and south <= lat < north
                    found.append((index, *one.shard_of(col, row), col, row, primary))
    found.sort(key=lambda tile: (tile[0], -tile[2], tile[1], -tile[4], tile[3]))
    return np.array([(tile[0], tile[3], tile[4], tile[5]) for tile in found], dtype=np.int64)


def ragged(rng: np.random.Generator, lon: float, lat: float, size: float) -> shapely.Geometry:
    """A star of random reach with a hole, and an island, about a place; degrees."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    reach = size * rng.uniform(0.3, 1.0, 40)
    star = shapely.Polygon(
        np.column_stack([lon + reach * np.cos(angle), lat + reach * np.sin(angle)])
    )
    hole = shapely.Point(lon, lat).buffer(0.12 * size)
    island = shapely.box(lon + 1.1 * size, lat, lon + 1.2 * size, lat + 0.05 * size)
    return star.buffer(0).difference(hole).union(island)


LATTICES = {
    "default": Lattice(epsg=32601),
    "overlapping": Lattice(epsg=32601, stride=96, shard_tiles=5),
    "single": Lattice(epsg=32601, shard_tiles=1),
    "coarse": Lattice(epsg=32601, tile_size=100, resolution=60, shard_tiles=3),
}
PLACES = {
    "a zone's edge": (12.0, 60.0, 0.3),
    "four zones": (6.0, 0.05, 0.25),
    "southern": (-70.5, -33.0, 0.3),
    "far north": (21.0, 83.7, 0.25),
    "far south": (-62.9, -79.7, 0.25),
}


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES.keys())
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_planning_by_squares_finds_what_testing_every_tile_finds(
    place: tuple[float, float, float], lattice: Lattice, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small limits: several levels of squares, several chunks of everything.
    monkeypatch.setattr(planning, "_COARSEST", 4)
    monkeypatch.setattr(planning, "_BOXES", 37)
    monkeypatch.setattr(planning, "_ROWS", 100)
    monkeypatch.setattr(plan_module, "_ROWS", 50)
    rng = np.random.default_rng(int(1000 * place[0] + place[1]) % 2**32)
    area = Area(geometry=ragged(rng, *place))
    plan = Plan.from_area(area, lattice)
    expected = tile_by_tile(area, lattice)
    np.testing.assert_array_equal(
        np.column_stack([plan.zone, plan.col, plan.row, plan.primary]), expected
    )
    k = lattice.shard_tiles
    key = np.column_stack([expected[:, 0], expected[:, 1] // k, -(-expected[:, 2] // k)])
    starts = [0, *(np.flatnonzero((key[1:] != key[:-1]).any(axis=1)) + 1)]
    assert plan.shards.starts.tolist() == starts


@pytest.mark.parametrize("anchor", [(501362.5, 5629680.25), (-3_000_123.0, 12_000_001.0)])
def test_an_anchored_lattice_as_well(anchor: tuple[float, float]) -> None:
    lattice = Lattice(epsg=32601, tile_size=64, anchor=anchor, shard_tiles=4)
    area = AreaSpec(bbox=(501300.0, 5620000.0, 512000.0, 5630000.0), crs="EPSG:32631").load()
    plan = Plan.from_area(area, lattice)
    np.testing.assert_array_equal(
        np.column_stack([plan.zone, plan.col, plan.row, plan.primary]), tile_by_tile(area, lattice)
    )


def test_an_anchor_beyond_all_columns_is_refused() -> None:
    area = AreaSpec(bbox=(501300.0, 5620000.0, 512000.0, 5630000.0), crs="EPSG:32631").load()
    with pytest.raises(AreaError, match="anchor"):
        Plan.from_area(area, Lattice(epsg=32601, tile_size=64, anchor=(1e15, 0.0)))


def test_plans_are_those_of_the_first_release() -> None:
    """Digests that runs on disk carry: with another, none of them could be continued."""
    digests = {
        ((11.9, 59.5, 13.0, 60.5), Lattice(epsg=32601)): "7a91969c95ace361e014008b4f7bd29c"
        "65d7c9e71f14f2ca7011c75762f71a8b",
        ((10.0, -1.0, 10.5, 1.0), Lattice(epsg=32601, shard_tiles=3)): "e5ed4fae6b164a91aa3d9396"
        "b9855979f5e92aa995c814584ec20984b20395c7",
        ((17.0, -35.0, 19.5, -30.0), Lattice(epsg=32601, stride=144)): "40c22c6036f01f596f1a65ed"
        "434a6c982afbfb57456f59de82122b189d3baec0",
    }
    for (bbox, lattice), digest in digests.items():
        assert Plan.from_area(AreaSpec(bbox=bbox).load(), lattice).digest == digest


def test_only_shards_on_the_edge_are_tested_tile_by_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = []
    real = shapely.intersects

    def counting(geometry: shapely.Geometry, boxes: npt.NDArray[np.object_]) -> object:
        tested.append(len(boxes))
        return real(geometry, boxes)

    monkeypatch.setattr(shapely, "intersects", counting)
    plan = Plan.from_area(AreaSpec(bbox=(7.0, 48.0, 11.0, 52.0)).load(), Lattice(epsg=32601))
    assert len(plan) > 10_000
    assert sum(tested) < len(plan) / 2


def test_the_whole_strip_of_a_zone_is_its_own() -> None:
    """The shortcut for shards inside the strip agrees with the centres of their tiles."""
    lattice = Lattice(epsg=32601, tile_size=1000, resolution=60, shard_tiles=2)
    for epsg in (zone_of(-171, 1), zone_of(21, -1)):
        strip = zone_strip(epsg)
        area = Area(geometry=shapely.box(*strip))
        plan = Plan.from_area(area, lattice)
        np.testing.assert_array_equal(plan.primary, tile_by_tile(area, lattice)[:, 3])
        assert 0 < plan.primary.sum() < len(plan)


def test_shards_behave_as_a_sequence() -> None:
    plan = Plan.from_area(AreaSpec(bbox=(11.8, 59.8, 12.2, 60.1)).load(), Lattice(epsg=32601))
    shards = plan.shards
    assert shards[-1] == list(shards)[-1] == shards[len(shards) - 1]
    assert list(shards[1:-1]) == list(shards)[1:-1]
    assert shards[2] in shards
    assert shards.index(shards[2]) == 2
    with pytest.raises(IndexError):
        shards[len(shards)]
    for index, shard in enumerate(shards):
        assert shards.holding(shard.start) == shards.holding(shard.stop - 1) == index
    part = shards[1:3]
    assert part.holding(shards[2].start) == 1
    for tile in (-1, 0, shards[3].start, len(plan)):
        with pytest.raises(IndexError, match="none of these 2"):
            part.holding(tile)
