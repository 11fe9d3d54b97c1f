"""Checking one shard: its marker, the files it names, and its list of failed tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from thor_geo.checks._maps import MapsExpected, Part, check_maps
from thor_geo.checks._rows import Rows, RowsExpected, check_rows
from thor_geo.checks._seams import SeamReader, Seams
from thor_geo.checks.faults import Fault, FaultKind, first_few
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.failures import Failure
from thor_geo.runs.markers import Marker
from thor_geo.runs.pooled import row_ids
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows
from thor_geo.support.files import file_sha256
from thor_geo.support.jsontext import parse_json
from thor_geo.support.words import counted

# A shard that is rewritten while it is looked at is looked at again, so many times at most.
_LOOKS = 3
# The one fault of a file that a run which is continued does not look for.
_CONTENT = "its content is not what the marker says"
# Characters of a reason that are told.
_LONGEST = 600


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What all shards of a run have in common; picklable.

    Attributes:
        path: The run directory.
        fingerprint: Of the run.
        rows: What its pooled files are; None where it has none.
        grid: Whether it has maps.
        maps: What they are; None where it has none, or the store's metadata is damaged.
        windows: Time windows of the composites.
    """

    path: Path
    fingerprint: str
    rows: RowsExpected | None
    grid: bool
    maps: MapsExpected | None
    windows: Windows


@dataclass(kw_only=True)
class Checked:
    """What was found in some shards.

    Attributes:
        shards: Shards with a marker.
        ok: Tiles with an embedding, as markers say.
        empty: Tiles without any observation.
        failed: Tiles that could not be produced.
        faults: What is wrong.
        seams: Jumps between neighbouring cells of maps.
    """

    shards: int = 0
    ok: int = 0
    empty: int = 0
    failed: int = 0
    faults: list[Fault] = field(default_factory=list)
    seams: Seams = field(default_factory=Seams)

    def add(self, other: Checked) -> None:
        """Add what was found in other shards."""
        self.shards += other.shards
        self.ok, self.empty = self.ok + other.ok, self.empty + other.empty
        self.failed += other.failed
        self.faults += other.faults
        self.seams += other.seams


def check_shard(
    expected: Expected, plan: Plan, shard: Shard, reader: SeamReader | None = None
) -> Checked:
    """Check everything about one shard; a job may be writing it.

    Args:
        expected: What all shards have in common.
        plan: A plan that holds the shard.
        shard: The shard.
        reader: Measures the seams of maps; None for a new one, which knows no shard beside it.
    """
    run = RunDirectory(expected.path)
    reader = reader or seam_reader(expected)
    for _ in range(_LOOKS):
        before = _bytes(run.marker_path(shard))
        checked = _look(run, expected, plan, shard, before, reader)
        if not checked.faults or _bytes(run.marker_path(shard)) == before:
            break
    marker = run.marker_path(shard).relative_to(run.path).as_posix()
    checked.faults = [replace(fault, marker=marker) for fault in checked.faults]
    return checked


def seam_reader(expected: Expected) -> SeamReader:
    """Return a reader for the seams of a run's maps; of a run without maps it reads nothing."""
    return SeamReader(1 if expected.maps is None else expected.maps.cells)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _look(
    run: RunDirectory,
    expected: Expected,
    plan: Plan,
    shard: Shard,
    content: bytes | None,
    reader: SeamReader,
) -> Checked:
    checked = Checked()

    def fault(kind: FaultKind, file: Path, reason: str, *, noticed: bool = False) -> None:
        name = file.relative_to(run.path).as_posix()
        # A damaged file may name anything, at any length.
        told = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} ..."
        checked.faults.append(Fault(kind=kind, file=name, reason=told, noticed=noticed))

    path = run.marker_path(shard)
    if content is None:
        missing = "cannot be read" if path.exists() else "missing"
        fault("unfinished", path, f"{missing}: {counted(len(shard), 'tile')} not done")
        return checked
    try:
        marker = Marker.read(path)
    except RunDirectoryError as error:
        fault("marker", path, str(error))
        return checked
    if marker is None:
        fault("marker", path, "cannot be read as a marker", noticed=True)
        return checked
    checked.shards, checked.ok = 1, marker.ok
    checked.empty, checked.failed = marker.empty, marker.failed
    if marker.fingerprint != expected.fingerprint:
        reason = "belongs to another run (its fingerprint differs)"
        fault("marker", path, reason, noticed=True)
        return checked
    ids = row_ids(plan, shard, expected.windows)
    for reason in _marker_problems(marker, shard, ids):
        fault("marker", path, reason)
    if checked.faults:
        return checked
    files: dict[Path, Part | None] = {}
    if expected.rows is not None:
        files[run.pooled_path(shard)] = None
    known = expected.maps is not None and shard.epsg in expected.maps.zones
    if expected.maps is not None and known:
        files |= {expected.maps.file_of(shard, part): part for part in expected.maps.parts}
    names = {file.relative_to(run.path).as_posix() for file in files}
    if expected.grid and not known:  # the store's own fault is told elsewhere
        names |= {name for name in marker.outputs if name.startswith(f"{run.grid.name}/")}
    if set(marker.outputs) != names:
        other = sorted(set(marker.outputs) ^ names)
        fault("marker", path, f"names other files than the run writes: {first_few(other)}")
        return checked
    rows: Rows | None = None
    maps: list[Part] = []
    for file, what in files.items():
        output = marker.outputs[file.relative_to(run.path).as_posix()]
        problem = _content_problem(file, output.size, output.sha256)
        if problem:
            fault("file", file, problem, noticed=not problem.startswith(_CONTENT))
        elif what is not None:
            maps.append(what)
        elif expected.rows is not None:
            rows, found = check_rows(file, plan, shard, expected.rows)
            for kind, reason in found:
                fault(kind, file, reason)
    if expected.maps is not None:
        without = {*marker.empty_tiles, *marker.failed_tiles}
        absent = np.array([row in without for row in ids]).reshape(len(shard), -1)
        for k, time in enumerate(expected.windows.times):
            parts = [part for part in maps if part.time == time]
            if not parts:
                continue
            problems, seams = check_maps(expected.maps, plan, shard, absent[:, k], parts, reader)
            checked.seams += seams
            for part, kind, reason in problems:
                fault(kind, expected.maps.file_of(shard, part), reason)
    if rows is not None:
        for reason in _disagreements(marker, rows, ids):
            fault("marker", path, reason)
    _check_failures(run, marker, rows, ids, shard, checked)
    return checked


