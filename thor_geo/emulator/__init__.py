"""An Earth Engine emulator: an HTTP server that the unmodified ``ee`` client talks to.

It serves folders of scenes, evaluates the expressions that thor-geo sends (and answers HTTP 400,
naming it, for whatever else it is sent), enforces the service's limits, and fails on request.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thor_geo.emulator._archive import Archive as Archive
    from thor_geo.emulator._errors import ArchiveError as ArchiveError
    from thor_geo.emulator._faults import FaultPlan as FaultPlan
    from thor_geo.emulator._faults import FaultRule as FaultRule
    from thor_geo.emulator._main import main as main
    from thor_geo.emulator._products import COLLECTIONS as COLLECTIONS
    from thor_geo.emulator._products import Product as Product
    from thor_geo.emulator._radar import Overpass as Overpass
    from thor_geo.emulator._scenes import Acquisition as Acquisition
    from thor_geo.emulator.catalogue import write_catalogue as write_catalogue
    from thor_geo.emulator.generate import ensure_archive as ensure_archive
    from thor_geo.emulator.generate import generate_archive as generate_archive
    from thor_geo.emulator.generate_places import ensure_places as ensure_places
    from thor_geo.emulator.generate_s1 import ensure_sentinel1_archive as ensure_sentinel1_archive
    from thor_geo.emulator.generate_s1 import (
        generate_sentinel1_archive as generate_sentinel1_archive,
    )
    from thor_geo.emulator.launch import EmulatorProcess as EmulatorProcess
    from thor_geo.emulator.server import EmulatorServer as EmulatorServer

# Looked up on first use: a run that only launches the emulator loads neither rasterio nor pyproj.
_MODULES = {
    "COLLECTIONS": "_products",
    "Acquisition": "_scenes",
    "Archive": "_archive",
    "ArchiveError": "_errors",
    "EmulatorProcess": "launch",
    "EmulatorServer": "server",
    "FaultPlan": "_faults",
    "FaultRule": "_faults",
    "Overpass": "_radar",
    "Product": "_products",
    "ensure_archive": "generate",
    "ensure_places": "generate_places",
    "ensure_sentinel1_archive": "generate_s1",
    "generate_archive": "generate",
    "generate_sentinel1_archive": "generate_s1",
    "main": "_main",
    "write_catalogue": "catalogue",
}

__all__ = [
    "COLLECTIONS",
    "Acquisition",
    "Archive",
    "ArchiveError",
    "EmulatorProcess",
    "EmulatorServer",
    "FaultPlan",
    "FaultRule",
    "Overpass",
    "Product",
    "ensure_archive",
    "ensure_places",
    "ensure_sentinel1_archive",
    "generate_archive",
    "generate_sentinel1_archive",
    "main",
    "write_catalogue",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
