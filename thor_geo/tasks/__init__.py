"""What Lightning calls: embedding tasks, a linear head, the prediction writer, progress.

Everything is loaded when first used: finding unfinished shards needs no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.tasks.backbone import BackboneEmbeddingTask
    from thor_geo.tasks.embedding import THOREmbeddingTask
    from thor_geo.tasks.linear import LinearSegmentationTask
    from thor_geo.tasks.progress import TileProgressBar
    from thor_geo.tasks.writer import RunWriter

_HOMES = {
    "BackboneEmbeddingTask": "backbone",
    "LinearSegmentationTask": "linear",
    "RunWriter": "writer",
    "THOREmbeddingTask": "embedding",
    "TileProgressBar": "progress",
}

__all__ = [
    "BackboneEmbeddingTask",
    "LinearSegmentationTask",
    "RunWriter",
    "THOREmbeddingTask",
    "TileProgressBar",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
