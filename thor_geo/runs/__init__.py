"""The run directory: its layout, markers, lock and files, and opening it again.

Everything is loaded when first used: `RunDirectory` alone imports neither Lightning nor pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.runs.rundir import RunDirectory
    from thor_geo.runs.summary import Summary, summarise

_HOMES = {"RunDirectory": "rundir", "Summary": "summary", "summarise": "summary"}

__all__ = ["RunDirectory", "Summary", "summarise"]


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
