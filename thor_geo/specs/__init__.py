"""What a user asks for, as frozen keyword-only dataclasses that validate themselves.

Nothing here touches the network, the disk or a model: an invalid request fails in the constructor.
"""

from __future__ import annotations

from thor_geo.specs.choices import (
    Implementation,
    Merge,
    NodataFill,
    Normalize,
    Pooling,
    check_choice,
    check_least,
)
from thor_geo.specs.output import OutputKind, OutputSpec
from thor_geo.specs.places import UTM_NORTH, UTM_SOUTH, BBox, PointBuffer
from thor_geo.specs.sensor import CloudMask, Composite, SensorSpec
from thor_geo.specs.sentinel2 import CLOUD_SCORE_PLUS, SCL_MASKED, CloudScoreBand
from thor_geo.specs.window import TemporalSpec
from thor_geo.specs.windows import Windows

__all__ = [
    "CLOUD_SCORE_PLUS",
    "SCL_MASKED",
    "UTM_NORTH",
    "UTM_SOUTH",
    "BBox",
    "CloudMask",
    "CloudScoreBand",
    "Composite",
    "Implementation",
    "Merge",
    "NodataFill",
    "Normalize",
    "OutputKind",
    "OutputSpec",
    "PointBuffer",
    "Pooling",
    "SensorSpec",
    "TemporalSpec",
    "Windows",
    "check_choice",
    "check_least",
]
