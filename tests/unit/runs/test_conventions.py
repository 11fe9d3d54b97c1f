"""If one of these fails, programs that know the conventions no longer understand the embeddings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thor_geo.runs.conventions import EmbeddingFacts

DIGEST = "00" * 31 + "ff"


def facts(data: dict[str, Any], model: dict[str, Any], **more: Any) -> EmbeddingFacts:
    text = json.dumps({"settings": {"data": data, "model": {"weights_sha256": DIGEST}}} | model)
    given = {"dimensions": 8, "dtype": "float32", "gsd": 10, "side": 16, "stride": 16, **more}
    return EmbeddingFacts.from_metadata(text, **given)


def test_cells_of_one_pixel_are_pixels_and_all_others_chips() -> None:
    assert facts({}, {}, side=1, stride=1).geoemb()["type"] == "pixel"
    assert "chip_layout" not in facts({}, {}, side=1, stride=1).geoemb()
    chips = facts({}, {}, side=288, stride=256).geoemb()
    assert chips["type"] == "chip"
    assert chips["chip_layout"] == {
        "layout_type": "regular_grid",
        "chip_size": [288, 288],
        "stride": [256, 256],
    }


def test_codes_name_the_array_with_their_scales() -> None:
    assert "quantization" not in facts({}, {}, dtype="float16").geoemb()
    assert facts({}, {}, dtype="int8").geoemb()["quantization"] == {
        "method": "per_pixel_scale",
        "original_dtype": "float32",
        "quantized_dtype": "int8",
        "scale": {"type": "array", "array_name": "scale", "nodata": "NaN"},
    }


@pytest.mark.parametrize(
    ("data", "sources"),
    [
        (
            {"sentinel2": {"catalogue": "earthengine", "collection": "COPERNICUS/S2_SR"}},
            ["https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR"],
        ),
        (
            {"sentinel2": {"catalogue": f"stac-{DIGEST}"}, "sentinel1": {"catalogue": "stac-0"}},
            [
                "https://dataspace.copernicus.eu/data-collections/copernicus-sentinel-data/"
                f"sentinel-{mission}"
                for mission in (2, 1)
            ],
        ),
        (
            {"sentinel2": {"catalogue": f"emulator-{DIGEST}+{'00' * 32}"}, "sentinel1": None},
            [f"ni:///sha-256;{'A' * 41}P8", f"ni:///sha-256;{'A' * 43}"],
        ),
        ({"files_sha256": DIGEST}, [f"ni:///sha-256;{'A' * 41}P8"]),
        ({"source": "mine"}, ["urn:thor-geo:source:unnamed"]),
    ],
    ids=["Earth Engine", "STAC", "emulator", "folder", "another datamodule"],
)
def test_sources_are_uris(data: dict[str, Any], sources: list[str]) -> None:
    assert facts(data, {}).geoemb()["source_data"] == sources


def test_a_model_is_named_by_its_page_or_its_content() -> None:
    page = "https://huggingface.co/FM4CS/THOR-1.0-base"
    assert facts({}, {"model": {"weights_url": page}}).model == page
    assert facts({}, {"model": {"weights_url": None}}).model == f"ni:///sha-256;{'A' * 41}P8"
    unknown = {"settings": {}, "model": {"model_key": "mine"}}
    assert facts({}, unknown).model == "urn:thor-geo:model:mine"


def test_the_root_says_all_that_the_convention_requires() -> None:
    root = facts({}, {}, dtype="int8").root_attributes("1.2")
    assert [entry["name"] for entry in root["zarr_conventions"]] == ["geoemb:"]
    required = {"type", "dimensions", "model", "source_data", "data_type"}
    assert {f"geoemb:{name}" for name in required} <= root.keys()
    assert root["geoemb:spatial_layout"] == "utm_zones"
    assert root["geoemb:build_version"] == "1.2"
    assert "geoemb:build_version" not in facts({}, {}).root_attributes(None)
