from __future__ import annotations

import pytest

from thor_geo.errors import BandError
from thor_geo.specs.bands import BANDS, S2_DEFAULT_BANDS, bands_from_ee, select_bands


def test_every_weight_name_exists_once_and_sentinel_1_modes_share_theirs() -> None:
    assert len(BANDS) == 50
    assert len({band.weight for band in BANDS}) == 46
    assert len({band.channel for band in BANDS}) == 50


def test_b8a_is_the_fourth_red_edge_and_b8_the_broad_infrared() -> None:
    by_ee = dict(zip(S2_DEFAULT_BANDS, bands_from_ee(S2_DEFAULT_BANDS), strict=True))
    assert by_ee["B8A"].channel == "S2:RE4"
    assert by_ee["B8"].channel == "S2:NIR"
    assert by_ee["B8A"].gsd == 20


def test_order_of_the_request_is_kept_and_groups_have_the_tables_order() -> None:
    selection = select_bands(["NIR_BROAD", "BLUE", "RED"])
    assert [band.channel for band in selection.bands] == ["S2:NIR", "S2:Blue", "S2:Red"]
    assert [band.channel for band in selection.groups[0]] == ["S2:Red", "S2:Blue", "S2:NIR"]


@pytest.mark.parametrize(
    ("names", "gsd"),
    [(["VV", "VH"], 10), (["VV_60", "VH"], 60), (["VV_60", "VH_20"], 20), (["VH", "VV_5"], 5)],
)
def test_last_sentinel_1_suffix_holds_for_the_whole_group(names: list[str], gsd: int) -> None:
    selection = select_bands(names)
    assert selection.gsds == (gsd, gsd)
    assert selection.min_gsd == min(gsd, 10)


def test_sentinel_1_statistics_follow_the_gsd() -> None:
    assert select_bands(["VV"]).statistics == ((-12.9850,), (5.0062,))
    assert select_bands(["VV_60"]).statistics == ((-13.0095,), (5.2439,))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["CIRRUS"], "B10"),
        (["PURPLE"], "PURPLE"),
        (["VV", "ASC_VV"], "twice"),
        (["RED", "S2:Red"], "twice"),
        ([], "no band"),
        (["VV_0"], "0 m"),
    ],
)
def test_bad_band_lists_are_refused_by_name(names: list[str], says: str) -> None:
    with pytest.raises(BandError, match=says):
        select_bands(names)


@pytest.mark.parametrize(("names", "says"), [(["B10"], "B10"), (["B2", "B2"], "twice"), ([], "no")])
def test_bad_earth_engine_names_are_refused(names: list[str], says: str) -> None:
    with pytest.raises(BandError, match=says):
        bands_from_ee(names)


def test_interferometric_and_extra_wide_swath_may_stand_together() -> None:
    selection = select_bands(["IW_VV", "EW_VV"])
    assert [band.weight for band in selection.bands] == ["S1:VV", "S1:VV"]
