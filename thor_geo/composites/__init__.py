"""Composites: the block store, and the prefetch process that fills it.

Nothing here loads the `ee` client before a block has to be fetched in this very process.
"""

from __future__ import annotations

from thor_geo.composites.prefetch import (
    PrefetchedSources,
    Prefetcher,
    PrefetchSpec,
    PrefetchStats,
)
from thor_geo.composites.shared import SharedBlockStore, block_store
from thor_geo.composites.source import BlockSource, DirectSource, PrefetchedSource, StrictSource
from thor_geo.composites.store import BlockStore
from thor_geo.composites.stored import Pinned, StoredBlock

__all__ = [
    "BlockSource",
    "BlockStore",
    "DirectSource",
    "Pinned",
    "PrefetchSpec",
    "PrefetchStats",
    "PrefetchedSource",
    "PrefetchedSources",
    "Prefetcher",
    "SharedBlockStore",
    "StoredBlock",
    "StrictSource",
    "block_store",
]
