"""Files of a run directory that belong to no shard of its plan.

Only this module lists folders: a file that should not exist cannot be looked up by name.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from thor_geo.checks._maps import MapsExpected
from thor_geo.checks._place_maps import PlaceMapsExpected
from thor_geo.checks.faults import Fault
from thor_geo.runs.grid_layout import ARRAY
from thor_geo.runs.lock import is_locked
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_layout import shard_number
from thor_geo.storage import StorePath
from thor_geo.storage.files import below, files_below, modified, names_in, size_of

# Younger files may be those of a running job, seconds.
_OLD_S = 3600.0


@dataclass(kw_only=True)
class Temporaries:
    """Temporary files of running jobs, or left over from processes that were killed.

    They begin with a dot, so that readers of Parquet and Zarr skip them. Nothing uses them again.

    Attributes:
        paths: The files, relative to the run directory.
        bytes: Their total size.
    """

    paths: list[str] = field(default_factory=list)
    bytes: int = 0


def find_strays(
    opened: OpenedRun, maps: MapsExpected | PlaceMapsExpected | None, into: Temporaries
) -> Iterator[Fault]:
    """Yield the files in the run's own folders that belong to no shard.

    Args:
        opened: The run.
        maps: What its maps must be; None leaves the Zarr store out.
        into: Collects the temporary files, which are not faults.
    """
    run = opened.run
    if isinstance(run.path, StorePath) and run.path.address.read_only:
        return  # a web server lists nothing
    ids = {shard.id for shard in opened.plan.shards}
    places = [(run.markers.name, ".json"), (run.failures.name, ".jsonl")]
    places += [(run.pooled.name, ".parquet")]
    _temporaries(opened, "", into)
    for path in files_below(run.ranks):
        _collect(opened, below(path, run.path), into)
    top = set(names_in(run.path))
    for folder, suffix in places:
        for name in _files(opened, folder, into):
            if folder == run.pooled.name and not opened.pooled:
                yield _stray(f"{folder}/{name}", "the run writes no vectors")
            elif folder == run.pooled.name and name == run.skipped.name:
                if not (opened.table and opened.table[1]):
                    yield _stray(f"{folder}/{name}", "no row of a table was skipped")
            elif not (name.endswith(suffix) and name.removesuffix(suffix) in ids):
                yield _stray(f"{folder}/{name}", "belongs to no shard of the plan")
    for store, wanted in (
        (run.grid, opened.grid and not opened.places),
        (run.place_store, opened.grid and opened.places),
    ):
        if not wanted and store.name in top:
            yield _stray(store.name, "the run writes no maps" + (" of this kind" * opened.grid))
    if isinstance(maps, MapsExpected):
        yield from _stray_maps(opened, maps, into)
    elif maps is not None:
        yield from _stray_places(opened, maps, into)


def _stray_maps(opened: OpenedRun, maps: MapsExpected, into: Temporaries) -> Iterator[Fault]:
    planned = {epsg: set[tuple[str, str]]() for epsg in maps.zones}
    for shard in opened.plan.shards:
        if shard.epsg in planned:
            place = maps.zones[shard.epsg].shard_position(shard)
            planned[shard.epsg].add((str(place[0]), str(place[1])))
    store = opened.run.grid.name
    for (epsg, zone), part in product(maps.zones.items(), maps.parts):
        first = "" if part.time is None else f"/{part.time}"
        band = "/0" if part.name == ARRAY else ""
        top = f"{store}/{zone.name}/{part.name}/c{first}{band}"
        for row in names_in(opened.run.path / top):
            for col in _files(opened, f"{top}/{row}", into):
                if (row, col) not in planned[epsg]:
                    yield _stray(f"{top}/{row}/{col}", "belongs to no shard of the plan")


def _stray_places(opened: OpenedRun, maps: PlaceMapsExpected, into: Temporaries) -> Iterator[Fault]:
    numbers = {str(shard_number(shard)) for shard in opened.plan.shards}
    for part in maps.parts:
        top = f"{maps.store.name}/{part.name}/c"
        below = "/0/0" if part.name == ARRAY else "/0"
        for number in names_in(opened.run.path / top):
            for name in _files(opened, f"{top}/{number}{below}", into):
                if number not in numbers or name != "0":
                    yield _stray(f"{top}/{number}{below}/{name}", "belongs to no shard of the plan")


def _stray(name: str, reason: str) -> Fault:
    return Fault(kind="stray", file=name, reason=reason)


def _files(opened: OpenedRun, folder: str, into: Temporaries) -> Iterator[str]:
    """Yield the names in a folder except temporary files."""
    for name in names_in(opened.run.path / folder):
        if not _temporary(opened, folder, name, into):
            yield name


def _temporaries(opened: OpenedRun, folder: str, into: Temporaries) -> None:
    for _ in _files(opened, folder, into):
        pass


def _temporary(opened: OpenedRun, folder: str, name: str, into: Temporaries) -> bool:
    """Return whether a name is that of a temporary file (see `temporary_name`), and collect it."""
    if not (name.startswith(".") and name.endswith(".tmp")):
        return False
    _collect(opened, f"{folder}/{name}".lstrip("/"), into)
    return True


def _collect(opened: OpenedRun, path: str, into: Temporaries) -> None:
    size = size_of(opened.run.path / path)
    if size is not None:  # else renamed meanwhile by a running job
        into.paths.append(path)
        into.bytes += size


def remove_temporaries(opened: OpenedRun, found: Temporaries) -> list[str]:
    """Remove temporary files that nobody can be writing any more; return their paths.

    Those of the last hour stay: a job may be writing them. In a folder all stay while a job holds
    the run's lock.

    Args:
        opened: The run.
        found: From `find_strays`.

    Raises:
        OSError: If one cannot be removed.
        StoreError: If a store refuses to remove one.
    """
    root = opened.run.path
    if is_locked(root):
        return []
    removed = []
    for name in found.paths:
        written = modified(root / name)
        if written is None or time.time() - written < _OLD_S:
            continue
        if isinstance(root, Path) and (root / name).is_dir():
            shutil.rmtree(root / name)
        else:
            (root / name).unlink(missing_ok=True)
        removed.append(name)
    return removed
