"""If one of these fails, places are drawn where they are not, or hide each other."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from thor_geo.pictures.place_map import Dots, PlaceGround

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("lon", "lat", "azimuthal"),
    [
        (RNG.uniform(5, 20, 90), RNG.uniform(50, 60, 90), True),
        ((RNG.uniform(175, 185, 90) + 180) % 360 - 180, RNG.uniform(-20, -15, 90), True),
        (RNG.uniform(-180, 180, 900), RNG.uniform(-60, 75, 900), False),
        (np.array([12.0]), np.array([60.0]), True),
        (np.array([12.0, 12.0]), np.array([60.0, 60.0]), True),
    ],
    ids=["region", "antimeridian", "world", "one place", "one point twice"],
)
def test_all_places_lie_on_their_map_and_areas_are_true(
    lon: np.ndarray, lat: np.ndarray, azimuthal: bool
) -> None:
    ground = PlaceGround.around(lon, lat, least_m=10_000)
    left, bottom, right, top = ground.bounds
    assert ground.azimuthal is azimuthal
    assert (left < ground.x).all()
    assert (ground.x < right).all()
    assert (bottom < ground.y).all()
    assert (ground.y < top).all()
    assert 0.4 < ground.aspect < 1
    back = pyproj.Transformer.from_crs(ground.crs, "OGC:CRS84", always_xy=True)
    found = back.transform(ground.x, ground.y)
    np.testing.assert_allclose((found[0] - lon + 180) % 360, 180, atol=1e-6)
    np.testing.assert_allclose(found[1], lat, atol=1e-6)
    # A square of a tenth of a degree around each place has its area on the ellipsoid.
    to_map = pyproj.Transformer.from_crs("OGC:CRS84", ground.crs, always_xy=True)
    geod = pyproj.Geod(ellps="WGS84")
    for a, b in list(zip(lon.tolist(), lat.tolist(), strict=True))[:20]:
        if abs(a) > 179:
            continue
        corners = np.array([(a, b), (a + 0.1, b), (a + 0.1, b + 0.1), (a, b + 0.1)])
        x, y = to_map.transform(*corners.T)
        area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        true = abs(geod.polygon_area_perimeter(*corners.T)[0])
        assert area == pytest.approx(true, rel=0.01)


def test_a_run_across_the_antimeridian_is_one_map() -> None:
    lon, lat = np.array([179.5, -179.5]), np.array([-17.0, -17.0])
    ground = PlaceGround.around(lon, lat, least_m=1000)
    assert np.ptp(ground.x) < 110_000


def test_dots_hold_all_places_once() -> None:
    x, y = RNG.uniform(0, 100, (2, 5000))
    value = RNG.uniform(0, 1, 5000)
    dots = Dots.of(x, y, 10.0)
    assert len(dots.count) == 100
    assert dots.count.sum() == 5000
    # Every dot lies among its places, and no place is forgotten in the means.
    assert (dots.means(value[:, None])[:, 0] @ dots.count) == pytest.approx(value.sum())
    assert np.abs(x - dots.x[dots.member]).max() < 10
    codes = (x > 50).astype(np.int64)
    np.testing.assert_array_equal(dots.most(codes, 2)[dots.member[x > 60]], 1)
