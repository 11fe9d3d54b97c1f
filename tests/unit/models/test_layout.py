"""Geometry: what is refused here would otherwise be silent mis-registration on the map."""

from __future__ import annotations

import re
from typing import Any

import pytest

from thor_geo.errors import BandError, ConfigError, LayoutError
from thor_geo.models import TokenLayout, make_layout, token_layout, variant
from thor_geo.models.extrapolation import extrapolations
from thor_geo.specs.bands import BandSelection, select_bands

RGBN_SWIR = ["BLUE", "GREEN", "RED", "NIR_BROAD", "SWIR_1"]


def sizes(layout: TokenLayout) -> dict[int, tuple[int, int]]:
    return {group.group: (group.patch_size, group.n) for group in layout.groups}


def test_default_tile() -> None:
    layout = token_layout(bands=RGBN_SWIR, image_size=288)
    assert layout.ground_cover == 2880
    assert sizes(layout) == {0: (16, 18), 1: (16, 9)}
    assert (layout.n_tokens, layout.n_max, layout.max_footprint) == (405, 18, 320)
    assert layout.input_sides == (288,)
    assert [layout.footprint_ratio(group) for group in layout.groups] == [4.0, 8.0]
    assert layout.groups[0].planes == (2, 1, 0, 3)  # THOR's order: red, green, blue, NIR
    assert list(layout.channel_params) == [
        f"S2:{n}" for n in ("Blue", "Green", "Red", "NIR", "SWIR1")
    ]
    assert layout.channel_params["S2:SWIR1"] == {"GSD": 20, "num_patch": 9, "patch_size": 16}
    assert layout.merged_dim(768, "concat") == 1536
    assert layout.merged_dim(768, "mean") == layout.merged_dim(768, None) == 768
    assert extrapolations(layout) == ()


def test_thor_channels_and_selections_are_accepted() -> None:
    by_name = token_layout(bands=["RED"], image_size=96)
    assert token_layout(bands=["S2:Red"], image_size=96) == by_name
    assert token_layout(bands=select_bands(["RED"]), image_size=96) == by_name


@pytest.mark.parametrize(
    ("strategy", "want"),
    [
        ("min", {0: (8, 12), 1: (8, 6)}),
        ("max", {0: (16, 6), 1: (16, 3)}),
        ("equal-min", {0: (16, 6), 1: (8, 6)}),
        ("equal-max", {0: (16, 6), 1: (8, 6)}),
    ],
)
def test_strategies(strategy: Any, want: dict[int, tuple[int, int]]) -> None:
    layout = token_layout(bands=RGBN_SWIR, image_size=96, patch_size=[16, 8], strategy=strategy)
    assert sizes(layout) == want


@pytest.mark.parametrize(("strategy", "n"), [("equal-min", 24), ("equal-max", 6)])
def test_equal_strategies_differ_when_several_grids_are_common(strategy: Any, n: int) -> None:
    layout = token_layout(
        bands=RGBN_SWIR, image_size=96, patch_size=[2, 4, 8, 16], strategy=strategy
    )
    assert {group.n for group in layout.groups} == {n}


def test_groups_choose_independently() -> None:
    # The specification's own example, section 3.3.
    layout = make_layout(
        select_bands(["RED", "SWIR_1", "WATER_VAPOR"]), ground_cover=1200, patch_size=[8, 10]
    )
    assert {group.group: group.patch_size for group in layout.groups} == {0: 8, 1: 10, 2: 10}


def test_sentinel_1_suffix_sets_the_gsd_of_the_whole_group() -> None:
    layout = make_layout(select_bands(["VV", "VH_60"]), ground_cover=5760)
    assert [(group.gsd, group.n) for group in layout.groups] == [(60, 6)]
    # A suffix below 10 m changes everybody's footprint code.
    fine = make_layout(select_bands(["RED", "VV_5"]), ground_cover=960)
    assert fine.footprint_ratio(fine.groups[0]) == 8.0


def test_suffix_leaves_later_selections_alone() -> None:
    # In the reference a module-global table is changed by building a model.
    make_layout(select_bands(["VV_60"]), ground_cover=960)
    assert make_layout(select_bands(["VV"]), ground_cover=960).groups[0].gsd == 10


@pytest.mark.parametrize(
    ("image_size", "patch_size", "numbers"),
    [
        # Both examples of section 11.2: p does not divide, but what it leaves does.
        (144, 16, ["144 px x 10 m = 1440 m", "16 x 20 = 320", "at 20 m", "128 or 160 px"]),
        (96, 64, ["96 px x 10 m = 960 m", "64 x 10 = 640", "128 px", "4, 6, 8, 12, 16, 24"]),
        (8, 16, ["80 m", "16 x 10 = 160", "take 32 px"]),  # image smaller than a patch
        (1, 16, ["10 m", "16 x 10 = 160"]),  # ground cover below the GSD of the 20 m band
        (290, 16, ["2900 m", "288 or 320 px", "patch_size of 5"]),
        (100, [3, 7], ["1000 m", "3 x 10 = 30, 7 x 10 = 70"]),
    ],
)
def test_indivisible_ground_cover_is_refused(
    image_size: int, patch_size: Any, numbers: list[str]
) -> None:
    with pytest.raises(LayoutError, match="image_size") as caught:
        token_layout(bands=RGBN_SWIR, image_size=image_size, patch_size=patch_size)
    for number in numbers:
        assert number in str(caught.value)


