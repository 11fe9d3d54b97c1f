"""A cache in an object store: a folder of copies on this machine, and the store behind it.

Names below the address are those of `store` in a folder, so that a cache can be copied from one to
the other. Readers know the folder alone: a process that was forked from one which has used an
object store cannot use it. Whoever fills the cache has the folder and the store:

    wanted    in the folder? else up to 3 GETs: list of scenes, sidecar, pixels
    made      1 conditional PUT for the list of scenes, 2 PUTs for pixels and sidecar, in this order

and, for what is made, 2 GETs that find no list of scenes. Nothing is ever listed or removed. The
store has a block before the folder has it, so that nothing is read which others will not find. The
folder holds the latest blocks, up to a size (`_latest`).
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from thor_geo.composites import _folder
from thor_geo.composites._latest import latest_in
from thor_geo.composites._records import record_bytes
from thor_geo.composites.store import BlockStore
from thor_geo.composites.stored import Pinned, StoredBlock
from thor_geo.ground.lattice import Block
from thor_geo.storage import StorePath
from thor_geo.storage.probe import check_store
from thor_geo.support.files import write_atomic

logger = logging.getLogger(__name__)


class SharedBlockStore(BlockStore):
    """The cache of one recipe's blocks in an object store, with copies in a folder; picklable."""

    def __init__(self, root: str | Path, *, shared: StorePath, **recipe: Any) -> None:
        """Initialize a new SharedBlockStore instance; nothing is touched yet.

        Args:
            root: Folder of the copies, on a disk of this machine.
            shared: Root of the cache in the object store.
            **recipe: As `BlockStore` takes it.
        """
        super().__init__(root, **recipe)
        self.shared = shared

    def prepare(self) -> None:
        """Make the folder, and check that the store can be written.

        Raises:
            CacheError: If the folder cannot be made.
            ConfigError: If the address can only be read.
            StoreError: If the store cannot be written.
        """
        with _folder.explained(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        _check(self.shared)

    def pinned(self, block: Block) -> Pinned | None:
        """Return the pinned scenes of a block, None where they are not known.

        Args:
            block: The block.

        Raises:
            CacheError: If the folder cannot be used.
            StoreError: If the store cannot be read.
        """
        pinned = super().pinned(block)
        path = self._scenes_path(self.query_key(block))
        if pinned is None and self._copied(path):
            pinned = super().pinned(block)
            if pinned is None:
                self._report(path)
        return pinned

    def has(self, block: Block) -> bool:
        """Return whether a block is here, or is now that it has been copied.

        Args:
            block: The block.

        Raises:
            CacheError: If the folder cannot be used.
            StoreError: If the store cannot be read.
        """
        known = self._scenes_path(self.query_key(block)).exists()
        return (known and super().has(block)) or self.get(block) is not None

    def get(self, block: Block) -> StoredBlock | None:
        """Return a block if folder or store have it, complete and undamaged.

        Args:
            block: The block.

        Raises:
            CacheError: If the folder cannot be used.
            StoreError: If the store cannot be read.
        """
        stored = super().get(block)
        pinned = self.pinned(block) if stored is None else None
        if pinned is None:
            return stored
        if pinned.block_key is not None:
            path = self._block_path(pinned.block_key)
            latest_in(self.root).expect(path)
            # The sidecar was written last: without it there is no block.
            if not (self._copied(path.with_suffix(".json")) and self._copied(path)):
                return None
        stored = super().get(block)
        if stored is None and pinned.block_key is not None:
            self._report(self._block_path(pinned.block_key))
        if stored is not None and stored.path is not None and stored.which is not None:
            self._count(stored.path, stored.which[1])
        return stored

    def _count(self, path: Path, size: int) -> None:
        with _folder.explained(self.root):
            latest_in(self.root).add(path, size)

    def _behind(self, path: Path) -> StorePath:
        return self.shared / path.relative_to(self.root).as_posix()

    def _copied(self, path: Path) -> bool:
        """Copy an object into the folder; return whether there is one."""
        try:
            content = self._behind(path).read_bytes()
        except FileNotFoundError:
            return False
        with _folder.explained(self.root, len(content)):
            self._copy(path, content)
        return True

    def _copy(self, path: Path, content: bytes) -> None:
        # Not durable: the folder does not outlive the run.
        write_atomic(path, content, scratch=self._scratch, durable=False)

    def _report(self, path: Path) -> None:
        logger.warning("That file is a copy of %s, which will be replaced.", self._behind(path))

    def _record(self, path: Path, content: dict[str, Any], *, replace: bool) -> bool:
        record = record_bytes(content)
        if replace:
            self._behind(path).put(record)
        elif not self._behind(path).put_if_absent(record):
            path.unlink(missing_ok=True)  # what holds is copied when it is asked for
            return False
        self._copy(path, record)
        return True

    def _keep(self, path: Path, content: bytes, sidecar: dict[str, Any]) -> None:
        sidecar_path, record = path.with_suffix(".json"), record_bytes(sidecar)
        self._behind(path).put(content)
        self._behind(sidecar_path).put(record)
        latest_in(self.root).expect(path)
        self._copy(path, content)
        self._copy(sidecar_path, record)
        self._count(path, len(content))


def block_store(root: Path, shared: StorePath | None, **recipe: Any) -> BlockStore:
    """Return the cache of one recipe's blocks for whoever fills it.

    Args:
        root: Folder of the cache, or of the copies.
        shared: Root of the cache in an object store, None where it is the folder.
        **recipe: As `BlockStore` takes it.
    """
    if shared is None:
        return BlockStore(root, **recipe)
    return SharedBlockStore(root, shared=shared, **recipe)


@lru_cache(maxsize=64)
def _check(shared: StorePath) -> None:
    """Check once in a process: recipes and windows of one cache are as many stores."""
    check_store(shared, argument="data.cache_dir")
