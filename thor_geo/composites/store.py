"""The block store: a content-addressed cache of composites, verified on read.

    scenes/<2>/<query key>.json    the pinned scenes of a block, those left out and why, the key of
                                   its pixels, and what listing them cost
    blocks/<2>/<block key>.tif     the requested bands and the observation count, uint16 or int16
    blocks/<2>/<block key>.json    sidecar, written last: checksum, provenance, cost
    writing/                       temporary files of writers

The query key says what was asked for, the block key what was computed. Any number of processes and
nodes may share a store: files appear whole, and two writers of one key write the same. What is
damaged is reported, removed and counts as absent. `shared` has the same names in an object store.

Costs (``fetch``: requests, retries, splits, bytes, seconds, seconds_waiting) are not to be added up
twice: a sidecar says what its block cost in all, the listing of its scenes included. A block
without scenes has no sidecar, and what it cost is in its list of scenes.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from thor_geo.composites import _folder, _raster, _tiff
from thor_geo.composites._records import DamagedError, read_record, write_record
from thor_geo.composites.keys import is_key, query_key, settings_key
from thor_geo.composites.stored import Pinned, StoredBlock
from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine.recipe import RECIPE_VERSION
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import OBSERVATIONS, provenance, scene_from_dict
from thor_geo.sources.service import BlockPixels
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, storage_of
from thor_geo.support.files import write_atomic

logger = logging.getLogger(__name__)

#: Blocks whose files a process remembers to have verified.
_REMEMBERED = 4096

#: What a sidecar or a list of scenes takes, bytes, for messages.
_RECORD_BYTES = 16_384


class BlockStore:
    """The cache of one recipe's blocks under a folder that recipes can share; picklable."""

    def __init__(
        self,
        root: str | Path,
        *,
        sensor: AnySensor,
        window: TemporalSpec,
        catalogue: str = "earthengine",
        compression: _raster.Compression = "zstd",
    ) -> None:
        """Initialize a new BlockStore instance; nothing is touched yet.

        Args:
            root: Folder of the cache.
            sensor: Collection, bands and recipe.
            window: Time window.
            catalogue: Where the scenes are from: ``earthengine``, or ``emulator-`` and the
                archive's fingerprint.
            compression: How blocks are written from now on; all are read.
        """
        self.root = Path(root).expanduser()
        self.sensor = sensor
        self.window = window
        self.catalogue = catalogue
        self.compression: _raster.Compression = compression
        self._settings = settings_key(sensor, window, catalogue)
        self._dtype = np.dtype(storage_of(sensor).disk)

    def prepare(self) -> None:
        """Make the folder, check that it can be written, and remove what killed writers left.

        Raises:
            ConfigError: If it cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / "CACHE_OF_THOR_GEO"
            write_atomic(marker, b"", scratch=self._scratch)
            _folder.remove_leftovers(self._scratch, marker.stat().st_mtime)
        except OSError as error:
            raise ConfigError(
                "cache_dir",
                str(self.root),
                f"the folder cannot be written ({error})",
                "Set `data.cache_dir` to a folder you may write, with room for the composites.",
            ) from error

    def query_key(self, block: Block) -> str:
        """Return the name of a block's list of scenes, 64 hexadecimal digits."""
        return query_key(self._settings, block)

    @property
    def _scratch(self) -> Path:
        return self.root / "writing"

    def _scenes_path(self, key: str) -> Path:
        return self.root / "scenes" / key[:2] / f"{key}.json"

    def _block_path(self, key: str) -> Path:
        return self.root / "blocks" / key[:2] / f"{key}.tif"

    def pinned(self, block: Block) -> Pinned | None:
        """Return the pinned scenes of a block, None where they are not known.

        Args:
            block: The block.

        Raises:
            CacheError: If the cache cannot be read.
        """
        path = self._scenes_path(self.query_key(block))
        with _folder.explained(self.root):
            try:
                record = read_record(path)
                return None if record is None else _pinned(record, path.stem, self.sensor)
            except (DamagedError, KeyError, TypeError, ValueError) as error:
                self._discard(f"{path}: {error}", path)
                return None

    def pin(self, block: Block, pinned: Pinned) -> Pinned:
        """Write down the scenes of a block, unless others have been: the first list wins.

        Args:
            block: The block.
            pinned: Its scenes, and what listing them cost.

        Returns:
            What holds from now on: *pinned*, or the scenes that another process wrote down first,
            with what it paid for them.

        Raises:
            CacheError: If the cache cannot be written.
        """
        key = self.query_key(block)
        path = self._scenes_path(key)
        content: dict[str, Any] = {
            "query_key": key,
            "block_key": pinned.block_key,
            "block": block.id,
            "catalogue": self.catalogue,
            "recipe_version": RECIPE_VERSION,
            "collection": self.sensor.collection,
            "scenes": [scene.to_dict() for scene in pinned.scenes],
            "left_out": dict(pinned.left_out),
            **provenance(self.sensor, pinned.scenes),
            "created": _now(),
        }
        if pinned.cost is not None:
            content["fetch"] = asdict(pinned.cost)
        with _folder.writing(self.root, _RECORD_BYTES):
            if self._record(path, content, replace=False):
                return pinned
            before = self.pinned(block)
            if before is not None and (
                before.scenes != pinned.scenes or before.block_key == pinned.block_key
            ):
                return before
            # The same scenes under another key, or a list that turned out damaged.
            self._record(path, content, replace=True)
        return pinned

    def _record(self, path: Path, content: dict[str, Any], *, replace: bool) -> bool:
        """Write a list of scenes; return False if there is one, which must stay."""
        return write_record(path, content, scratch=self._scratch, replace=replace)

    def has(self, block: Block) -> bool:
        """Return whether a block is here, damaged or not.

        Args:
            block: The block.

        Raises:
            CacheError: If the cache cannot be read.
        """
        pinned = self.pinned(block)
        if pinned is None or pinned.block_key is None:
            return pinned is not None
        path = self._block_path(pinned.block_key)
        with _folder.explained(self.root):
            return path.exists() and path.with_suffix(".json").exists()

    def get(self, block: Block) -> StoredBlock | None:
        """Return a block if the cache has it, complete and undamaged.

        The first time a process meets a file it is read and compared with its checksum; after
        that, for as long as time, size and inode stay the same, it is trusted.

        Args:
            block: The block.

        Raises:
            CacheError: If the cache cannot be read.
        """
        with _folder.explained(self.root):
            return self._get(block)

    def _get(self, block: Block) -> StoredBlock | None:
        record_path = self._scenes_path(self.query_key(block))
        before = _tiff.identity(record_path)
        if before is None:
            return None
        known = _known.get(record_path)
        if known is not None and known.still_true(before):
            return known.stored
        pinned = self.pinned(block)
        if pinned is None:
            return None
        path = None if pinned.block_key is None else self._block_path(pinned.block_key)
        verified = None if path is None else self._verified(path, block)
        if path is not None and verified is None:
            return None
        which, checksum = verified or (None, None)
        stored = self.block(block, pinned, path=path, which=which, checksum=checksum)
        if len(_known) >= _REMEMBERED:
            _known.clear()
        _known[record_path] = _Known(record=before, stored=stored)
        return stored

    def block(self, block: Block, pinned: Pinned, **file: Any) -> StoredBlock:
        """Return a block as readers see it; *file* is `path`, `which` and `checksum`."""
        return StoredBlock(
            block=block,
            bands=self.sensor.bands,
            scenes=pinned.scenes,
            left_out=pinned.left_out,
            fill_value=self.sensor.fill_value,
            signed=self._dtype == np.int16,
            **provenance(self.sensor, pinned.scenes),
            **file,
        )

    def _shape(self, block: Block) -> tuple[int, int, int]:
        """Return planes, rows and columns of a block's file."""
        return len(self.sensor.bands) + 1, block.size, block.size

    def _verified(self, path: Path, block: Block) -> tuple[_tiff.Identity, str] | None:
        sidecar_path = path.with_suffix(".json")
        which = _tiff.identity(path)
        try:
            sidecar = read_record(sidecar_path)
            if sidecar is None or which is None:
                # Never finished, or half of it was deleted: it is written again.
                return None
            if sidecar["block_key"] != path.stem:
                raise DamagedError(f"{sidecar_path}: the sidecar of another block")
            expected = sidecar["file"]
            if which[1] != expected["size"]:
                raise DamagedError(f"{path}: {which[1]} bytes instead of {expected['size']}")
            checksum = _tiff.checksum(path.read_bytes())
            if checksum != expected["crc32c"]:
                raise DamagedError(f"{path}: the checksum does not match")
            self._check_layout(path, which, checksum, self._shape(block))
        except FileNotFoundError:
            return None
        except (DamagedError, KeyError, TypeError) as error:
            # Another process may have put a good file in its place by now.
            if _tiff.identity(path) == which:
                damaged = isinstance(error, DamagedError)
                reason = f"{error}" if damaged else f"{sidecar_path}: it lacks {error}"
                self._discard(reason, sidecar_path, path)
            return None
        return which, checksum

    def _check_layout(
        self, path: Path, which: _tiff.Identity, checksum: str, shape: tuple[int, int, int]
    ) -> None:
        try:
            file = _tiff.VerifiedFile(path=path, which=which, checksum=checksum, shape=shape)
            _tiff.check(replace(file, signed=self._dtype == np.int16))
        except DamagedError as error:
            raise DamagedError(
                f"{path}: it is complete, but not as this release writes blocks ({error}); another "
                "program or release wrote it"
            ) from error

    def put(
        self, block: Block, pinned: Pinned, planes: BlockPixels, stats: FetchStats
    ) -> StoredBlock:
        """Store the pixels of a block.

        Args:
            block: The block.
            pinned: Its scenes, which have been pinned, and the key of its pixels.
            planes: Pixels (bands + 1, size, size), as the sensor is stored; the last plane counts
                observations.
            stats: What it cost in all, the listing of its scenes included.

        Returns:
            The block as it is read from now on.

        Raises:
            ConfigError: If *planes* has another shape or dtype, or *pinned* no key.
            CacheError: If the cache cannot be written.
        """
        if planes.dtype != self._dtype:
            why = f"pixels are stored as {self._dtype}"
            raise ConfigError("planes", planes.dtype, why, "Convert them, clamped.")
        shape = self._shape(block)
        if planes.shape != shape or pinned.block_key is None:
            raise ConfigError(
                "planes",
                planes.shape,
                f"the block has the shape {shape}, and needs a key from its scenes",
                "Give all planes of the block, and scenes that `pin` recorded.",
            )
        path = self._block_path(pinned.block_key)
        names = (*self.sensor.bands, OBSERVATIONS)
        content = _raster.geotiff(block, planes, names, compression=self.compression)
        checksum = _tiff.checksum(content)
        sidecar = {
            "block_key": pinned.block_key,
            "query_key": self.query_key(block),
            "block": block.id,
            "catalogue": self.catalogue,
            "recipe_version": RECIPE_VERSION,
            "file": {"crc32c": checksum, "size": len(content)},
            "bands": list(names),
            "scenes": [scene.to_dict() for scene in pinned.scenes],
            "left_out": dict(pinned.left_out),
            **provenance(self.sensor, pinned.scenes),
            "values": _count_values(planes, storage_of(self.sensor).valid_range),
            "fetch": asdict(stats),
            "created": _now(),
        }
        with _folder.writing(self.root, len(content) + _RECORD_BYTES):
            self._keep(path, content, sidecar)
        which = _tiff.identity(path)
        return self.block(block, pinned, path=path, which=which, checksum=checksum)

    def _keep(self, path: Path, content: bytes, sidecar: dict[str, Any]) -> None:
        """Write the file of a block, and then its sidecar."""
        write_atomic(path, content, scratch=self._scratch)
        # Not durable: if a crash takes the sidecar, the block is fetched again.
        write_record(path.with_suffix(".json"), sidecar, scratch=self._scratch, durable=False)

    def _discard(self, why: str, *paths: Path) -> None:
        logger.warning("Damaged file in the cache, it will be fetched again: %s", why)
        for path in paths:
            path.unlink(missing_ok=True)


