"""What THOR was trained on: if one of these fails, leaving it goes unsaid, or is said too often."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from thor_geo.models import build_thor, extrapolation, make_layout, ranges, token_layout
from thor_geo.models.extrapolation import (
    extrapolation_text,
    extrapolations,
    nearest_inside,
    warn_extrapolation,
)
from thor_geo.specs.bands import select_bands
from thor_geo.tasks import THOREmbeddingTask

TEN = [
    "BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3",
    "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test be a process that was told nothing."""
    monkeypatch.setattr(extrapolation, "_warned", set())


@pytest.mark.parametrize(
    ("side", "patch", "nearest"),
    [
        # The extension's own default: 9 px is the nearest patch of which 32 fit.
        (288, 8, (2880, 9)),
        (288, 36, (2880, 24)),  # no patch of 30 or 32 px divides 2880 m at 20 m
        (64, 8, (960, 8)),  # too small a tile
        (576, 16, (5760, 18)),
    ],
)
def test_the_nearest_configuration_inside(side: int, patch: int, nearest: tuple[int, int]) -> None:
    layout = token_layout(bands=TEN, image_size=side, patch_size=patch)
    assert extrapolations(layout)
    assert nearest_inside(layout) == nearest
    cover, size = nearest
    inside = make_layout(layout.selection, ground_cover=cover, patch_size=size)
    assert extrapolations(inside) == ()


def test_the_text_names_what_is_outside_and_what_to_set() -> None:
    text = extrapolation_text(token_layout(bands=TEN, image_size=288, patch_size=8))
    assert text is not None
    for word in ("1620 tokens", "36 x 36", "patch size 9", "same tiles of 288 px", "docs/model.md"):
        assert word in text
    assert extrapolation_text(token_layout(bands=TEN, image_size=288)) is None
    # At 20 m a pixel, tiles are told in pixels of 20 m.
    coarse = extrapolation_text(
        token_layout(bands=["SWIR_1"], image_size=40, resolution=20, patch_size=8)
    )
    assert coarse is not None
    assert "tiles of 48 px (960 m)" in coarse
    # Resampled to another number of pixels, they are told in metres.
    resampled = extrapolation_text(
        make_layout(select_bands(TEN), ground_cover=640, patch_size=8, image_size=288)
    )
    assert resampled is not None
    assert "patch size 8 with tiles of 960 m" in resampled


def test_no_configuration_inside_is_told_as_such() -> None:
    # Pixels of 10 m and of 960 m never had one ground cover.
    layout = make_layout(select_bands(["RED", "S7_BT_IN"]), ground_cover=46080, patch_size=16)
    assert nearest_inside(layout) is None
    text = extrapolation_text(layout)
    assert text is not None
    assert "No configuration of these bands lies inside" in text


@pytest.mark.parametrize(
    ("names", "cover", "patch", "says"),
    [
        (["RED"], 960, 4, None),
        (["RED"], 5760, 18, None),  # 576 px at 10 m were seen
        (["SWIR_1"], 7680, 12, "384 x 384 pixels of group1 at 20 m (seen: 24 to 288)"),
        (["VV"], 3360, 12, "336 x 336 pixels of group3 at 10 m (seen: 24 to 288)"),
        (["VV_60"], 28800, 16, None),  # 480 px at 60 m were seen
        (["WATER_VAPOR"], 960, 8, "16 x 16 pixels of group2 at 60 m (seen: 24 to 288)"),
    ],
)
def test_sides_of_images(names: list[str], cover: int, patch: int, says: str | None) -> None:
    layout = make_layout(select_bands(names), ground_cover=cover, patch_size=patch)
    phrases = [label for label in extrapolations(layout) if "pixels" in label]
    assert phrases == ([] if says is None else [says])


def test_a_process_is_told_once_of_a_configuration(caplog: pytest.LogCaptureFixture) -> None:
    kwargs: dict[str, Any] = {"pretrained": False, "bands": TEN, "image_size": 288}
    with caplog.at_level(logging.WARNING):
        task = THOREmbeddingTask("thor_v1_tiny", patch_size=8, **kwargs)
        assert "1620 tokens" in caplog.text
        caplog.clear()
        task.configure_model()
        THOREmbeddingTask("thor_v1_tiny", patch_size=8, **kwargs)
        assert "extrapolates" not in caplog.text
        build_thor("thor_v1_tiny", bands=["RED"], image_size=64, patch_size=8)
        assert "640 m" in caplog.text, "another configuration, and whoever builds it"


def test_other_ranks_are_told_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 3)
    with caplog.at_level(logging.WARNING):
        task = THOREmbeddingTask("thor_v1_tiny", pretrained=False, image_size=288, patch_size=8)
        task.configure_model()
    assert "extrapolates" not in caplog.text


def test_inside_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_extrapolation(token_layout(bands=TEN, image_size=288))
    assert caplog.text == ""


def test_the_page_has_the_ranges_of_the_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "model.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", page, re.MULTILINE))

    def numbers(start: str) -> tuple[int, ...]:
        (text,) = [seen for label, seen in rows.items() if label.startswith(start)]
        return tuple(int(cell.replace(",", "")) for cell in re.findall(r"\d[\d,]*\d|\d", text))

    listed = re.sub(r"\D+", " ", rows["ground cover (tile size x resolution)"]).split()
    assert tuple(map(int, listed)) == ranges.PRETRAINING_GROUND_COVERS
    sizes = re.sub(r"\D+", " ", rows["patch size, in pixels of a group's own grid"]).split()
    assert tuple(map(int, sizes)) == ranges.PRETRAINING_PATCH_SIZES
    assert numbers("side of a group's image")[:3] == (
        *ranges.PRETRAINING_IMAGE_SIDES,
        ranges.PRETRAINING_LARGE_SIDE,
    )
    assert numbers("patches along a side") == ranges.PRETRAINING_GRID_SIDES
    assert numbers("tokens in all groups") == (ranges.PRETRAINING_MAX_TOKENS,)


def test_the_pairs_that_the_page_recommends_lie_inside() -> None:
    page = (Path(__file__).parents[3] / "docs" / "model.md").read_text()
    pairs = re.findall(
        r"^\| (\d+) px \| (\d+) \| ([\d,]+) \| (\d+) x \d+, (\d+) m", page, re.MULTILINE
    )
    assert len(pairs) == 4
    for row in pairs:
        side, patch, count, cells, metres = (int(cell.replace(",", "")) for cell in row)
        layout = token_layout(bands=TEN, image_size=side, patch_size=patch)
        assert extrapolations(layout) == ()
        assert (layout.n_tokens, layout.n_max, patch * 10) == (count, cells, metres)
        finer = [p for p in ranges.PRETRAINING_PATCH_SIZES if p < patch and side % (2 * p) == 0]
        for size in finer:
            other = token_layout(bands=TEN, image_size=side, patch_size=size)
            assert extrapolations(other), "a finer one that would do, too"
