"""The model of a run as an item of its own, by the extension for machine-learning models (MLM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shapely.geometry.base import BaseGeometry

from thor_geo.models.variants import VARIANTS
from thor_geo.publish.credits import THOR_DOI, THOR_PAPER, is_thor
from thor_geo.publish.facts import RunFacts
from thor_geo.publish.footprint import box_of, geojson
from thor_geo.publish.stac import (
    COLLECTION,
    HTML,
    JSON_TYPE,
    MLM,
    SCIENTIFIC,
    VERSION,
    common_assets,
    link,
    period,
)
from thor_geo.runs.fingerprint import JSON

# What the encoder is told about a run besides its bands.
_HYPERPARAMETERS = (
    "patch_size",
    "ground_cover_m",
    "group_merge",
    "pooling",
    "layers",
    "norm",
    "implementation",
    "weights",
    "weights_sha256",
)


def describes_model(facts: RunFacts) -> bool:
    """Return whether the model can have an item: a variant of THOR with published weights.

    The extension wants the address of the weights. Others have none: run.json describes them, with
    their checksum.
    """
    published = facts.model.get("weights_url") is not None
    return is_thor(facts) and published and {"bands", "image_size"} <= facts.model.keys()


def model_item(facts: RunFacts, geometry: BaseGeometry, collection: str) -> dict[str, JSON]:
    """Return the item of the model as this run used it.

    Args:
        facts: The run, for which `describes_model` holds.
        geometry: Where the run used it.
        collection: Id of the run's collection.
    """
    about = facts.model
    row = VARIANTS[about["model_key"]]
    start, end = period(facts.opened.span.start, facts.opened.span.end)
    bands = [str(band) for band in about["bands"]]
    named = [{"name": band} for band in bands]
    properties: dict[str, JSON] = {
        "title": f"{row.model_key} with {about.get('weights', 'weights that are not named')}",
        "datetime": None,
        "start_datetime": start,
        "end_datetime": end,
        "bands": named,
        "mlm:name": row.model_key,
        "mlm:architecture": "Vision Transformer",
        "mlm:tasks": ["similarity-search"],
        "mlm:framework": "PyTorch",
        "mlm:pretrained": True,
        "mlm:accelerator": None,
        "mlm:hyperparameters": {
            name: about[name] for name in _HYPERPARAMETERS if about.get(name) is not None
        },
        "mlm:input": [_input(facts, bands)],
        "mlm:output": [
            {
                "name": "embeddings",
                "tasks": ["similarity-search"],
                "result": {
                    "shape": [-1, int(facts.about["dimensions"])],
                    "dim_order": ["batch", "embedding"],
                    "data_type": "float32",
                },
            }
        ],
        "sci:publications": [{"doi": THOR_DOI, "citation": THOR_PAPER}],
    }
    torch = str(facts.info.get("packages", {}).get("torch", ""))
    if torch:
        properties["mlm:framework_version"] = torch
    page, up = str(about["weights_url"]), "./"
    weights: dict[str, JSON] = {
        "href": f"{page}/resolve/main/{row.hub_file}",
        "title": "Published weights",
        "roles": ["mlm:model", "mlm:weights"],
        "type": "application/octet-stream; application=pytorch",
        "mlm:artifact_type": "torch.save",
        # STAC allows bands of an item only where an asset has some, and MLM wants them there.
        "bands": named,
    }
    links = [link(rel, f"{up}{COLLECTION}", JSON_TYPE) for rel in ("root", "parent", "collection")]
    links.append(link("about", page, HTML, "the model's card"))
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [MLM, SCIENTIFIC],
        "id": "model",
        "collection": collection,
        "geometry": geojson(geometry),
        "bbox": box_of(geometry),
        "properties": properties,
        "links": links,
        "assets": {"weights": weights, "run": common_assets(facts, up)["run"]},
    }


def _input(facts: RunFacts, bands: list[str]) -> Mapping[str, Any]:
    about, data = facts.model, facts.settings.get("data", {})
    side = int(about["image_size"])
    described: dict[str, Any] = {
        "name": "composite",
        "bands": bands,
        "input": {
            "shape": [-1, len(bands), side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "resize_type": None,
    }
    means, deviations = data.get("mean"), data.get("std")
    if means is not None and deviations is not None and len(means) == len(bands):
        described["description"] = (
            "Mean and standard deviation are of reflectance, for Sentinel-1 of decibels."
        )
        described["value_scaling"] = [
            {"type": "z-score", "mean": mean, "stddev": deviation}
            for mean, deviation in zip(means, deviations, strict=True)
        ]
    return described
