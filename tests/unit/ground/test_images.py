"""Images of any shape must come back whole: nothing lost at a border, nothing twice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thor_geo.errors import ConfigError, InputError
from thor_geo.ground.images import native_side, native_unit, pad_with_mask, stitch, tile_windows

SIDES = st.integers(1, 90)


@st.composite
def cuts(draw: st.DrawFn) -> dict[str, int]:
    """Draw an image and tiles, in any proportion to each other."""
    cell = draw(st.integers(1, 5))
    halo = draw(st.integers(0, 3))
    return {
        "height": draw(SIDES),
        "width": draw(SIDES),
        "size": cell * (2 * halo + draw(st.integers(1, 6))),
        "halo": cell * halo,
        "cell": cell,
    }


@given(cuts())
@settings(deadline=None)
def test_stitching_the_tiles_of_an_image_gives_the_image(cut: dict[str, int]) -> None:
    """A model that changes nothing must leave the image as it was, pixel for pixel."""
    height, width = cut["height"], cut["width"]
    image = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width) + 1
    windows = tile_windows(**cut)
    tiles, masks = zip(*(window.cut(image) for window in windows), strict=True)
    out = stitch(tiles, windows)
    assert np.array_equal(out[:, :height, :width], image)
    # Beyond the image is what completes the last cells, and no more.
    assert out.shape[1:] == tuple(-(-side // cut["cell"]) * cut["cell"] for side in (height, width))
    assert not out[:, height:].any()
    assert not out[:, :, width:].any()
    for tile, mask in zip(tiles, masks, strict=True):
        assert np.array_equal(mask, tile[0] > 0)


@given(cuts())
@settings(deadline=None)
def test_every_cell_comes_from_one_tile_and_from_its_middle(cut: dict[str, int]) -> None:
    """A cell without a tile would be a hole; one from a tile's border would show a seam."""
    size, halo, cell = cut["size"], cut["halo"], cut["cell"]
    rows, cols = (-(-cut[side] // cell) for side in ("height", "width"))
    count = np.zeros((rows, cols), dtype=int)
    for window in tile_windows(**cut):
        for start, (first, stop), length in (
            (window.top, window.rows, rows * cell),
            (window.left, window.cols, cols * cell),
        ):
            assert start >= 0
            assert 0 <= first < stop <= size
            assert not any(value % cell for value in (start, first, stop))
            # Context is missing where the image ends, and nowhere else.
            assert first >= halo or start == 0
            assert size - stop >= halo or start + stop == length
        top, left = window.top // cell, window.left // cell
        (first, stop), (begin, end) = window.rows, window.cols
        count[
            top + first // cell : top + stop // cell, left + begin // cell : left + end // cell
        ] += 1
    assert (count == 1).all()


@given(cuts())
@settings(deadline=None)
def test_maps_are_stitched_cell_by_cell(cut: dict[str, int]) -> None:
    """A map has fewer cells than its tile has pixels: each must land on its own ground."""
    cell = cut["cell"]
    image = np.random.default_rng(0).random((1, cut["height"], cut["width"]))
    windows = tile_windows(**cut)

    def means(chw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        bands, rows, cols = chw.shape
        cells = chw.reshape(bands, rows // cell, cell, cols // cell, cell)
        return np.asarray(cells.mean(axis=(2, 4)))

    out = stitch([means(window.cut(image)[0]) for window in windows], windows, cell=cell)
    whole = [-(-side // cell) * cell for side in image.shape[1:]]
    assert np.allclose(out, means(pad_with_mask(image, *whole)[0]))


def test_the_last_tiles_are_moved_back_into_the_image() -> None:
    """Padding would be seen by the model at every edge of a large area."""
    windows = tile_windows(100, 64, size=64, halo=8, cell=4)
    assert [(w.top, w.rows) for w in windows] == [(0, (0, 56)), (36, (20, 64))]
    assert {(w.left, w.cols) for w in windows} == {(0, (0, 64))}


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"size": 60}, "56 or 64"),
        ({"halo": 12}, "8 or 16"),
        ({"halo": 32}, "half"),
        ({"halo": -8}, "half"),
        ({"height": 0}, "height"),
        ({"cell": 0}, "cell"),
    ],
)
def test_tiles_that_do_not_fit_their_cells_are_refused(numbers: dict[str, int], says: str) -> None:
    """Rounding in silence would put cells beside their ground."""
    with pytest.raises(ConfigError, match=says):
        tile_windows(**({"height": 100, "width": 100, "size": 64, "halo": 8, "cell": 8} | numbers))


def test_maps_of_another_shape_are_refused() -> None:
    """A map in another cell size would be cut at the wrong cells."""
    windows = tile_windows(64, 64, size=64, halo=8, cell=8)
    with pytest.raises(InputError, match=r"\(3, 8, 8\)"):
        stitch([np.zeros((3, 4, 4))], windows, cell=8)
    with pytest.raises(InputError, match="0 maps for 1"):
        stitch([], windows, cell=8)


@given(SIDES, SIDES, st.integers(1, 12), st.integers(1, 30), st.integers(1, 200))
@settings(deadline=None)
def test_the_native_side_is_the_nearest_that_the_bounds_allow(
    height: int, width: int, unit: int, max_side: int, max_tokens: int
) -> None:
    """A side that is not a multiple is refused by the encoder; one farther off loses pixels."""
    tokens = 5
    allowed = [
        n * unit for n in range(1, 200) if n * unit <= max_side and n * n * tokens <= max_tokens
    ]
    bounds = {"unit": unit, "unit_tokens": tokens, "max_side": max_side, "max_tokens": max_tokens}
    if not allowed:
        with pytest.raises(ConfigError, match=r"max_side|max_tokens"):
            native_side(height, width, **bounds)
        return
    fit = native_side(height, width, **bounds)
    # The valid side nearest to the longer side; the larger of two.
    assert fit.side == min(allowed, key=lambda side: (abs(side - max(height, width)), -side))
    image = np.arange(height * width, dtype=np.int32).reshape(1, height, width) + 1
    out, mask = fit.apply(image)
    assert out.shape == (1, fit.side, fit.side)
    assert out.dtype == image.dtype
    assert np.array_equal(mask, out[0] > 0)
    rows, cols = min(height, fit.side), min(width, fit.side)
    assert mask[:rows, :cols].all()
    assert mask.sum() == rows * cols
    # What is cropped is cropped on both sides alike.
    kept = out[0, :rows, :cols]
    top, left = divmod(int(kept[0, 0]) - 1, width)
    assert 0 <= (height - rows) - 2 * top <= 1
    assert 0 <= (width - cols) - 2 * left <= 1
    assert (np.diff(kept, axis=1) == 1).all()
    assert (fit.height, fit.width) == (rows, cols)


@pytest.mark.parametrize(
    ("gsds", "patch_size", "resolution", "wanted"),
    [
        ((10, 20), 16, 10, (32, 5)),
        ((10, 20, 20), 16, 10, (32, 6)),
        ((10, 20, 60), 8, 10, (48, 36 + 9 + 1)),
        ((10,), 16, 10, (16, 1)),
        ((20,), 16, 20, (16, 1)),
        ((20,), 16, 10, (32, 1)),
        # 7 patches of 10 m pixels must be whole pixels of 30 m.
        ((10,), 7, 30, (7, 9)),
    ],
)
def test_units_of_the_token_layout(
    gsds: tuple[int, ...], patch_size: int, resolution: int, wanted: tuple[int, int]
) -> None:
    """A unit too small is refused by the encoder; one too large crops more than it needs."""
    unit, tokens = native_unit(gsds, patch_size=patch_size, resolution=resolution)
    assert (unit, tokens) == wanted
    sides = [
        side
        for side in range(1, unit + 1)
        if all(side * resolution % (patch_size * gsd) == 0 for gsd in gsds)
    ]
    assert sides == [unit]
    per_axis = [unit * resolution / (patch_size * gsd) for gsd in gsds]
    assert tokens == round(math.fsum(n * n for n in per_axis))


def test_the_units_are_those_of_the_encoders_own_layout() -> None:
    """Two rules that disagree would refuse what the first one snapped to."""
    from thor_geo.models.layout import token_layout
    from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

    bands = [band.channel for band in bands_from_ee(S2_DEFAULT_BANDS)]
    layout = token_layout(bands=bands, image_size=288, patch_size=16)
    unit, tokens = native_unit([group.gsd for group in layout.groups], patch_size=16)
    assert 288 % unit == 0
    assert layout.n_tokens == tokens * (288 // unit) ** 2


def test_padding_is_at_the_bottom_and_right_and_no_image_is_cut() -> None:
    """Georeferencing hangs from the upper left corner, which must stay."""
    image = np.ones((2, 3, 5), dtype=np.int16)
    out, mask = pad_with_mask(image, 4, 6, fill=-7)
    assert out.dtype == np.int16
    assert (out[:, :3, :5] == 1).all()
    assert (out[:, 3:] == -7).all()
    assert (out[:, :, 5:] == -7).all()
    assert np.array_equal(mask, out[0] == 1)
    for shape in ((2, 6), (4, 4)):
        with pytest.raises(InputError, match="cannot be padded"):
            pad_with_mask(image, *shape)
