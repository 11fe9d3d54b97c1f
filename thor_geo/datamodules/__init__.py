"""LightningDataModules: dataset, sampler, and normalisation on the device.

The two classes are imported on first use, so that what a data module is made of (its sources,
sensors and sampler) can be imported without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.datamodules.composite import CompositeDataModule
    from thor_geo.datamodules.folder import FolderDataModule

_HOMES = {"CompositeDataModule": "composite", "FolderDataModule": "folder"}

__all__ = ["CompositeDataModule", "FolderDataModule"]


def __getattr__(name: str) -> object:
    """Import a class from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
