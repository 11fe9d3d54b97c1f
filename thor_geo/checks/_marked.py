"""Checking one shard: its marker, the files it names, and its list of failed tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from thor_geo.checks._maps import MapsExpected, Part, check_maps
from thor_geo.checks._place_maps import PlaceMapsExpected, check_place_maps
from thor_geo.checks._rows import Rows, RowsExpected, check_rows
from thor_geo.checks._seams import SeamReader, Seams
from thor_geo.checks.faults import Fault, FaultKind, first_few
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.failures import Failure
from thor_geo.runs.markers import Marker
from thor_geo.runs.pooled import row_ids
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows
from thor_geo.storage import Location
from thor_geo.storage.files import below, sha256_of, size_of
from thor_geo.support.jsontext import parse_json
from thor_geo.support.words import counted

# How often a shard is checked at most, if it is rewritten while it is being checked.
_LOOKS = 3
# The only fault of a file that a continued run does not look for.
_CONTENT = "its content is not what the marker says"
# Characters of a reason that are shown.
_LONGEST = 600


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What all shards of a run have in common; picklable.

    Attributes:
        path: The run directory.
        fingerprint: Of the run.
        rows: What its pooled files must be; None if it has none.
        grid: Whether it has maps.
        maps: What they must be; None if it has none, or the store's metadata is damaged.
        windows: Time windows of the composites.
    """

    path: Location
    fingerprint: str
    rows: RowsExpected | None
    grid: bool
    maps: MapsExpected | PlaceMapsExpected | None
    windows: Windows


@dataclass(kw_only=True)
class Checked:
    """The results of checking some shards.

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
        """Add the results of other shards."""
        self.shards += other.shards
        self.ok, self.empty = self.ok + other.ok, self.empty + other.empty
        self.failed += other.failed
        self.faults += other.faults
        self.seams += other.seams


def check_shard(
    expected: Expected, plan: Plan, shard: Shard, reader: SeamReader | None = None
) -> Checked:
    """Check everything about one shard, even while a job is writing it.

    Args:
        expected: What all shards have in common.
        plan: A plan that holds the shard.
        shard: The shard.
        reader: Measures the seams of maps; None for a new one, which knows no neighbouring shards.
    """
    run = RunDirectory(expected.path)
    reader = reader or seam_reader(expected)
    for _ in range(_LOOKS):
        before = _bytes(run.marker_path(shard))
        checked = _ShardCheck(run, expected, plan, shard).look(before, reader)
        if not checked.faults or _bytes(run.marker_path(shard)) == before:
            break
    marker = below(run.marker_path(shard), run.path)
    checked.faults = [replace(fault, marker=marker) for fault in checked.faults]
    return checked


def seam_reader(expected: Expected) -> SeamReader:
    """Return a reader for the seams of a run's maps; chips of places have none."""
    return SeamReader(expected.maps.cells if isinstance(expected.maps, MapsExpected) else 1)


def _bytes(path: Location) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


