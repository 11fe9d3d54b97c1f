"""thor-geo: from an area of the Earth to THOR embeddings.

The names below are looked up on first use, so that ``import thor_geo`` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.api import (
        Embedding,
        InputPrep,
        Run,
        get_embedding,
        get_embeddings_batch,
        open_run,
    )
    from thor_geo.datasets import CompositeDataset, SensorStack
    from thor_geo.ground.area import Area, AreaSpec
    from thor_geo.ground.places import PlacesSpec
    from thor_geo.ground.plan import Plan
    from thor_geo.models import build_thor
    from thor_geo.specs import BBox, OutputSpec, PointBuffer, SensorSpec, TemporalSpec
    from thor_geo.specs.sentinel1 import Sentinel1Spec
    from thor_geo.specs.sources import EarthEngineSpec, EmulatorSpec, StacSpec
    from thor_geo.storage import StoreOptions
    from thor_geo.tasks import RunWriter, THOREmbeddingTask
    from thor_geo.transforms import THORNormalize

_HOMES = {
    "Area": "ground.area",
    "AreaSpec": "ground.area",
    "BBox": "specs",
    "CompositeDataset": "datasets",
    "EarthEngineSpec": "specs.sources",
    "Embedding": "api",
    "EmulatorSpec": "specs.sources",
    "InputPrep": "api",
    "OutputSpec": "specs",
    "PlacesSpec": "ground.places",
    "Plan": "ground.plan",
    "PointBuffer": "specs",
    "Run": "api",
    "RunWriter": "tasks",
    "SensorSpec": "specs",
    "SensorStack": "datasets",
    "Sentinel1Spec": "specs.sentinel1",
    "StacSpec": "specs.sources",
    "StoreOptions": "storage",
    "THOREmbeddingTask": "tasks",
    "THORNormalize": "transforms",
    "TemporalSpec": "specs",
    "build_thor": "models",
    "get_embedding": "api",
    "get_embeddings_batch": "api",
    "open_run": "api",
}

__all__ = [
    "Area",
    "AreaSpec",
    "BBox",
    "CompositeDataset",
    "EarthEngineSpec",
    "Embedding",
    "EmulatorSpec",
    "InputPrep",
    "OutputSpec",
    "PlacesSpec",
    "Plan",
    "PointBuffer",
    "Run",
    "RunWriter",
    "SensorSpec",
    "SensorStack",
    "Sentinel1Spec",
    "StacSpec",
    "StoreOptions",
    "THOREmbeddingTask",
    "THORNormalize",
    "TemporalSpec",
    "build_thor",
    "get_embedding",
    "get_embeddings_batch",
    "open_run",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module, or read the version."""
    if name == "__version__":
        from importlib.metadata import version

        return version("thor-geo")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