def test_indivisible_ground_cover_without_image_size_is_told_in_metres() -> None:
    with pytest.raises(LayoutError, match=r"ground_cover=1440.*16 x 20 = 320.*1280 or 1600 m"):
        make_layout(select_bands(RGBN_SWIR), ground_cover=1440)


def test_equal_strategy_without_common_grid_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"strategy='equal-min'.*960 m.*\[8\].*\[12\].*\[6\]"):
        token_layout(bands=RGBN_SWIR, image_size=96, patch_size=8, strategy="equal-min")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("image_size", 288.0),
        ("image_size", 0),
        ("image_size", True),
        ("image_size", "288"),
        ("resolution", 10.5),
        ("resolution", -10),
        ("patch_size", 0),
        ("patch_size", []),
        ("patch_size", [16, 8.0]),
        ("patch_size", {"S2:Red": 16}),
        ("patch_size", "16"),
        ("patch_size", None),
        ("ref_patch_size", 0),
    ],
)
def test_numbers_that_are_none_are_refused_by_name(argument: str, value: Any) -> None:
    arguments: dict[str, Any] = {"bands": ["RED"], "image_size": 288, argument: value}
    with pytest.raises(LayoutError, match=argument):
        token_layout(**arguments)


@pytest.mark.parametrize("cover", [2880.0, "2880", [2880], None, True])
def test_ground_cover_must_be_whole(cover: Any) -> None:
    with pytest.raises(LayoutError, match="ground_cover"):
        make_layout(select_bands(["RED"]), ground_cover=cover)


def test_unknown_strategy_is_refused() -> None:
    strategy: Any = "median"
    with pytest.raises(ConfigError, match=r"median.*equal-max"):
        token_layout(bands=["RED"], image_size=288, strategy=strategy)


@pytest.mark.parametrize("bands", [["CIRRUS"], ["PURPLE"], ["VV", "ASC_VV"], []])
def test_bad_bands_are_refused(bands: list[str]) -> None:
    with pytest.raises(BandError):
        token_layout(bands=bands, image_size=288)


def test_iw_and_ew_of_one_polarisation_are_two_channels() -> None:
    layout = token_layout(bands=["IW_VV", "EW_VV"], image_size=96)
    assert [band.channel for band in layout.groups[0].bands] == ["S1:IW-VV", "S1:EW-VV"]


def test_sides_accepted_without_an_image_size() -> None:
    selection: BandSelection = select_bands(["SWIR_1"])
    # At 20 m as is, at 10 m averaged.
    assert make_layout(selection, ground_cover=1920).input_sides == (96, 192)


def test_leaving_the_range_of_pretraining_is_told() -> None:
    # The official wrapper's own default.
    fine = token_layout(bands=RGBN_SWIR, image_size=288, patch_size=8)
    assert fine.n_tokens == 1620
    assert "1620 tokens" in " ".join(extrapolations(fine))
    assert "36 x 36" in " ".join(extrapolations(fine))
    odd = token_layout(bands=["RED"], image_size=44, patch_size=11)
    assert "ground cover 440 m" in " ".join(extrapolations(odd))
    assert "patch size 11" in " ".join(extrapolations(odd))


@pytest.mark.parametrize(
    "name",
    ["thor_v1_base", "thor_1_0_base", "thor_vit_base_encoder_alibi_patch_size_embed_v1"],
)
def test_names_of_a_variant(name: str) -> None:
    row = variant(name)
    assert (row.model_key, row.hub_repo, row.hub_file) == (
        "thor_v1_base",
        "FM4CS/THOR-1.0-base",
        "thor_v1_vit_base.pt",
    )


def test_unknown_model_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"thor_v2.*thor_v1_tiny"):
        variant("thor_v2")


def test_every_side_and_patch_size_that_is_proposed_is_accepted() -> None:
    tried = 0
    for patch in (1, 3, 7, 8, 16, 17, 32, 64):
        for side in [*range(1, 700, 13), 288, 5000]:
            arguments: dict[str, Any] = {"bands": RGBN_SWIR, "resolution": 10}
            try:
                token_layout(**arguments, image_size=side, patch_size=patch)
            except LayoutError as error:
                text = error.remedy
            else:
                continue
            sides, _, patches = text.removeprefix(f"With patch_size={patch} ").partition(";")
            for number in re.findall(r"\d+", sides.split("px")[0]):
                token_layout(**arguments, image_size=int(number), patch_size=patch)
                tried += 1
            for number in re.findall(r"\d+", patches.partition("patch_size of")[2]):
                layout = token_layout(**arguments, image_size=side, patch_size=int(number))
                assert layout.n_tokens <= 20_000
                tried += 1
    assert tried > 300
