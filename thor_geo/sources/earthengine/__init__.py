"""Earth Engine: session, recipe (what is asked for) and fetch (how it is asked for).

The only room that imports `ee`, and it does so when it is used: importing this package costs
nothing, so that processes which only read the cache never load the client.
"""

from __future__ import annotations

from thor_geo.sources.earthengine._sensors import composite
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.fetch import fetch_block, fetch_scenes
from thor_geo.sources.earthengine.recipe import RECIPE_VERSION, block_key
from thor_geo.sources.earthengine.service import EarthEngine
from thor_geo.sources.earthengine.session import EarthEngineSession, initialize
from thor_geo.sources.earthengine.spec import HIGH_VOLUME_URL, SessionSpec
from thor_geo.sources.policy import FetchStats, RetryPolicy
from thor_geo.sources.scenes import Scene, Sentinel1Scene

__all__ = [
    "HIGH_VOLUME_URL",
    "RECIPE_VERSION",
    "EarthEngine",
    "EarthEngineClient",
    "EarthEngineSession",
    "FetchStats",
    "RetryPolicy",
    "Scene",
    "Sentinel1Scene",
    "SessionSpec",
    "block_key",
    "composite",
    "fetch_block",
    "fetch_scenes",
    "initialize",
]
