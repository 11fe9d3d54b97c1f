"""Markers: a shard is done when its marker is there, and not before."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from thor_geo.writers._files import sha256_of, write_bytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One file of a shard.

    Attributes:
        sha256: Of its content, hexadecimal.
        size: Bytes.
    """

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Describe a file on disk."""
        return cls(sha256=sha256_of(path), size=path.stat().st_size)

    def matches(self, path: Path, *, verify: bool = False) -> bool:
        """Return whether a file is there with this size and, with *verify*, this content."""
        try:
            same = path.stat().st_size == self.size
        except (FileNotFoundError, NotADirectoryError):
            return False
        return same and (not verify or sha256_of(path) == self.sha256)


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What is known of a written shard: ``markers/<shard_id>.json``.

    Attributes:
        shard_id: The shard.
        fingerprint: Fingerprint of the run it belongs to.
        tiles: Number of its tiles, ``ok + empty + failed``.
        ok: Tiles with an embedding.
        empty: Tiles without a single observation.
        failed: Tiles that could not be produced.
        empty_tiles: Ids of the empty tiles.
        failed_tiles: Ids of the failed tiles.
        observations_mean: Mean clear observations per pixel of every tile, in plan order, rounded
            to two decimals; None where the tile failed.
        scenes: Distinct scenes used, sorted.
        outputs: Its files, by path relative to the run directory.
        started_at: Start of the shard's first batch, ISO 8601, UTC.
        finished_at: When its outputs were complete, ISO 8601, UTC.
        compute_seconds: From the end of the process's shard before (or its start) to the last
            batch of this, waiting for data included.
        write_seconds: Time to write the outputs.
        session: Id of the launch that wrote it.
        batches: Shape of every batch of images, in order: last bits depend on it.
        threads: CPU threads of a process, likewise.
        fetch: What the process's fetching has cost since its marker before (requests, retries,
            splits, bytes, seconds, seconds_waiting); the sum over a run's markers is the run's.
    """

    shard_id: str
    fingerprint: str
    tiles: int
    ok: int
    empty: int
    failed: int
    empty_tiles: tuple[str, ...]
    failed_tiles: tuple[str, ...]
    observations_mean: tuple[float | None, ...]
    scenes: tuple[str, ...]
    outputs: dict[str, Output]
    started_at: str
    finished_at: str
    compute_seconds: float
    write_seconds: float
    session: str = ""
    batches: tuple[tuple[int, ...], ...] = ()
    threads: int = 0
    fetch: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the marker; the outputs must be on the disk already."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False)
        write_bytes(path, text.encode() + b"\n")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a marker.

        Returns:
            The marker, or None where there is none. A damaged one counts as none, with a warning:
            the shard is then made again.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            known = {one.name for one in fields(cls)}
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in content.items()
                if name in known
            }
            values["outputs"] = {
                name: Output(**output) for name, output in content["outputs"].items()
            }
            values["batches"] = tuple(map(tuple, content.get("batches", ())))
            return cls(**values)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("Marker %s is damaged (%s): its shard is made again.", path, error)
            return None


def write_failures(path: Path, failures: dict[str, str]) -> None:
    """Write the failed tiles of a shard, or remove the file where there are none any more.

    Args:
        path: ``failures/<shard_id>.jsonl``.
        failures: Error by tile id.
    """
    if failures:
        lines = [json.dumps({"tile_id": tile, "error": text}) for tile, text in failures.items()]
        write_bytes(path, ("\n".join(lines) + "\n").encode())
    else:
        path.unlink(missing_ok=True)
