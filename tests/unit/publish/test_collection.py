"""If one of these fails, catalogues refuse a published run, or show what is not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pystac
import pytest
import xarray
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.scientific import ScientificExtension
from shapely.geometry import box, shape

from tests.support.damage import edit_json
from tests.support.place_run import write_places
from tests.support.stac_files import read_collection, validate_core
from tests.support.synthetic_run import Data, Model, write_run
from tests.support.windowed_run import NAMES, write_windows
from thor_geo.ground.plan import Plan
from thor_geo.publish import Terms, publish_run
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

TERMS = Terms(licence="CC-BY-4.0", title="Oslo", provider="Oslo Mapping")


def publish(path: Path, terms: Terms = TERMS) -> pystac.Collection:
    """Publish a run and return its collection as pystac reads it."""
    published = publish_run(read_run(path), terms)
    for name in published.contents:
        if name.endswith(".json"):
            validate_core(path / name)
    return read_collection(path)


def test_a_collection_leads_to_its_items_and_back(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)))
    items = list(found.get_items(recursive=True))
    assert [item.id for item in items] == ["utm32n", "utm33n"]
    for item in items:
        assert item.get_collection() is found
        assert item.get_root() is found
        for asset in item.get_assets().values():
            assert Path(str(asset.get_absolute_href())).exists(), asset.href
    for asset in found.get_assets().values():
        assert Path(str(asset.get_absolute_href())).exists(), asset.href


def test_links_are_relative_so_that_a_copy_keeps_working(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)))
    inner = {"root", "parent", "collection", "item", "alternate"}
    links = [*found.links, *(link for item in found.get_items() for link in item.links)]
    hrefs = [str(link.target) for link in links if link.rel in inner and link.rel != "self"]
    raw = [
        link["href"]
        for name in ("collection.json", "items/utm32n.json")
        for link in json.loads((run.path / name).read_bytes())["links"]
        if link["rel"] in inner
    ]
    assert hrefs
    assert all(href.startswith(("./", "../")) for href in raw)


def test_a_collection_says_who_gives_it_and_how_it_is_cited(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)))
    assert (found.license, found.title, found.id) == ("CC-BY-4.0", "Oslo", "oslo")
    assert found.providers is not None
    assert found.providers[0].name == "Oslo Mapping"
    science = ScientificExtension.ext(found)
    assert science.citation is not None
    assert science.citation.startswith("Oslo Mapping (")
    assert science.publications is not None
    assert science.publications[0].doi == "10.48550/arXiv.2601.16011"
    (licence,) = found.get_links("license")
    assert licence.href == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert "RANDOM" in found.description
    assert "1 of 16 have none (1 without a scene)" in found.description


def test_a_run_without_a_licence_says_so(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)), Terms())
    assert found.license == "other"
    assert found.get_links("license") == []
    assert found.title == "THOR embeddings: oslo"


def test_items_place_the_maps_where_xarray_finds_them(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)))
    for item in found.get_items():
        placed = ProjectionExtension.ext(item)
        store = xarray.open_zarr(str(run.path / "grid.zarr"), group=item.id)
        cells = store.embeddings
        assert placed.code is not None
        assert placed.shape == list(cells.shape[-2:])
        transform, box_ = placed.transform, placed.bbox
        assert transform is not None
        assert box_ is not None
        assert transform[2] + transform[0] / 2 == float(cells.x[0])
        assert transform[5] + transform[4] / 2 == float(cells.y[0])
        assert box_[0] == transform[2]
        asset = item.assets["embeddings"].to_dict()
        assert asset["href"] == f"../grid.zarr/{item.id}"
        assert len(asset["bands"]) == cells.sizes["band"]
        assert (asset["data_type"], asset["nodata"]) == ("float32", "nan")
        assert asset["raster:spatial_resolution"] == transform[0]


def test_an_items_footprint_is_that_of_tiles_with_an_embedding(
    run: RunDirectory, plan: Plan
) -> None:
    publish(Path(str(run.path)))
    empty, full = plan.footprints()[:2]
    ground = shape(validate_core(Path(str(run.path)) / "items" / "utm32n.json")["geometry"])
    assert ground.contains(full.centroid)
    assert not ground.contains(empty.centroid)
    whole = json.loads((run.path / "collection.json").read_bytes())["extent"]["spatial"]["bbox"][0]
    assert box(*whole).covers(ground)


def test_files_of_vectors_have_their_size_and_checksum(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)))
    seen = set()
    for item in found.get_items():
        for asset in item.assets.values():
            if "/pooled/" not in asset.href:
                continue
            content = Path(str(asset.get_absolute_href())).read_bytes()
            about = FileExtension.ext(asset)
            assert about.size == len(content)
            assert about.checksum == "1220" + hashlib.sha256(content).hexdigest()
            seen.add(asset.href)
    assert len(seen) == len(list((Path(str(run.path)) / "pooled").iterdir()))


def test_windows_have_items_of_their_own(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "seasons"
    write_windows(path, plan, empty=[(tile, 1) for tile in range(len(plan))])
    items = {item.id: item for item in publish(path).get_items()}
    # The second window has no embedding anywhere, and so no items.
    zones = "utm32n", "utm33n"
    assert sorted(items) == [f"{zone}_{NAMES[k]}" for zone in zones for k in (0, 2)]
    last = items[f"utm33n_{NAMES[2]}"]
    assert last.datetime is None
    assert last.properties["start_datetime"] == "2022-07-01T00:00:00Z"
    assert last.properties["end_datetime"] == "2022-09-30T23:59:59Z"
    assert "number 2 on the axis `time`" in str(last.assets["embeddings"].description)


@pytest.mark.parametrize(("grid", "pooled"), [(True, True), (False, True), (True, False)])
def test_a_run_of_places_is_one_item(tmp_path: Path, grid: bool, pooled: bool) -> None:
    path = tmp_path / "survey"
    write_places(path, grid=grid, pooled=pooled, centre=pooled)
    (item,) = publish(path).get_items()
    assert item.id == "places"
    assert item.properties["proj:code"] is None
    kind = str(item.assets["embeddings"].href)
    assert kind == ("../pooled" if pooled else "../places.zarr")
    assert ("maps" in item.assets) == (grid and pooled)
    assert item.bbox is not None
    assert shape(item.geometry).bounds == pytest.approx(item.bbox)


def test_vectors_alone_and_maps_alone_can_be_published(tmp_path: Path, plan: Plan) -> None:
    write_run(tmp_path / "vectors", plan, grid=False)
    item = next(publish(tmp_path / "vectors").get_items())
    assert item.assets["embeddings"].href == "../pooled"
    assert item.properties["proj:code"] == "EPSG:32632"
    write_run(tmp_path / "maps", plan, pooled=False)
    item = next(publish(tmp_path / "maps").get_items())
    assert not [name for name in item.assets if name.startswith("utm")]


def test_codes_are_said_to_need_their_scales(tmp_path: Path, plan: Plan) -> None:
    write_run(tmp_path / "int8", plan, dtype="int8")
    item = next(publish(tmp_path / "int8").get_items())
    asset = item.assets["embeddings"].to_dict()
    assert (asset["data_type"], asset["nodata"]) == ("int8", -128)
    assert "times `scale`" in asset["description"]
    assert item.properties["emb:quantization"] == {
        "method": "per_pixel_scale",
        "original_dtype": "float32",
        "quantized_dtype": "int8",
    }


def test_published_weights_have_an_item_that_describes_the_model(
    tmp_path: Path, plan: Plan
) -> None:
    path = tmp_path / "run"
    data = Data(plan, mean=[0.1, 0.2], std=[0.3, 0.4])
    write_run(path, plan, model=Model(bands=["S2:Blue", "S2:Red"], image_size=288), data=data)

    def trained(content: dict[str, Any]) -> None:
        page = "https://huggingface.co/FM4CS/THOR-1.0-tiny"
        content["info"]["model"] |= {"pretrained": True, "weights_url": page}

    edit_json(path / "run.json", trained)
    found = publish(path)
    (link,) = found.get_links("emb:model")
    assert link.href == "./model.json" or str(link.get_absolute_href()).endswith("/model.json")
    model = next(item for item in found.get_items() if item.id == "model")
    about = MLMExtension.ext(model)
    assert about.mlm_name == "thor_v1_tiny"
    assert about.pretrained is True
    assert about.input[0].bands == ["S2:Blue", "S2:Red"]
    assert about.input[0].input.shape == [-1, 2, 288, 288]
    assert [scaling["mean"] for scaling in model.properties["mlm:input"][0]["value_scaling"]] == [
        0.1,
        0.2,
    ]
    weights = model.assets["weights"]
    assert weights.href.endswith("/THOR-1.0-tiny/resolve/main/thor_v1_vit_tiny.pt")
    # STAC refuses bands of an item whose assets have none.
    assert weights.to_dict()["bands"] == model.properties["bands"]
    item = next(item for item in found.get_items() if item.id == "utm32n")
    derived = [link.extra_fields.get("mlm:name") for link in item.get_links("derived_from")]
    assert "thor_v1_tiny" in derived
    assert "RANDOM" not in found.description


def test_weights_without_an_address_are_described_by_the_run(run: RunDirectory) -> None:
    found = publish(Path(str(run.path)))
    (link,) = found.get_links("emb:model")
    assert str(link.target).endswith("run.json")
    assert not (Path(str(run.path)) / "model.json").exists()


@pytest.mark.parametrize(("catalogue", "notice"), [("earthengine", True), ("emulator-00ff", False)])
def test_copernicus_is_named_for_its_scenes(
    tmp_path: Path, plan: Plan, catalogue: str, notice: bool
) -> None:
    sensor = {"catalogue": catalogue, "collection": "COPERNICUS/S2_SR_HARMONIZED"}
    write_run(tmp_path / "run", plan, data=Data(plan, sentinel2={**sensor, "composite": "median"}))
    found = publish(tmp_path / "run")
    said = "Contains modified Copernicus Sentinel data 2022." in found.description
    assert said is notice
    assert "Median composites of Sentinel-2" in found.description
    sources = [str(link.target) for link in found.get_links("emb:source-data")]
    assert len(sources) == 1
    assert sources[0].startswith("https://" if notice else "ni:///")
