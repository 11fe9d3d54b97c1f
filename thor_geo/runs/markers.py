"""Markers: a shard is done when its marker is there, and not before."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

from thor_geo.errors import RunDirectoryError
from thor_geo.runs.failures import Failure
from thor_geo.storage import Location
from thor_geo.storage.files import sha256_of, size_of, write_bytes
from thor_geo.support.files import file_sha256
from thor_geo.support.jsontext import indented_json, parse_json

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Limits of file systems, bytes.
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
# Characters of a reason that a warning shows.
_LONGEST_REASON = 200


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One file of a shard.

    Attributes:
        sha256: Checksum of its content, hexadecimal.
        size: Bytes.
    """

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Describe a file by its content."""
        return cls(sha256=hashlib.sha256(content).hexdigest(), size=len(content))

    @classmethod
    def from_path(cls, path: Path) -> Self:
        """Describe a file of this machine, however large."""
        return cls(sha256=file_sha256(path), size=path.stat().st_size)

    def matches(self, path: Location, *, verify: bool = False) -> bool:
        """Return whether a file exists with this size and, with *verify*, this content."""
        return size_of(path) == self.size and (not verify or sha256_of(path) == self.sha256)


@dataclass(frozen=True, kw_only=True)
class Marker:
    """The record of a written shard: ``markers/<shard_id>.json``.

    With a list of time windows a tile counts once for each window, and is named by the id of its
    row (see `row_ids`).

    Attributes:
        shard_id: The shard.
        fingerprint: Fingerprint of the run it belongs to.
        tiles: Number of its tiles, ``ok + empty + failed``.
        ok: Tiles with an embedding.
        empty: Tiles without a single observation.
        failed: Tiles that could not be produced.
        empty_tiles: Ids of the empty tiles.
        failed_tiles: Ids of the failed tiles.
        observations_mean: Mean clear observations per pixel of every tile, in plan order (each
            tile's windows one after the other), rounded to two decimals; None where it failed.
        scenes: Distinct scenes used, sorted.
        outputs: Its files, by path relative to the run directory.
        started_at: Start of the shard's first batch, ISO 8601, UTC.
        finished_at: When its outputs were complete, ISO 8601, UTC.
        compute_seconds: From the end of the process's previous shard (or its start) to the last
            batch of this one, including waiting for data.
        write_seconds: Time to write the outputs.
        session: Id of the launch that wrote it.
        batches: Shape of every batch of images, in order: the last bits depend on it.
        threads: CPU threads of a process: the last bits depend on them, too.
        fetch: Cost of the process's fetching since its previous marker (requests, retries, splits,
            bytes, seconds, seconds_waiting). The sum over markers is the cost of the shards as they
            are, without anything fetched by `thor-geo fetch` or by a process that was killed before
            its next marker.
        left_out: Why each scene that passes the filters and could not be used is missing from its
            composites, or from some of them, by the scene's id.
        store: What the process has asked of object stores since the marker that it wrote before, by
            the fields of `StoreCounts`; not in the file of a run in a folder. Shards are put side
            by side: what means something is the sum over markers.
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
    outputs: dict[str, ShardFile]
    started_at: str
    finished_at: str
    compute_seconds: float
    write_seconds: float
    session: str = ""
    batches: tuple[tuple[int, ...], ...] = ()
    threads: int = 0
    fetch: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    store: dict[str, float] = field(default_factory=dict)

    def write(self, path: Location) -> None:
        """Write the marker; the outputs must already be on the disk."""
        content = asdict(self)
        if not self.store:
            del content["store"]
        write_bytes(path, indented_json(content))

    @classmethod
    def read(cls, path: Location) -> Self | None:
        """Read a marker.

        Returns:
            The marker, or None without one. A damaged one counts as missing, with a warning: the
            shard is then computed again. The values returned have the stated types, the counts
            agree, and the outputs lie inside the run directory.

        Raises:
            RunDirectoryError: If something with this name exists and cannot be read.
        """
        try:
            content = parse_json(path.read_bytes())
            known = {attribute.name for attribute in fields(cls)}
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in content.items()
                if name in known
            }
            values["outputs"] = {
                name: ShardFile(**output) for name, output in content["outputs"].items()
            }
            values["batches"] = tuple(map(tuple, content.get("batches", ())))
            marker = cls(**values)
            marker._check()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunDirectoryError(
                f"`{path}` cannot be read ({error.strerror}). Give yourself permission to read the "
                "run directory, or remove the file or folder with the name of the marker."
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error)[:_LONGEST_REASON]
            _log.warning(
                "Marker %s is damaged (%s): its shard is not done; `predict` computes it again.",
                path,
                reason,
            )
            return None
        return marker

    def _check(self) -> None:
        """Refuse values that `write` cannot have written.

        Raises:
            ValueError: If a value has another type, counts disagree, or an output lies elsewhere.
        """
        for attribute in fields(self):
            if not _KINDS[str(attribute.type)](getattr(self, attribute.name)):
                raise ValueError(f"{attribute.name} is not of type {attribute.type}")
        if self.tiles != self.ok + self.empty + self.failed:
            raise ValueError("its counts of tiles disagree")
        if self.tiles != len(self.observations_mean) or (
            (self.empty, self.failed) != (len(self.empty_tiles), len(self.failed_tiles))
        ):
            raise ValueError("its counts and lists of tiles disagree")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: object) -> bool:
    # Sums over many markers stay finite.
    return (isinstance(value, float) and abs(value) < 2**63) or _is_int(value)


def _is_inside(name: object) -> bool:
    """Return whether a text names a file below a directory, and nowhere else."""
    if not isinstance(name, str) or not name or "\\" in name or not name.isprintable():
        return False
    path = PurePosixPath(name)
    # `as_posix` drops `.` and doubled slashes: `write` never writes a name that it changes.
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and path.as_posix() == name
        and (
            len(name.encode()) < _LONGEST_PATH
            and all(len(part.encode()) <= _LONGEST_NAME for part in path.parts)
        )
    )


def _is_output(value: object) -> bool:
    return (
        isinstance(value, ShardFile)
        and _is_int(value.size)
        and isinstance(value.sha256, str)
        and _SHA256.fullmatch(value.sha256) is not None
    )


def _are(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(kind, value))


def _maps(key: Callable[[Any], bool], kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Mapping)
        and all(key(name) and kind(entry) for name, entry in value.items())
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


# The check of a value from JSON, by the annotation of the field.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "int": _is_int,
    "float": _is_number,
    "tuple[str, ...]": _are(_is_text),
    "tuple[float | None, ...]": _are(lambda value: value is None or _is_number(value)),
    "tuple[tuple[int, ...], ...]": _are(_are(_is_int)),
    "dict[str, ShardFile]": _maps(_is_inside, _is_output),
    "dict[str, float]": _maps(_is_text, _is_number),
    "dict[str, str]": _maps(_is_text, _is_text),
}


def failures_bytes(failures: Sequence[Failure]) -> bytes | None:
    """Return the content of ``failures/<shard_id>.jsonl``, None where there is to be no such file.

    Args:
        failures: In the order of the rows.
    """
    if not failures:
        return None
    lines = [json.dumps(failure.as_record()) for failure in failures]
    return ("\n".join(lines) + "\n").encode()
