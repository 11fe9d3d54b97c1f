"""Embeddings from Python: one call for one place, one for many; and a run for scikit-learn.

The pixels come from the cache that runs use, and go through the task that runs use: the same pixels
in the same batch shape give the same embedding, bit for bit, here and in a run.

The names below are looked up on first use: who opens a run needs no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor_geo.api._options import EmbeddingOptions
    from thor_geo.api.call import get_embedding, get_embeddings_batch
    from thor_geo.api.prep import InputPrep
    from thor_geo.api.result import Embedding
    from thor_geo.api.run import Run, open_run

_HOMES = {
    "Embedding": "result",
    "EmbeddingOptions": "_options",
    "InputPrep": "prep",
    "Run": "run",
    "get_embedding": "call",
    "get_embeddings_batch": "call",
    "open_run": "run",
}

__all__ = [
    "Embedding",
    "EmbeddingOptions",
    "InputPrep",
    "Run",
    "get_embedding",
    "get_embeddings_batch",
    "open_run",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
