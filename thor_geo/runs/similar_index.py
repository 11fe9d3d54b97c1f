"""The index of a run's vectors: one folder for each kind of them, below ``index/``.

``rows.bin`` has the vectors once more, as the run stores them (int8 without scales, which do not
turn a vector), in blocks of one list each; a list holds vectors that are near each other.
``lists.npz`` says where the blocks lie and which vectors a list is for, and ``index.json``, what
the index was made of. The folder gets its name when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.runs.lock import index_lock
from thor_geo.runs.markers import ShardFile
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import read_markers
from thor_geo.runs.rundir import RunDirectory
from thor_geo.support.arrays import Int64Array
from thor_geo.support.files import sync, temporary_path
from thor_geo.support.jsontext import indented_json, parse_json

#: What has an index: tiles, cells of maps, chips of places, and the cells that hold places.
IndexUnit = Literal["tiles", "cells", "chips", "centres"]
#: Files of an index.
ROWS, LISTS, ABOUT = "rows.bin", "lists.npz", "index.json"
#: Version of these files' layout.
LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class IndexAbout:
    """What an index holds, and of what it was made: the content of ``index.json``.

    Attributes:
        layout: `LAYOUT`.
        unit: What the vectors are of.
        time: Index of the time window; None for a run without a list of windows.
        dtype: Type of a vector's elements.
        dimension: Number of them.
        rows: Number of vectors.
        lists: Number of lists.
        fingerprint: Fingerprint of the run.
        digest: `vectors_digest` when the index was made.
        files: Size and checksum of the other files.
        markers: `markers_state` when the index was made: while it is the same, the digest is.
    """

    layout: int
    unit: IndexUnit
    time: int | None
    dtype: str
    dimension: int
    rows: int
    lists: int
    fingerprint: str
    digest: str
    files: dict[str, ShardFile]
    markers: str = ""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read what an index says of itself; None if there is no index.

        Args:
            path: Folder of the index.

        Raises:
            RunDirectoryError: If it is damaged, or of another layout.
        """
        try:
            content: dict[str, Any] = parse_json((path / ABOUT).read_bytes())
            if content["layout"] != LAYOUT:
                raise ValueError(f"layout {content['layout']!r:.20}, this version reads {LAYOUT}")
            content["files"] = {name: ShardFile(**file) for name, file in content["files"].items()}
            about = cls(**content)
            for name, file in about.files.items():
                if not file.matches(path / name):
                    raise ValueError(f"{name} is missing or not complete")
        except (FileNotFoundError, NotADirectoryError) as error:
            if not path.exists():
                return None
            raise damaged_index(path, error) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise damaged_index(path, error) from error
        return about

    def write(self, folder: Path) -> None:
        """Write ``index.json``; the other files must already be there."""
        (folder / ABOUT).write_bytes(indented_json(asdict(self)))


def row_type(dtype: str, dimension: int) -> np.dtype[np.void]:
    """Return the type of a row of `ROWS`: its number, its place, and its vector.

    Numbers follow the order in which the run is read. A place is an index in the plan or, of a
    cell, what `pack_cells` makes of it.

    Args:
        dtype: Type of the vector's elements.
        dimension: Number of them.
    """
    element = np.dtype(dtype).newbyteorder("<")
    return np.dtype([("number", "<i8"), ("place", "<i8"), ("vector", element, (dimension,))])


def pack_cells(epsg: int, rows: Int64Array | np.int64, cols: Int64Array | np.int64) -> Int64Array:
    """Return cells as single numbers: EPSG code, row and column of 16, 24 and 24 bits.

    A map of 2^24 cells of 10 m would reach four times around the Earth.

    Args:
        epsg: EPSG code of their zone.
        rows: Rows in its map.
        cols: Columns.
    """
    packed: Int64Array = (np.int64(epsg) << np.int64(48)) + (rows << np.int64(24)) + cols
    return packed


def unpack_cells(packed: Int64Array) -> Int64Array:
    """Return EPSG code, row and column of cells, (n, 3)."""
    mask = np.int64(2**24 - 1)
    return np.stack([packed >> 48, packed >> 24 & mask, packed & mask], axis=1)


def index_folder(run: RunDirectory) -> Path:
    """Return the folder of a run's indexes.

    Args:
        run: The run directory.

    Raises:
        ConfigError: If it lies in a store: an index is read in many small pieces.
    """
    if isinstance(run.path, Path):
        return run.path / run.index.name
    raise ConfigError(
        "dir",
        str(run.path),
        "an index is read in many small pieces, which a store answers too slowly",
        "Copy the run to a disk, or search without an index (--exact).",
    )


def index_path(run: RunDirectory, unit: IndexUnit, time: int | None) -> Path:
    """Return the folder of an index.

    Args:
        run: The run directory.
        unit: What it is of.
        time: Index of the time window; None for a run without a list of windows.
    """
    return index_folder(run) / (unit if time is None else f"{unit}_{time}")


