"""If these fail, a catalogue's bands are mixed up, or refused without a word on what to do."""

from __future__ import annotations

from typing import Any

import pytest

from thor_geo.errors import StacError
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
