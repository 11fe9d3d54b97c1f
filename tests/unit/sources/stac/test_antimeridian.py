"""If these fail, scenes beside 180 degrees are left out, or those of half the world come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from thor_geo.emulator import generate_archive, write_catalogue
from thor_geo.emulator.generate import Acquisition
from thor_geo.ground.lattice import Block
from thor_geo.sources.stac.items import parse
from thor_geo.support.jsontext import parse_json

WEST, SOUTH, EAST, NORTH = 179.6, -17.3, -179.6, -16.7
HALVES = [shapely.box(WEST, SOUTH, 180, NORTH), shapely.box(-180, SOUTH, EAST, NORTH)]
RING = [(WEST, SOUTH), (EAST, SOUTH), (EAST, NORTH), (WEST, NORTH)]


def _block(lon: float, lat: float, epsg: int) -> Block:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    return Block(
        epsg=epsg, size=64, resolution=10, left=int(x // 10), top=int(y - 10_000_000) // 10
    )


def _item(geometry: Any) -> dict[str, Any]:
    return {
        "id": "s",
        "geometry": shapely.geometry.mapping(geometry),
        "properties": {"datetime": "2022-06-05T10:40:31.024Z"},
        "assets": {},
    }


@pytest.mark.parametrize("epsg", [32701, 32760])
@pytest.mark.parametrize(
    "geometry",
    [
        shapely.MultiPolygon(HALVES),
        shapely.Polygon(RING),
        shapely.Polygon([(lon % 360, lat) for lon, lat in RING]),
    ],
    ids=["cut", "jump", "beyond"],
)
def test_a_footprint_across_reaches_the_blocks_on_it_and_no_others(
    geometry: Any, epsg: int
) -> None:
    item = parse(_item(geometry))
    for lon, there in ((179.7, True), (179.999, True), (-179.95, True), (-179.7, True)):
        assert item.reaches(_block(lon, -17.0, epsg)) is there
    for lon, lat in ((179.4, -17.0), (-179.3, -17.0), (179.9, -16.0)):
        assert not item.reaches(_block(lon, lat, epsg))
    assert not item.reaches(_block(9.0, -17.0, 32732))


def test_a_catalogue_of_generated_scenes_has_footprints_as_rfc_7946_wants(tmp_path: Any) -> None:
    folder = generate_archive(
        tmp_path / "scenes",
        size_m=2400,
        center=(180.0, -17.0),
        zones=(32760,),
        acquisitions=(Acquisition(date="2022-06-05", cloud_cover=0.1),),
    )
    write_catalogue(folder)
    (path,) = (folder / "items").glob("*.json")
    content = parse_json(path.read_bytes())
    geometry = shapely.geometry.shape(content["geometry"])
    assert geometry.geom_type == "MultiPolygon"
    west, _, east, _ = content["bbox"]
    assert west > 179.9
    assert east < -179.9
    np.testing.assert_allclose(geometry.bounds[::2], (-180, 180))
    assert geometry.area == pytest.approx((east + 360 - west) * 0.0217, rel=0.05)
