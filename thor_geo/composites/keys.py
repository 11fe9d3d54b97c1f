"""The query key: what names a block's list of scenes before the list is known.

Computed without the `ee` client, so that processes which only read the cache need not load it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict

from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine.recipe import RECIPE_VERSION
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec
from thor_geo.support.jsontext import canonical_sha256

_KEY = re.compile(r"[0-9a-f]{64}")

# The settings that every composite of Sentinel-2 has; the others are its options.
_SHARED = ("collection", "bands", "composite", "mask", "fill_value")


def is_key(value: object) -> bool:
    """Return whether a value read from a file is a key; only then may it become part of a path."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def settings_key(sensor: AnySensor, window: TemporalSpec, catalogue: str) -> str:
    """Return the sha256 of all that the blocks of a run have in common.

    Args:
        sensor: Collection, bands and recipe.
        window: Time window.
        catalogue: Where the scenes are from: ``earthengine``, or ``emulator-`` and the archive's
            fingerprint, so that archives never mix.
    """
    if isinstance(sensor, Sentinel1Spec):
        settings = {**asdict(sensor), "scale_m": sensor.resolution}
    else:
        settings = {name: getattr(sensor, name) for name in _SHARED}
        # 30 and 30.0 are one setting.
        settings |= {"scale_m": sensor.resolution, "cloudy_pct": float(sensor.cloudy_pct)}
        settings |= sensor.options()
    return canonical_sha256(
        {
            "recipe": RECIPE_VERSION,
            "sensor": settings,
            "window": [window.start.isoformat(), window.end.isoformat()],
            "catalogue": catalogue,
        }
    )


def query_key(settings: str, block: Block) -> str:
    """Return the sha256 of settings and a block's grid, as 64 hexadecimal digits.

    Args:
        settings: The `settings_key`.
        block: The block.
    """
    grid = (block.epsg, block.size, block.resolution, block.left, block.top, block.anchor)
    return hashlib.sha256(f"{settings}:{grid!r}".encode()).hexdigest()
