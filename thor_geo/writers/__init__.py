"""Writers: the run directory, its files, and what a person sees of a run.

Everything is loaded when first used: `RunDirectory` alone imports neither Lightning nor pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.writers.callback import RunWriter
    from thor_geo.writers.progress import TileProgressBar
    from thor_geo.writers.rundir import RunDirectory
    from thor_geo.writers.summary import Summary, summarise

_HOMES = {
    "RunDirectory": "rundir",
    "RunWriter": "callback",
    "Summary": "summary",
    "TileProgressBar": "progress",
    "summarise": "summary",
}

__all__ = ["RunDirectory", "RunWriter", "Summary", "TileProgressBar", "summarise"]


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
