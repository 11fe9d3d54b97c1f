"""The run directory: one folder, or prefix of a store, bound to one plan and set of settings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.fingerprint import JSON, compute_fingerprint, json_differences, plain_json
from thor_geo.runs.grid_layout import array_file, array_names
from thor_geo.runs.markers import Marker
from thor_geo.runs.place_layout import place_file
from thor_geo.runs.run_paths import RunPaths
from thor_geo.runs.table_changes import TABLE_KEYS, table_changes
from thor_geo.runs.zone_grid import ZoneGrid, zone_grids
from thor_geo.specs.windows import time_axis
from thor_geo.storage import Location, StoreOptions, StorePath, located
from thor_geo.storage.files import create_once, files_below, readers_of
from thor_geo.storage.probe import check_store
from thor_geo.support.ahead import read_ahead
from thor_geo.support.files import sync, temporary_path
from thor_geo.support.jsontext import canonical_json, indented_json, parse_json

_log = logging.getLogger(__name__)

# Version of the files' layout. 2: plain lists in pooled files, a scale for each cell of int8 maps.
_FORMAT = 2
# Parts of `info` about machines, paths and versions, not about the embeddings.
_NOT_IN_OUTPUTS = frozenset({"config", "packages"})
# Differing settings that a message names; the others are counted.
_NAMED = 8


class _Writes(NamedTuple):
    """The files that a run writes for each shard, and the places of shards in its maps.

    A run of places has no zones: its store holds the shards one after the other.
    """

    pooled: bool
    arrays: tuple[str, ...]
    zones: Mapping[int, ZoneGrid]
    times: tuple[int | None, ...]
    places: bool = False


class RunDirectory(RunPaths):
    """The files of one run.

    Any number of processes may prepare the same directory at the same time: files are created
    once, the first wins, the others compare.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: str | Path | StorePath, options: StoreOptions | None = None) -> None:
        """Initialize a new RunDirectory instance; nothing is read or written yet.

        Args:
            path: The directory, made by `prepare`; or an address such as ``s3://bucket/oslo``.
            options: How the store of an address is reached.

        Raises:
            ConfigError: If it begins as an address does, and is none of a bucket.
        """
        super().__init__(located(path, options))
        self._fingerprint: str | None = None
        self._prepared: tuple[Mapping[str, Any], Plan] | None = None
        self._store_checked = False

    @property
    def has_pooled(self) -> bool:
        """Whether there are vectors; in a store, whether the run writes any."""
        return self._has("pooled", self.pooled)

    @property
    def has_grid(self) -> bool:
        """Whether there are maps of zones; in a store, whether the run writes any."""
        return self._has("grid", self.grid)

    @property
    def has_place_store(self) -> bool:
        """Whether there are maps of places; in a store, whether the run writes any."""
        return self._has("grid", self.place_store)

    def _has(self, output: str, folder: Location) -> bool:
        if isinstance(folder, Path):
            return folder.exists()
        settings = self.document()["settings"]
        places = "places" in settings.get("data", {})
        kind = output != "grid" or places == (folder == self.place_store)
        return bool(settings["output"][output]) and kind

    def check_writable(self) -> None:
        """Make the directory and write a file into it, before any work starts; a store only once.

        Raises:
            RunDirectoryError: If it cannot be made, is not a directory, or cannot be written.
            StoreError: If a store cannot be written, or cannot decide between writers.
        """
        if isinstance(self.path, StorePath):
            if not self._store_checked:
                check_store(self.path)
            self._store_checked = True
            return
        probe = temporary_path(self.path / "probe")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"thor-geo")
            sync(probe)
            probe.unlink()
        except (FileExistsError, NotADirectoryError) as error:
            ancestors = (self.path, *self.path.parents)
            file = next((path for path in ancestors if path.is_file()), self.path)
            raise RunDirectoryError(
                f"`output.dir={str(self.path)!r}`: {file} is a file, not a "
                "directory. Choose another output.dir, or move that file away."
            ) from error
        except OSError as error:
            raise RunDirectoryError(
                f"`output.dir={str(self.path)!r}`: not writable ({error.strerror}). Choose an "
                "output.dir where you may write, with free space."
            ) from error

    def prepare(
        self,
        settings: Mapping[str, JSON],
        info: Mapping[str, JSON],
        plan: Plan,
        *,
        with_plan: bool = True,
    ) -> None:
        """Bind the directory to a run, or check that it belongs to this run.

        Args:
            settings: Everything that changes the numbers, as JSON.
            info: What else a reader should know (versions, weights, statistics), as JSON. It may
                differ: the first run's stays, with a warning.
            plan: The plan.
            with_plan: Whether to write the plan, too.

        Raises:
            RunDirectoryError: If the directory belongs to another run, its run.json cannot be
                read, or it cannot be written.
            ConfigError: If *settings* or *info* is not JSON.
        """
        settings, info = plain_json("settings", settings), plain_json("info", info)
        ours = {
            "format": _FORMAT,
            "fingerprint": compute_fingerprint(settings, plan.digest),
            "settings": settings,
            "info": info,
            "plan": plan.summary(),
        }
        self.check_writable()
        content = indented_json(ours)
        with self.explain_errors("run.json"):
            created = create_once(self.run_json, lambda path: path.write_bytes(content))
        if not created:
            self._compare(ours, self.document())
        self._fingerprint = str(ours["fingerprint"])
        self._prepared = settings, plan
        if with_plan:
            self.write_plan_once(plan)
        if isinstance(self.path, Path):  # a store has no folders
            with self.explain_errors("its folders"):
                for name in (self.markers.name, self.failures.name):
                    (self.path / name).mkdir(exist_ok=True)

    def check_table(self, places: Mapping[str, JSON]) -> None:
        """Refuse a table of places that has changed since the run began, if it has begun.

        `prepare` would, too, but only when weights are loaded and their digest is known.

        Args:
            places: ``data.places`` of the settings.

        Raises:
            RunDirectoryError: If the table has changed, naming how; or run.json cannot be read.
        """
        if not self.run_json.exists():
            return
        theirs = self.document()
        data = {**theirs["settings"].get("data", {}), "places": plain_json("places", places)}
        settings = {**theirs["settings"], "data": data}
        if table_changes(settings, theirs["settings"]):
            self._compare({**theirs, "settings": settings, "fingerprint": ""}, theirs)

    @contextmanager
    def explain_errors(self, target: str) -> Iterator[None]:
        """Turn errors of the file system into one that names the remedy.

        Args:
            target: What is being written, e.g. ``run.json``.

        Raises:
            RunDirectoryError: In place of any OSError.
        """
        try:
            yield
        except OSError as error:
            raise RunDirectoryError(
                f"`output.dir={str(self.path)!r}`: {target} cannot be written "
                f"({error.strerror or error}). Free some space there, or make it writable, and run "
                "the same command again: finished shards are kept."
            ) from error

    def write_plan_once(self, plan: Plan) -> None:
        """Write plan.parquet, unless it exists or another process is writing it.

        Args:
            plan: The plan; one for all land on Earth takes most of a minute.

        Raises:
            RunDirectoryError: If it cannot be written.
        """
        if self.plan_parquet.exists():
            return
        from thor_geo.runs.lock import plan_lock
        from thor_geo.runs.plan_file import write_plan

        if isinstance(self.path, StorePath):  # all compute the same, and the first wins
            create_once(self.plan_parquet, lambda path: write_plan(path, plan))
            return
        with self.explain_errors("plan.parquet"), plan_lock(self.path) as ours:
            if ours:
                create_once(self.plan_parquet, lambda path: write_plan(path, plan))

    def document(self) -> dict[str, Any]:
        """Return the content of run.json.

        Raises:
            RunDirectoryError: If it is missing, cannot be read, or describes a run of another
                layout.
            ConfigError: If the store that holds it cannot be reached with these settings.
        """
        try:
            document = parse_json(self.run_json.read_bytes())
            if not isinstance(document, dict):
                raise ValueError("it is not a JSON object")
            missing = {"fingerprint", "settings", "info", "plan"} - set(document)
            if missing:
                raise ValueError(f"it has no {', '.join(sorted(missing))}")
            odd = [key for key in ("settings", "info", "plan") if type(document[key]) is not dict]
            if odd or not isinstance(document["fingerprint"], str):
                raise ValueError(f"its {(odd or ['fingerprint'])[0]} is not what a run writes")
            if not isinstance(document["plan"].get("zones", {}), dict):
                raise ValueError("its plan has no zones by name")
        except FileNotFoundError as error:
            problem = "does not exist"
            if isinstance(self.path, StorePath):
                problem = "is no run: there is no run.json at that address"
            elif self.path.exists():
                problem = "is not a run directory: it has no run.json"
            raise RunDirectoryError(
                f"`{self.path}` {problem}. Give the output.dir of a run."
            ) from error
        except ConfigError:  # how the store is reached, not what is in the file
            raise
        except (OSError, ValueError) as error:
            raise RunDirectoryError(
                f"`{self.run_json}` cannot be read ({error}). Restore it, or choose another "
                "output.dir; the embeddings beside it are untouched."
            ) from error
        if document.get("format") != _FORMAT:
            raise RunDirectoryError(
                f"`{self.path}` was written by another version of thor-geo: its files have layout "
                f"{document.get('format')!r:.20}, and this version reads and writes layout "
                f"{_FORMAT}. Read it with the version that wrote it (`packages` in run.json), or "
                "compute it again with another output.dir: the cache of composites can be used."
            )
        return document

    def plan(self) -> Plan:
        """Return the run's plan, read from plan.parquet.

        Raises:
            RunDirectoryError: If plan.parquet is missing, damaged or not a plan.
        """
        from thor_geo.runs.plan_file import read_plan

        return read_plan(self.plan_parquet)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the run.

        Raises:
            RunDirectoryError: If there is no readable run.json.
        """
        if self._fingerprint is None:
            self._fingerprint = str(self.document()["fingerprint"])
        return self._fingerprint

    @cached_property
    def metadata(self) -> str:
        """The metadata of every output: fingerprint, settings and most of info, as JSON text.

        It contains nothing about machines, so that outputs do not depend on them. It is read once:
        settings and fingerprint do not change, and the first run's info stays.
        """
        document = self.document()
        info = {key: value for key, value in document["info"].items() if key not in _NOT_IN_OUTPUTS}
        settings = document["settings"]
        content = {"fingerprint": document["fingerprint"], "settings": settings, **info}
        return canonical_json(content).decode()

    @property
    def build_version(self) -> str | None:
        """Version of this package that began the run; None if it is not recorded."""
        version = self.document()["info"].get("packages", {}).get("thor-geo")
        return None if version is None else str(version)

    def confirms(self, marker: Marker, shard: Shard, *, verify: bool = False) -> bool:
        """Return whether a marker confirms that its shard needs no more work.

        It does not if it belongs to another run or shard, if tiles failed, if it names other files
        than the run writes, or if one of them is missing or has another size (in a folder).

        Args:
            marker: The shard's marker.
            shard: A shard of this run's plan.
            verify: Also compare the outputs' sha256.

        Raises:
            RunDirectoryError: If the run is not prepared, and run.json or plan.parquet cannot be
                read.
        """
        if self._fingerprint is None and not self.run_json.exists():
            return False
        return (
            marker.failed == 0
            and marker.shard_id == shard.id
            and marker.tiles == len(shard) * len(self._writes.times)
            and marker.fingerprint == self.fingerprint
            and marker.outputs.keys() == self._outputs_of(shard)
            # What a store has confirmed is there whole: asking for each would be a request more.
            and (
                (isinstance(self.path, StorePath) and not verify)
                or all(
                    output.matches(self.path / name, verify=verify)
                    for name, output in marker.outputs.items()
                )
            )
        )

    def _outputs_of(self, shard: Shard) -> set[str]:
        """Return the names of a shard's files, relative to the directory."""
        writes = self._writes
        names = {f"{self.pooled.name}/{self.pooled_path(shard).name}"} if writes.pooled else set()
        if writes.places:
            return names | {
                (self.place_store.name / place_file(shard, name)).as_posix()
                for name in writes.arrays
            }
        return names | {
            (self.grid.name / array_file(writes.zones[shard.epsg], shard, name, time)).as_posix()
            for name, time in product(writes.arrays, writes.times)
        }

    @cached_property
    def _writes(self) -> _Writes:
        """The files that the run writes for each shard."""
        settings, plan = self._prepared or (self.document()["settings"], None)
        output: Any = settings.get("output")
        try:
            pooled, grid, dtype = (output[key] for key in ("pooled", "grid", "dtype"))
            times = time_axis(settings.get("data", {}))
        except (KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"`{self.run_json}` does not say what the run writes (settings.output is "
                f"{output!r:.200}). Restore it, or choose another output.dir."
            ) from error
        if not grid:
            return _Writes(pooled=pooled, arrays=(), zones={}, times=times)
        arrays, plan = array_names(dtype), plan or self.plan()
        if isinstance(plan, PlacePlan):
            return _Writes(pooled=pooled, arrays=arrays, zones={}, times=times, places=True)
        # The places of shards do not depend on the number of cells in a tile.
        zones = zone_grids(plan, 1)
        return _Writes(pooled=pooled, arrays=arrays, zones=zones, times=times)

    def all_marked(self, shards: Iterable[Shard]) -> bool:
        """Return whether all shards have a marker; stops soon after the first without one."""
        return all(
            read_ahead(
                lambda shard: self.marker_path(shard).exists(),
                shards,
                threads=readers_of(self.path),
            )
        )

    def _remedy(self, *, table: bool) -> str:
        if files_below(self.markers):
            if table:
                return (
                    "Choose another output.dir (what was fetched is in the cache), or put the "
                    "table back as it was."
                )
            return "Choose another output.dir, or use that run's settings to resume it."
        return "It holds no finished shard: delete it, or choose another output.dir."

    def _compare(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        if theirs["fingerprint"] == ours["fingerprint"]:
            changed = [
                key
                for key, _, _ in json_differences(ours["info"], theirs["info"])
                if not key.startswith("config")
            ]
            if changed:
                _log.warning(
                    "%s was started with different %s. The settings agree, so it resumes; new "
                    "shards may differ in the last bits.",
                    self.path,
                    ", ".join(changed[:_NAMED]),
                )
            return
        table = table_changes(ours["settings"], theirs["settings"])
        problems = [f"the table of places has changed ({'; '.join(table)})"] if table else []
        problems += [
            f"{key} is {now} here and {then} there"
            for key, now, then in json_differences(ours["settings"], theirs["settings"])
            if not key.startswith(TABLE_KEYS)
        ]
        # Other places or columns make another plan, of which nothing more is to be said.
        places = table or any(problem.startswith("data.places.") for problem in problems)
        if ours["plan"] != theirs["plan"] and not places:
            now, then = (
                f"{plan.get('tiles')} tiles in {', '.join(plan.get('zones', {}))}"
                for plan in (ours["plan"], theirs["plan"])
            )
            # That of a table with other columns has as many chips, and another digest.
            if now != then or not problems:
                problems.append(f"the plan has {now} here and {then} there (another area or grid)")
        if not problems:
            problems = ["its fingerprint does not match its settings: run.json was edited"]
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise RunDirectoryError(
            f"`output.dir={str(self.path)!r}` belongs to another run: "
            f"{'; '.join(problems[:_NAMED])}{more}. {self._remedy(table=bool(table))}"
        )
