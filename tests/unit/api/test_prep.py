"""If this fails, pixels of other extents than a tile are cut, padded or placed wrongly."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import shapely

from thor_geo.api._cut import Cut
from thor_geo.api._cutter import Cutter
from thor_geo.api._place import Place
from thor_geo.api.prep import InputPrep, Mode
from thor_geo.errors import AreaError, ConfigError
from thor_geo.ground.lattice import Lattice, Rect
from thor_geo.models.layout import token_layout
from thor_geo.specs import BBox, PointBuffer
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee, select_bands

SELECTION = select_bands([band.channel for band in bands_from_ee(S2_DEFAULT_BANDS)])


def cutter(
    prep: InputPrep | Mode, *, patch_size: int = 16, image_size: int = 288, resolution: int = 10
) -> Cutter:
    prep = prep if isinstance(prep, InputPrep) else InputPrep(mode=prep)
    return Cutter(
        prep=prep,
        selection=SELECTION,
        patch_size=patch_size,
        resolution=resolution,
        image_size=image_size,
    )


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(288, 288, 288), (1, 1, 32), (300, 290, 288), (305, 290, 320), (384, 100, 384)],
)
def test_native_takes_the_nearest_side_that_patches_divide(
    height: int, width: int, side: int
) -> None:
    cut = cutter("native").cut(height, width, origin=(5000, 700))
    assert (cut.height, cut.width, cut.image_size, cut.ground_cover) == (
        side,
        side,
        side,
        10 * side,
    )
    # More ground on both sides, less on both sides.
    for taken, length, start in ((cut.height, height, cut.top), (cut.width, width, cut.left)):
        assert abs((start + taken - length) + start) <= 1


def test_native_is_bounded_and_auto_takes_tiles_beyond() -> None:
    assert cutter("native").cut(1000, 1000).height == 384
    assert cutter("auto").cut(390, 390).mode == "native"
    assert cutter("auto").cut(410, 410).mode == "tile"
    assert cutter(InputPrep.native(max_tokens=100)).cut(288, 288).height == 128


def test_resize_tells_thor_the_true_side_on_the_ground_unless_asked_not_to() -> None:
    true = cutter("resize").cut(410, 410, origin=(0, 0))
    assert (true.height, true.image_size, true.ground_cover) == (416, 288, 4160)
    nominal = cutter(InputPrep.resize(ground_cover="nominal")).cut(410, 400, origin=(0, 0))
    assert (nominal.height, nominal.width, nominal.image_size) == (410, 400, 288)
    assert nominal.ground_cover == 2880


def _kept(cut: Cut) -> np.ndarray:
    seen = np.zeros((cut.height, cut.width), int)
    for window in cut.windows:
        rows = slice(window.top + window.rows[0], window.top + window.rows[1])
        cols = slice(window.left + window.cols[0], window.left + window.cols[1])
        seen[rows, cols] += 1
    return seen


@pytest.mark.parametrize("halo", [0, 48])
@pytest.mark.parametrize("shape", [(10, 10), (288, 288), (400, 1000), (577, 289)])
@pytest.mark.parametrize("corner", [(0, 0), (57, 1003), (-300, -11)])
def test_tiles_of_a_place_are_those_of_the_runs_lattice_and_cover_it_once(
    shape: tuple[int, int], corner: tuple[int, int], halo: int
) -> None:
    height, width = shape
    top, left = corner
    cut = cutter(InputPrep.tile(halo=halo)).cut(height, width, origin=(top, left))
    step = 288 - 2 * halo
    for window in cut.windows:
        assert (top - cut.top - window.top) % step == 0
        assert (left + cut.left + window.left) % step == 0
    (first_row, last_row), (first_col, last_col) = cut.result
    assert (_kept(cut)[first_row:last_row, first_col:last_col] == 1).all()
    # The result holds the place, and less than a cell beside it.
    assert 0 <= -cut.top - first_row < 16
    assert 0 <= last_row - (height - cut.top) < 16
    assert 0 <= -cut.left - first_col < 16
    assert 0 <= last_col - (width - cut.left) < 16
    # The result holds only the middle of each tile whose middle meets the place.
    for window in cut.windows:
        if halo:
            assert window.size == 288


def test_an_array_is_padded_where_a_tile_reaches_beyond_it() -> None:
    cut = cutter("tile").cut(100, 300)
    assert (cut.top, cut.left, cut.height, cut.width) == (0, 0, 100, 300)
    assert cut.result == ((0, 112), (0, 304))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: InputPrep(mode="native", halo=16), "no tiles"),
        (lambda: InputPrep(mode="tile", ground_cover="nominal"), "only with input_prep=resize"),
        (lambda: cutter(InputPrep.tile(halo=10)), "halo"),
        (lambda: cutter(InputPrep.tile(halo=144)), "halo=144.*Take 128"),
        (lambda: cutter("tile", image_size=290), "image_size=290.*Take image_size=288 or 320"),
        (
            lambda: cutter("auto", patch_size=7),
            "image_size=288.*image_size=280 or 294; or patch_size=4",
        ),
        (lambda: cutter("auto", image_size=100), "image_size=100.*Take image_size=96 or 128"),
        (lambda: cutter("auto", patch_size=4, resolution=60), "patch_size=4.*Take 6 or more"),
        (lambda: cutter("tile").cut(20_000, 20_000, origin=(0, 0)), "thor-geo predict"),
    ],
)
def test_what_cannot_be_is_refused(make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()  # type: ignore[operator]


def test_a_place_is_the_smallest_rectangle_of_the_runs_pixel_grid() -> None:
    tile = Lattice(epsg=32631).tile(3, 1850)
    left, bottom, right, top = tile.bounds
    utm = shapely.box(left, bottom, right, top)
    from thor_geo.ground.area import Area

    place = Place.from_spatial(Area(geometry=utm, crs="EPSG:32631"), 10, 2)
    assert place.rect == Rect(
        epsg=32631, resolution=10, left=tile.left, top=tile.top, width=288, height=288
    )
    inner = Area(geometry=shapely.box(left + 1, bottom + 1, right - 1, top - 1), crs="EPSG:32631")
    assert Place.from_spatial(inner, 10, 2).rect == place.rect


def test_points_boxes_and_polygons_are_places() -> None:
    point = Place.from_spatial(PointBuffer(lon=10.75, lat=59.91, buffer_m=1000), 10, 2)
    assert point.epsg == 32632
    # 2,000 m are a whole number of pixels of 20 m: a chip, which ends where they do.
    assert (point.rect.width, point.rect.height) == (200, 200)
    assert point.rect.left % 2 == point.rect.top % 2 == 0
    odd = Place.from_spatial(PointBuffer(lon=10.75, lat=59.91, buffer_m=1010), 10, 4)
    assert {odd.rect.width, odd.rect.height} <= {202, 203}
    box = Place.from_spatial(BBox(west=10.7, south=59.9, east=10.8, north=60.0), 10, 2)
    polygon = Place.from_spatial(shapely.box(10.7, 59.9, 10.8, 60.0), 10, 2)
    assert box.rect == polygon.rect
    # Across a zone's border: whole, in the zone of the middle.
    wide = Place.from_spatial(BBox(west=11.9, south=59.9, east=12.3, north=60.0), 10, 2)
    assert wide.epsg == 32633
    assert wide.rect.width > 2000


def test_what_is_not_a_place_is_refused() -> None:
    with pytest.raises(AreaError, match="is not a place"):
        Place.from_spatial((10.7, 59.9), 10, 2)  # type: ignore[arg-type]


def test_every_remedy_for_a_size_patch_or_halo_is_accepted() -> None:
    tried = 0
    for mode in ("auto", "tile"):
        for patch in (1, 4, 7, 16, 17, 32):
            for size in (1, 30, 96, 100, 288, 301, 1000):
                for halo in (0, 7, 16, 48, 150):
                    tried += _try_remedies(InputPrep(mode=mode, halo=halo), patch, size)  # type: ignore[arg-type]
    assert tried > 400


def _try_remedies(prep: InputPrep, patch: int, size: int) -> int:
    """Follow every remedy until nothing is refused; each may only lead to another argument."""
    waiting = [(prep.halo, patch, size, frozenset[str]())]
    tried = 0
    while waiting:
        halo, patch, size, mended = waiting.pop()
        try:
            made = cutter(replace(prep, halo=halo), patch_size=patch, image_size=size)
            token_layout(bands=SELECTION, image_size=size, patch_size=patch)
            made.cut(300, 300)
        except ConfigError as error:
            refusal = error
        else:
            continue
        tried += 1
        assert refusal.argument not in mended, refusal
        done = mended | {refusal.argument}
        first, _, patches = refusal.remedy.partition("; or patch_size=")
        for number in map(int, re.findall(r"\d+", first)):
            changed = {"halo": halo, "image_size": size, refusal.argument: number}
            waiting.append((changed["halo"], patch, changed["image_size"], done))
        waiting += [(halo, int(number), size, done) for number in re.findall(r"\d+", patches)]
    return tried


@pytest.mark.parametrize("corner", [(0, 0), (57, 1003), (-301, -11), (5, 287)])
@pytest.mark.parametrize(("side", "count"), [(410, 4), (288, 1), (576, 4), (600, 9), (870, 16)])
def test_a_place_takes_as_few_tiles_as_cover_it(
    corner: tuple[int, int], side: int, count: int
) -> None:
    row, col = corner
    prep = InputPrep(mode="auto", max_side=32)  # always tiles
    cut = cutter(prep).cut(side, side, origin=corner)
    # An odd corner is brought to the grid of the bands at 20 m, which may take one tile more.
    least = sum(-(-(side + (edge % 2)) // 288) for edge in corner) / 2
    assert len(cut.windows) <= max(count, least**2)
    (first_row, last_row), (first_col, last_col) = cut.result
    assert (_kept(cut)[first_row:last_row, first_col:last_col] == 1).all()
    assert first_row <= -cut.top
    assert last_row >= side - cut.top
    # Tiles begin at pixels of the bands at 20 m, as those of runs do.
    assert (row - cut.top) % 2 == (col + cut.left) % 2 == 0


def test_a_tile_of_a_run_stays_it() -> None:
    prep = InputPrep(mode="auto", max_side=32)
    cut = cutter(prep).cut(288, 576, origin=(288 * 7, 288 * 3))
    assert (cut.tiles, cut.top, cut.left, len(cut.windows)) == ("run", 0, 0, 2)


def test_what_is_left_out_and_what_is_added_is_counted() -> None:
    nothing = {"top": 0, "bottom": 0, "left": 0, "right": 0}
    cut = cutter("native").cut(300, 290)
    assert cut.margins(300, 290) == ({"top": 6, "bottom": 6, "left": 1, "right": 1}, nothing)
    cut = cutter("native").cut(70, 150)
    assert cut.margins(70, 150) == (nothing, {**nothing, "bottom": 90, "right": 10})
    cut = cutter("tile").cut(100, 300)
    assert cut.margins(100, 300) == (nothing, {**nothing, "bottom": 188, "right": 4})
    cut = cutter("native").cut(70, 70, origin=(0, 0))
    cropped, _ = cut.margins(70, 70)
    assert sum(cropped.values()) == 12