class _ShardCheck:
    """One look at a shard; the files may change meanwhile."""

    def __init__(self, run: RunDirectory, expected: Expected, plan: Plan, shard: Shard) -> None:
        self._run, self._expected, self._plan, self._shard = run, expected, plan, shard
        self._marker_path = run.marker_path(shard)
        self._ids = row_ids(plan, shard, expected.windows)
        self._checked = Checked()

    def look(self, content: bytes | None, reader: SeamReader) -> Checked:
        """Check the shard, given the bytes of its marker, None where it cannot be read."""
        marker = self._read_marker(content)
        files = None if marker is None else self._named_files(marker)
        if marker is None or files is None:
            return self._checked
        rows, parts = self._check_files(marker, files)
        self._check_maps(marker, parts, reader)
        if rows is not None:
            for reason in _disagreements(marker, rows, self._ids):
                self._fault("marker", self._marker_path, reason)
        self._check_failures(marker, rows)
        return self._checked

    def _fault(
        self, kind: FaultKind, file: Location, reason: str, *, noticed: bool = False
    ) -> None:
        # A damaged file may contain names of any length.
        shown = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} ..."
        self._checked.faults.append(
            Fault(kind=kind, file=self._name(file), reason=shown, noticed=noticed)
        )

    def _name(self, file: Location) -> str:
        return below(file, self._run.path)

    def _read_marker(self, content: bytes | None) -> Marker | None:
        """Return the shard's marker if it is sound."""
        path = self._marker_path
        if content is None:
            missing = "cannot be read" if path.exists() else "missing"
            unit = "place" if isinstance(self._plan, PlacePlan) else "tile"
            left = counted(len(self._shard), unit)
            self._fault("unfinished", path, f"{missing}: {left} not done")
            return None
        try:
            marker = Marker.read(path)
        except RunDirectoryError as error:
            self._fault("marker", path, str(error))
            return None
        if marker is None:
            self._fault("marker", path, "cannot be read as a marker", noticed=True)
            return None
        checked = self._checked
        checked.shards, checked.ok = 1, marker.ok
        checked.empty, checked.failed = marker.empty, marker.failed
        if marker.fingerprint != self._expected.fingerprint:
            reason = "belongs to another run (its fingerprint differs)"
            self._fault("marker", path, reason, noticed=True)
            return None
        problems = list(_marker_problems(marker, self._shard, self._ids))
        for reason in problems:
            self._fault("marker", path, reason)
        return None if problems else marker

    def _named_files(self, marker: Marker) -> dict[Location, Part | None] | None:
        """Return the shard's files and their parts of maps; None if the marker names others."""
        expected, maps = self._expected, self._expected.maps
        files: dict[Location, Part | None] = {}
        if expected.rows is not None:
            files[self._run.pooled_path(self._shard)] = None
        known = maps is not None and maps.holds(self._shard)
        if maps is not None and known:
            files |= {maps.file_path(self._shard, part): part for part in maps.parts}
        names = {self._name(file) for file in files}
        if expected.grid and not known:  # the store's own fault is reported elsewhere
            stores = tuple(f"{store.name}/" for store in (self._run.grid, self._run.place_store))
            names |= {name for name in marker.outputs if name.startswith(stores)}
        if set(marker.outputs) == names:
            return files
        others = first_few(sorted(set(marker.outputs) ^ names))
        self._fault("marker", self._marker_path, f"names other files than the run writes: {others}")
        return None

    def _check_files(
        self, marker: Marker, files: dict[Location, Part | None]
    ) -> tuple[Rows | None, list[Part]]:
        """Return rows, and parts of maps, from files whose content is what it should be."""
        rows: Rows | None = None
        parts: list[Part] = []
        for file, part in files.items():
            output = marker.outputs[self._name(file)]
            problem = _content_problem(file, output.size, output.sha256)
            if problem:
                self._fault("file", file, problem, noticed=not problem.startswith(_CONTENT))
            elif part is not None:
                parts.append(part)
            elif self._expected.rows is not None:
                rows, problems = check_rows(file, self._plan, self._shard, self._expected.rows)
                for kind, reason in problems:
                    self._fault(kind, file, reason)
        return rows, parts

    def _check_maps(self, marker: Marker, parts: list[Part], reader: SeamReader) -> None:
        maps = self._expected.maps
        if maps is None:
            return
        without = {*marker.empty_tiles, *marker.failed_tiles}
        absent = np.array([row in without for row in self._ids]).reshape(len(self._shard), -1)
        if isinstance(maps, PlaceMapsExpected):
            for part, kind, reason in check_place_maps(maps, self._shard, absent[:, 0], parts):
                self._fault(kind, maps.file_path(self._shard, part), reason)
            return
        for k, time in enumerate(self._expected.windows.times):
            chosen = [part for part in parts if part.time == time]
            if not chosen:
                continue
            problems, seams = check_maps(
                maps, self._plan, self._shard, absent[:, k], chosen, reader
            )
            self._checked.seams += seams
            for part, kind, reason in problems:
                self._fault(kind, maps.file_path(self._shard, part), reason)

    def _check_failures(self, marker: Marker, rows: Rows | None) -> None:
        """Compare failures/<shard_id>.jsonl with marker and rows, and report the failed tiles."""
        path = self._run.failures_path(self._shard)
        content = _bytes(path)
        if content is None and not marker.failed:
            return
        try:
            records = [parse_json(line) for line in (content or b"").splitlines()]
            listed = {entry.name: entry.error for entry in map(Failure.from_record, records)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._fault("failures", path, f"cannot be read ({error!r:.200})")
            return
        errors = {} if rows is None else dict(zip(self._ids, rows.error, strict=True))
        if content is None:
            tiles = counted(marker.failed, "failed tile")
            self._fault("failures", path, f"missing: the marker names {tiles}")
        elif set(listed) != set(marker.failed_tiles) or len(records) != marker.failed:
            tiles = counted(len(records), "tile")
            reason = f"it lists {tiles}, not the {marker.failed} that the marker names"
            self._fault("failures", path, reason)
        elif rows is not None and any(errors[tile] != error for tile, error in listed.items()):
            self._fault("failures", path, "its errors are not those of the rows")
        else:
            self._checked.faults += [
                Fault(kind="failed", file=self._name(path), reason=f"{tile}: {error}")
                for tile, error in listed.items()
            ]


def _content_problem(path: Location, size: int, sha256: str) -> str | None:
    """Return how a file differs from its marker, None if it does not."""
    try:
        actual = size_of(path)
        if actual is None:
            return "missing"
        if actual != size:
            return f"has {actual:,} bytes, the marker says {size:,}"
        if sha256_of(path) != sha256:
            return f"{_CONTENT} (sha256 differs)"
    except FileNotFoundError:
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
    for status, named in (("empty", marker.empty_tiles), ("failed", marker.failed_tiles)):
        if len(set(named)) < len(named):
            yield f"names {status} tiles twice"
        if other := sorted(set(named) - set(ids)):
            yield f"names {status} tiles that are not the shard's: {first_few(other)}"


def _disagreements(marker: Marker, rows: Rows, ids: list[str]) -> Iterator[str]:
    for status, named in (("empty", marker.empty_tiles), ("failed", marker.failed_tiles)):
        tiles = {tile for tile, word in zip(ids, rows.status, strict=True) if word == status}
        if tiles != set(named):
            counts = f"{len(named):,} and {len(tiles):,}"
            yield f"the {status} tiles it names are not those of the rows ({counts})"
    # A failed tile may have had scenes, but its row names none.
    named_scenes = set(marker.scenes)
    if not (rows.scenes <= named_scenes and (marker.failed or rows.scenes == named_scenes)):
        counts = f"{len(named_scenes):,} and {len(rows.scenes):,}"
        yield f"the scenes it names are not those of the rows ({counts})"
