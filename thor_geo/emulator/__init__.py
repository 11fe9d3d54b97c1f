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
    from thor_geo.emulator._scenes import Acquisition as Acquisition
    from thor_geo.emulator.catalogue import write_catalogue as write_catalogue
    from thor_geo.emulator.generate import ensure_archive as ensure_archive
    from thor_geo.emulator.generate import generate_archive as generate_archive
    from thor_geo.emulator.launch import EmulatorProcess as EmulatorProcess
    from thor_geo.emulator.server import EmulatorServer as EmulatorServer

# Looked up on first use: a run that only launches the emulator loads neither rasterio nor pyproj.
_MODULES = {
    "Acquisition": "_scenes",
    "Archive": "_archive",
    "ArchiveError": "_errors",
    "EmulatorProcess": "launch",
    "EmulatorServer": "server",
    "FaultPlan": "_faults",
    "FaultRule": "_faults",
    "ensure_archive": "generate",
    "generate_archive": "generate",
    "main": "_main",
    "write_catalogue": "catalogue",
}

__all__ = [
    "Acquisition",
    "Archive",
    "ArchiveError",
    "EmulatorProcess",
    "EmulatorServer",
    "FaultPlan",
    "FaultRule",
    "ensure_archive",
    "generate_archive",
    "main",
    "write_catalogue",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