def vectors_digest(opened: OpenedRun) -> str:
    """Return a checksum of all vectors and maps of a run, as its markers state them.

    Args:
        opened: The run.

    Raises:
        RunDirectoryError: If a marker cannot be read.
    """
    digest = hashlib.sha256(opened.fingerprint.encode())
    for shard, marker in read_markers(opened.run, opened.plan, range(len(opened.plan.shards))):
        digest.update(f"\n{shard.id}".encode())
        if marker is not None and opened.fits(marker, shard):
            for name in sorted(marker.outputs):
                digest.update(f" {name} {marker.outputs[name].sha256}".encode())
    return digest.hexdigest()


def markers_state(opened: OpenedRun) -> str:
    """Return a checksum of names, sizes and times of a run's markers, without reading them.

    Of 150,000 markers that takes half a second, and `vectors_digest` minutes.

    Args:
        opened: The run.

    Raises:
        RunDirectoryError: If the folder of markers cannot be listed.
    """
    try:
        with os.scandir(index_folder(opened.run).parent / opened.run.markers.name) as entries:
            found = sorted((entry.name, entry.stat()) for entry in entries)
    except OSError as error:
        raise RunDirectoryError(
            f"`{opened.run.markers}` cannot be listed ({error.strerror or error}). Give yourself "
            "permission to read the run directory."
        ) from error
    digest = hashlib.sha256()
    for name, state in found:
        digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def index_command(opened: OpenedRun, unit: IndexUnit, time: int | None) -> str:
    """Return the command that builds an index.

    Args:
        opened: The run.
        unit: What it is of.
        time: Index of the time window.
    """
    default = unit == ("chips" if opened.places else "tiles")
    words = f"thor-geo index {opened.run.path}" + ("" if default else f" --on {unit}")
    return words if time is None else f"{words} --window {time}"


def current_index(
    opened: OpenedRun, unit: IndexUnit, time: int | None
) -> tuple[Path, IndexAbout] | None:
    """Return an index and what it says of itself; None if there is none.

    Args:
        opened: The run.
        unit: What the index is of.
        time: Index of the time window.

    Raises:
        RunDirectoryError: If it was made of other vectors than the run has now, or is damaged.
    """
    if not isinstance(opened.run.path, Path):
        return None
    path = index_path(opened.run, unit, time)
    about = IndexAbout.read(path)
    if about is None:
        return None
    if (about.fingerprint, about.unit, about.time) != (opened.fingerprint, unit, time):
        raise _outdated(opened, path, unit, time, "is of another run")
    same = about.markers == markers_state(opened) or about.digest == vectors_digest(opened)
    if not same:
        raise _outdated(opened, path, unit, time, "was made before the run's vectors changed")
    return path, about


def _outdated(
    opened: OpenedRun, path: Path, unit: IndexUnit, time: int | None, problem: str
) -> RunDirectoryError:
    return RunDirectoryError(
        f"`{path}` {problem}. Build it again: `{index_command(opened, unit, time)}`; or delete it, "
        "or give --exact: then all vectors are read."
    )


def damaged_index(path: Path, error: Exception) -> RunDirectoryError:
    """Return the error for an index that cannot be read.

    Args:
        path: Its folder.
        error: What is wrong.
    """
    problem = f"no {error}" if isinstance(error, KeyError) else str(error)
    return RunDirectoryError(
        f"`{path}` cannot be read ({problem:.200}). Delete it; `thor-geo index` builds it again."
    )


@contextmanager
def new_index(path: Path) -> Iterator[Path]:
    """Give an empty folder to write an index to; it gets its name when the block succeeds.

    What a killed build left behind is removed first.

    Args:
        path: Folder of the index.

    Yields:
        A folder beside it.

    Raises:
        RunDirectoryError: If another process builds an index of this run, or nothing can be
            written.
    """
    temporary, old = temporary_path(path), temporary_path(path)
    with index_written(path):
        path.parent.mkdir(exist_ok=True)
    with index_lock(path.parent) as ours:
        if not ours:
            raise RunDirectoryError(
                f"`{path.parent}`: another process is building an index there. Wait for it, "
                "or stop it."
            )
        for left in path.parent.glob(".*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            with index_written(path):
                temporary.mkdir()
            # Not in `index_written`: the block reads the run, too.
            yield temporary
            with index_written(path):
                for file in [*temporary.iterdir(), temporary]:
                    sync(file)
                if path.exists():
                    path.rename(old)
                temporary.rename(path)
                sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def index_written(path: Path) -> Iterator[None]:
    """Turn errors of the file system while an index is written into one that names the remedy.

    Args:
        path: Folder of the index, under the name that it gets in the end.

    Raises:
        RunDirectoryError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        needed = ""
        if error.errno is not None and path.parent.exists():
            free = os.statvfs(path.parent)
            needed = f", {free.f_bavail * free.f_frsize / 1e9:.1f} GB are free"
        raise RunDirectoryError(
            f"`{path}` cannot be written ({error.strerror or error}{needed}). An index takes as "
            "much space as the run's vectors: free some, and run the command again."
        ) from error