def _content_problem(path: Path, size: int, sha256: str) -> str | None:
    """Return how a file differs from what its marker says, None where it does not."""
    try:
        found = path.stat().st_size
        if found != size:
            return f"has {found:,} bytes, the marker says {size:,}"
        if file_sha256(path) != sha256:
            return f"{_CONTENT} (sha256 differs)"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return None


def _marker_problems(marker: Marker, shard: Shard, ids: list[str]) -> Iterator[str]:
    if marker.shard_id != shard.id:
        yield f"is that of shard {marker.shard_id[:80]}"
        return
    if marker.tiles != len(ids):
        yield f"counts {counted(marker.tiles, 'tile')}, the plan has {len(ids)}"
    for what, named in (("empty", marker.empty_tiles), ("failed", marker.failed_tiles)):
        if len(set(named)) < len(named):
            yield f"names {what} tiles twice"
        if other := sorted(set(named) - set(ids)):
            yield f"names {what} tiles that are not the shard's: {first_few(other)}"


def _disagreements(marker: Marker, rows: Rows, ids: list[str]) -> Iterator[str]:
    for what, named in (("empty", marker.empty_tiles), ("failed", marker.failed_tiles)):
        found = {tile for tile, word in zip(ids, rows.status, strict=True) if word == what}
        if found != set(named):
            counts = f"{len(named):,} and {len(found):,}"
            yield f"the {what} tiles it names are not those of the rows ({counts})"
    # A failed tile may have seen scenes, and its row names none.
    named_scenes = set(marker.scenes)
    if not (rows.scenes <= named_scenes and (marker.failed or rows.scenes == named_scenes)):
        counts = f"{len(named_scenes):,} and {len(rows.scenes):,}"
        yield f"the scenes it names are not those of the rows ({counts})"


def _check_failures(
    run: RunDirectory,
    marker: Marker,
    rows: Rows | None,
    ids: list[str],
    shard: Shard,
    checked: Checked,
) -> None:
    """Compare failures/<shard_id>.jsonl with marker and rows, and tell the failed tiles."""
    path = run.failures_path(shard)
    name = path.relative_to(run.path).as_posix()
    content = _bytes(path)
    if content is None and not marker.failed:
        return
    try:
        records = [parse_json(line) for line in (content or b"").splitlines()]
        listed = {one.name: one.error for one in map(Failure.from_record, records)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        checked.faults.append(
            Fault(kind="failures", file=name, reason=f"cannot be read ({error!r:.200})")
        )
        return
    told = {} if rows is None else dict(zip(ids, rows.error, strict=True))
    if content is None:
        reason: str | None = f"missing: the marker names {counted(marker.failed, 'failed tile')}"
    elif set(listed) != set(marker.failed_tiles) or len(records) != marker.failed:
        listing = counted(len(records), "tile")
        reason = f"it lists {listing}, not the {marker.failed} that the marker names"
    elif rows is not None and any(told[tile] != error for tile, error in listed.items()):
        reason = "its errors are not those of the rows"
    else:
        reason = None
    if reason is not None:
        checked.faults.append(Fault(kind="failures", file=name, reason=reason))
        return
    checked.faults += [
        Fault(kind="failed", file=name, reason=f"{tile}: {error}") for tile, error in listed.items()
    ]
