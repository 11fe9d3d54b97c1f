"""Embeddings from Python: one call for one place, one for many.

The pixels come from the cache that runs use, and go through the task that runs use: the same pixels
in the same batch shape give the same embedding, bit for bit, here and in a run.
"""

from __future__ import annotations

from thor_geo.api._options import EmbeddingOptions
from thor_geo.api.call import get_embedding, get_embeddings_batch
from thor_geo.api.prep import InputPrep
from thor_geo.api.result import Embedding

__all__ = ["Embedding", "EmbeddingOptions", "InputPrep", "get_embedding", "get_embeddings_batch"]
