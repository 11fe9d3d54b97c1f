"""How the embeddings of a run were made, in sentences and as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thor_geo.publish.facts import RunFacts
from thor_geo.runs.fingerprint import JSON

# Settings that a reader of embeddings asks for first; run.json has all.
_MODEL = ("patch_size", "group_merge", "pooling", "layers", "norm", "precision", "device")
_SOURCES = {
    "earthengine": " from Earth Engine",
    "stac": " from a STAC catalogue",
    "emulator": " from a folder of scenes, which may be generated ones",
}
_DATA = ("bands", "tile_size", "stride", "resolution", "normalize", "batch_size")


def runtime_parameters(facts: RunFacts) -> dict[str, JSON]:
    """Return the parameters of the run that shape its numbers most, as run.json has them."""
    data, model = facts.settings.get("data", {}), facts.settings.get("model", {})
    chosen: dict[str, JSON] = {name: data[name] for name in _DATA if name in data}
    return chosen | {name: model[name] for name in _MODEL if name in model}


def lineage(facts: RunFacts) -> str:
    """Return how the embeddings were made: what they were computed from, and by what."""
    data = facts.settings.get("data", {})
    inputs = [_composite(name, sensor) for name, sensor in facts.sensors.items()]
    source = " and ".join(inputs) or "the publisher's own files"
    read_from = _SOURCES.get(facts.info.get("data", {}).get("source"), "")
    model = facts.model.get("model_key", "a model")
    tile, resolution = data.get("tile_size"), data.get("resolution")
    size = "" if tile is None else f" in tiles of {tile} pixels of {resolution} m"
    weights = facts.model.get("weights")
    with_weights = "" if weights is None else f" with {weights}"
    normalised = data.get("normalize")
    how = "" if normalised is None else f", normalised by {normalised}"
    return (
        f"{source[0].upper()}{source[1:]}{read_from}{how}, embedded{size} by {model}{with_weights}."
    )


def _composite(name: str, settings: Mapping[str, Any]) -> str:
    kind, collection = settings.get("composite"), settings.get("collection")
    of = name if collection is None else f"{name} ({collection})"
    return of if kind is None else f"{kind} composites of {of}"


def packages(facts: RunFacts) -> dict[str, JSON]:
    """Return the versions of the software that began the run, by name."""
    found = facts.info.get("packages", {})
    return {str(name): str(version) for name, version in sorted(found.items()) if version}
