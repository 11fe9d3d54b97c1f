"""If these fail, a catalogue's bands are mixed up, or refused without a word on what to do."""

from __future__ import annotations

from typing import Any

import pytest

from thor_geo.errors import SceneError, StacError
from thor_geo.sources.stac.bands import NAMES, locate
from thor_geo.specs.bands import BANDS


def item(**assets: Any) -> dict[str, Any]:
    return {"id": "s", "assets": {key.replace("_", "-"): one for key, one in assets.items()}}


def eo(*names: str, common: tuple[str, ...] = ()) -> dict[str, Any]:
    bands = [{"name": name} for name in names]
    for band, word in zip(bands, common, strict=False):
        band["common_name"] = word
    return {"href": "f.tif", "eo:bands": bands}


#: As Earth Search v1 has them: keys are common names, JPEG 2000 and a picture beside the COGs.
EARTH_SEARCH = item(
    red=eo("red", common=("red",)),
    red_jp2=eo("red", common=("red",)),
    rededge1=eo("rededge1", common=("rededge",)),
    rededge2=eo("rededge2", common=("rededge",)),
    rededge3=eo("rededge3", common=("rededge",)),
    nir=eo("nir", common=("nir",)),
    nir08=eo("nir08", common=("nir08",)),
    nir08_jp2=eo("nir08", common=("nir08",)),
    visual=eo("red", "green", "blue", common=("red", "green", "blue")),
    scl={"href": "scl.tif"},
)
#: As the Planetary Computer has them.
PLANETARY = item(
    B04=eo("B04", common=("red",)),
    B05=eo("B05", common=("rededge",)),
    B08=eo("B08", common=("nir",)),
    B8A=eo("B8A", common=("rededge",)),
    visual={**eo("B04", "B03", "B02"), "roles": ["visual"]},
    SCL={"href": "scl.tif"},
)
#: STAC 1.1: one list of bands.
NEWER = item(
    stack={"href": "f.tif", "bands": [{"name": "x", "eo:common_name": "swir16"}, {"name": "B12"}]}
)


@pytest.mark.parametrize(
    ("content", "band", "key", "number"),
    [
        (EARTH_SEARCH, "B4", "red", 1),
        (EARTH_SEARCH, "B6", "rededge2", 1),
        (EARTH_SEARCH, "B8", "nir", 1),
        (EARTH_SEARCH, "B8A", "nir08", 1),
        (EARTH_SEARCH, "SCL", "scl", 1),
        (PLANETARY, "B4", "B04", 1),
        (PLANETARY, "B5", "B05", 1),
        (PLANETARY, "B8A", "B8A", 1),
        (PLANETARY, "SCL", "SCL", 1),
        (NEWER, "B11", "stack", 1),
        (NEWER, "B12", "stack", 2),
    ],
)
def test_a_band_is_found_by_the_names_that_catalogues_have_for_it(
    content: dict[str, Any], band: str, key: str, number: int
) -> None:
    found = locate(content, band, {})
    assert (found.key, found.number) == (key, number)


def test_every_sentinel_2_band_has_names_and_no_name_means_two() -> None:
    assert set(NAMES) - {"SCL"} == {band.ee_name for band in BANDS if band.sensor == "S2"}
    words = [word.casefold() for band, names in NAMES.items() for word in (band, *names)]
    assert len(words) == len(set(words))


def test_a_band_that_is_nowhere_is_refused_with_the_assets() -> None:
    with pytest.raises(StacError, match=r"B11.*red \(red\).*`data\.stac\.assets`"):
        locate(EARTH_SEARCH, "B11", {})


def test_a_picture_is_not_a_band() -> None:
    with pytest.raises(StacError, match="in none of its assets"):
        locate(PLANETARY, "B3", {})


def test_a_band_that_may_be_in_several_places_is_refused_with_them() -> None:
    several = item(B02_10m=eo("B02"), B02_20m=eo("B02"))
    with pytest.raises(StacError, match=r"any of B02-10m#1, B02-20m#1"):
        locate(several, "B2", {})
    assert locate(several, "B2", {"B2": "B02-20m"}).key == "B02-20m"


def test_an_override_may_name_a_band_of_a_file_that_the_item_does_not_describe() -> None:
    plain = item(stack={"href": "f.tif"})
    assert locate(plain, "B3", {"B3": "stack#7"}).number == 7
    with pytest.raises(StacError, match="`stock`, which it does not have"):
        locate(plain, "B3", {"B3": "stock"})


def test_an_override_of_a_file_with_several_bands_must_say_which() -> None:
    with pytest.raises(StacError, match="one of the 2 bands of `f`"):
        locate(item(f=eo("x", "y")), "B3", {"B3": "f"})
    assert locate(item(f=eo("x", "B03")), "B3", {"B3": "f"}).number == 2


def level2a(**sizes: dict[str, Any]) -> dict[str, Any]:
    """Return an item with asset keys as the Copernicus Data Space has them, by resolution."""
    names = ("B02_10m", "B02_20m", "B02_60m")
    return {
        "id": "s",
        "assets": {
            # Not in their order.
            key: {"href": f"{key}.jp2", **sizes.get(key[4:], {})}
            for key in (names[1], names[0], names[2])
        },
    }


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"10m": {"gsd": 10}, "20m": {"gsd": 20}, "60m": {"gsd": 60}},
        # The instrument's, the same for all: the rest decides.
        {"10m": {"gsd": 10}, "20m": {"gsd": 10}, "60m": {"gsd": 10}},
        {key: {"proj:transform": [int(key[:2]), 0, 0, 0, -10, 0]} for key in ("10m", "20m", "60m")},
        {
            key: {"raster:bands": [{"spatial_resolution": int(key[:2])}]}
            for key in ("10m", "20m", "60m")
        },
        {
            key: {"bands": [{"name": "B02", "raster:spatial_resolution": int(key[:2])}]}
            for key in ("10m", "20m", "60m")
        },
        {key: {"bands": [{"name": "B02", "gsd": int(key[:2])}]} for key in ("10m", "20m", "60m")},
    ],
)
def test_of_several_resolutions_the_finest_is_taken(sizes: dict[str, Any]) -> None:
    assert locate(level2a(**sizes), "B2", {}).key == "B02_10m"


def test_what_a_file_has_counts_more_than_what_its_key_or_the_instrument_says() -> None:
    finer = {"proj:transform": [10, 0, 0, 0, -10, 0], "gsd": 60}
    coarser = {"proj:transform": [20, 0, 0, 0, -20, 0], "gsd": 10}
    several = level2a(**{"10m": coarser, "20m": finer, "60m": coarser})
    assert locate(several, "B2", {}).key == "B02_20m"


def test_two_assets_with_the_same_pixels_are_refused_with_a_line_that_works() -> None:
    twins = item(a={**eo("B02"), "gsd": 10}, b={**eo("B02"), "gsd": 10}, c={**eo("B02"), "gsd": 20})
    with pytest.raises(SceneError, match=r"in any of a#1, b#1\. .*`data\.stac\.assets`.*{B2: a}"):
        locate(twins, "B2", {})
    assert locate(twins, "B2", {"B2": "a"}).key == "a"


def test_the_classification_is_taken_in_its_finest_resolution_too() -> None:
    classes = item()
    classes["assets"] = {"SCL_60m": {"href": "f"}, "SCL_20m": {"href": "f"}}
    assert locate(classes, "SCL", {}).key == "SCL_20m"