def _pinned(record: dict[str, Any], key: str, sensor: AnySensor) -> Pinned:
    """Return what a record of scenes says.

    Raises:
        ValueError: If it is another block's, or not what `BlockStore.pin` writes.
    """
    if record["query_key"] != key:
        raise ValueError("the scenes of another query")
    scenes = tuple(scene_from_dict(sensor, fields) for fields in record["scenes"])
    block_key = record["block_key"]
    # Records of earlier releases have no cost.
    cost = FetchStats.from_dict(record["fetch"]) if "fetch" in record else None
    left_out = record.get("left_out", {})
    if not isinstance(left_out, dict) or not all(
        isinstance(text, str) for pair in left_out.items() for text in pair
    ):
        raise ValueError("scenes left out without a reason")
    if is_key(block_key) if scenes else block_key is None:
        return Pinned(scenes=scenes, block_key=block_key, left_out=left_out, cost=cost)
    raise ValueError(f"{str(block_key)[:80]!r} is not the key of a block with {len(scenes)} scenes")


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A block that this process has verified, and the files as they were then."""

    record: _tiff.Identity
    stored: StoredBlock

    def still_true(self, record: _tiff.Identity) -> bool:
        stored = self.stored
        if record != self.record:
            return False
        return stored.path is None or (
            _tiff.identity(stored.path) == stored.which
            and stored.path.with_suffix(".json").exists()
        )


# By path of the scenes record, which names folder, recipe and block. Single dict operations only,
# so that threads need no lock and a forked child inherits none.
_known: dict[Path, _Known] = {}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _count_values(planes: BlockPixels, valid_range: tuple[int, int] | None) -> dict[str, int]:
    """Count the values that readers will clamp, where there is an observation."""
    seen = planes[-1] > 0
    counts = {"pixels": int(seen.size), "pixels_observed": int(seen.sum())}
    if valid_range is None:
        return counts
    low, high = valid_range
    return {
        **counts,
        "values_below_range": int(((planes[:-1] < low) & seen).sum()),
        "values_above_range": int(((planes[:-1] > high) & seen).sum()),
    }
