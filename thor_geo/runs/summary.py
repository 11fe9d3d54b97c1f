"""The end of a run in words: what was done, where it is, and how to open it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from thor_geo.ground.job import Job
from thor_geo.ground.lattice import zone_name
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.runs.failures import read_failures
from thor_geo.runs.reading import read_markers
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs.windows import time_axis
from thor_geo.storage import Location
from thor_geo.storage.requests import KINDS
from thor_geo.support.progress import speed
from thor_geo.support.redact import redact
from thor_geo.support.words import counted, duration

_LABEL_WIDTH = 10

_SKIPPED = PurePosixPath("pooled", "skipped.parquet")

#: Scenes left out that a summary names.
_LISTED = 3


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run, or the part of it that is done; `str` gives the text to print.

    With a list of time windows a tile counts once for each.

    Attributes:
        path: The run directory.
        shards: Shards done, and in the plan.
        tiles: Tiles done, and in the plan.
        ok: Tiles with an embedding.
        empty: Tiles without any observation.
        failed: Tiles that could not be produced.
        new_tiles: Tiles done since the process began.
        seconds: Wall time since the process began; None if a directory is only inspected.
        area_km2: Area of the tiles done.
        scenes: Number of distinct scenes used.
        zones: Names of the UTM zones.
        pooled: Whether there are pooled files.
        grid: Whether there is a grid store.
        quicklook: Whether there is a picture.
        first_failure: Tile and error of the first failed tile, or None.
        job: The part that is summed up; the whole run, or one job of it.
        fetch: Cost of fetching so far: requests, retries, splits, bytes, seconds and
            seconds_waiting; empty if nothing was fetched.
        left_out: Why each scene that passes the filters and could not be used is missing from
            composites, by the scene's id.
        store: What object stores were asked so far, by the fields of `StoreCounts`; empty for a
            run in a folder.
        quantised: Whether the embeddings are int8.
        windows: Number of time windows.
        table: Rows of the table of places, and how many of them were skipped; None for an area.
    """

    path: Location
    shards: tuple[int, int]
    tiles: tuple[int, int]
    ok: int
    empty: int
    failed: int
    new_tiles: int
    seconds: float | None
    area_km2: float
    scenes: int
    zones: tuple[str, ...]
    pooled: bool
    grid: bool
    quicklook: bool
    first_failure: tuple[str, str] | None
    job: Job = field(default_factory=Job)
    fetch: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    store: Mapping[str, float] = field(default_factory=dict)
    quantised: bool = False
    windows: int = 1
    table: tuple[int, int] | None = None

    @property
    def complete(self) -> bool:
        """Whether every shard of the plan is done; tiles may still have failed."""
        return self.shards[0] == self.shards[1]

    def __str__(self) -> str:
        """Return the text, lines without a trailing newline."""
        done, total = self.tiles
        lines = [_headline(self), ""]
        if self.job.count > 1:
            lines += _row("job", f"{self.job}; what follows is this job's part of the run")
        each = (
            f" ({total // self.windows:,} in each of {self.windows} windows)"
            if self.windows > 1
            else ""
        )
        lines += _row(self._noun + "s", f"{done:,} of {total:,}{each}: {self._states()}")
        if self.table is not None and self.table[1]:
            rows, skipped = self.table
            where = f": {self.path / _SKIPPED}" if self.pooled else ""
            lines += _row("", f"{skipped:,} of the table's {rows:,} rows skipped{where}")
        if done and self.empty == done:
            # Exchanged, coordinates of Europe are valid ones in and off the Horn of Africa.
            last = (
                "another area"
                if self.table is None
                else "look whether the table has longitude and latitude exchanged"
            )
            advice = f"try a longer window, a higher data.sentinel2.cloudy_pct, or {last}"
            lines += _row("", f"no scene passed the filters: {advice}")
        if not self.shards[1]:
            lines += _row("", "the run has fewer shards than jobs: there is none for this one")
        if not self.complete:
            lines += _row(
                "to do",
                f"{self.shards[1] - self.shards[0]:,} of {self.shards[1]:,} shards "
                "(run the same command again)",
            )
        if self.zones and self.table is not None:
            lines += _row("zones", ", ".join(self.zones))
        elif self.zones:
            lines += _row("area", f"{self.area_km2:,.1f} km2 in {', '.join(self.zones)}")
        lines += _row("scenes", f"{self.scenes:,}")
        lines += left_out_rows(self.left_out)
        if self.new_tiles and self.fetch.get("requests"):
            lines += _row("fetched", _fetched(self.fetch))
        if self.new_tiles:
            lines += store_rows(self.store)
        lines += _row("run", f"{self.path / 'run.json'}")
        if self.pooled:
            folder = self.path / "pooled"
            lines += _row("pooled", f"{folder}/", self._opening(folder, "vectors()"))
        if self.grid and self.table is not None:
            store = self.path / "places.zarr"
            lines += _row("grid", f"{store}/", self._opening(store, "places()"))
        elif self.grid:
            store = self.path / "grid.zarr"
            code = [self._opening(store, f'grid("{zone}")', zone) for zone in self.zones[:1]]
            lines += _row("grid", f"{store}/", *code)
            if len(self.zones) > 1:
                others = ", ".join(f'"{zone}"' for zone in self.zones[1:6])
                more = ", ..." if len(self.zones) > 6 else ""
                lines += _row("", f"other groups: {others}{more}")
            if self.windows > 1:
                lines += _row("", f"its axis `time` has {self.windows} windows: .isel(time=0)")
        if self.quantised:
            lines += _row(
                "int8", "a value is embedding * scale; each vector and each cell has its scale"
            )
        if self.quicklook:
            lines += _row("picture", f"{self.path / 'quicklook.png'}")
        if self.failed and self.first_failure:
            tile, error = self.first_failure
            lines += _row("failures", f"{self.path / 'failures'}/", f"{tile}: {error}")
            lines += _row("", "run the same command again: only shards with failures are redone")
        # Both readers named above accept a path with ~.
        return redact("\n".join(lines))

    def _opening(self, path: Location, call: str, zone: str | None = None) -> str:
        """Return the Python that opens vectors or maps.

        Args:
            path: Where they lie.
            call: What opens them of an opened run.
            zone: The UTM zone, if it is a map of one.
        """
        if not isinstance(path, Path):  # what xarray and geopandas open it with is not installed
            return f'thor_geo.open_run("{self.path}").{call}'
        if path.suffix != ".zarr":
            return f'geopandas.read_parquet("{path}")'
        return f'xarray.open_zarr("{path}"' + ("" if zone is None else f', group="{zone}"') + ")"

    @property
    def _noun(self) -> str:
        return "tile" if self.table is None else "place"

    def _states(self) -> str:
        states = [f"{self.ok:,} ok"]
        if self.empty:
            states.append(f"{self.empty:,} empty (no observations)")
        states.append(f"{self.failed:,} failed")
        return ", ".join(states)


def left_out_rows(left_out: Mapping[str, str]) -> list[str]:
    """Return lines about the scenes that were left out, the first few by name; none without any.

    Args:
        left_out: Why each of them could not be used, by its id.
    """
    if not left_out:
        return []
    listed = sorted(left_out.items())
    lines = [f"{scene} {why}" for scene, why in listed[:_LISTED]]
    if listed[_LISTED:]:
        lines.append(f"and {len(listed) - _LISTED:,} more")
    return _row("left out", f"{counted(len(listed), 'scene')} that could not be used:", *lines)


def store_rows(store: Mapping[str, float]) -> list[str]:
    """Return a line about what object stores were asked; none if they were not.

    Args:
        store: Counts by the fields of `StoreCounts`.
    """
    requests = sum(int(store.get(kind, 0)) for kind in KINDS)
    if not requests:
        return []
    repeated = int(store.get("repeated", 0))
    return _row("asked", f"object store: {counted(requests, 'request')}, {repeated:,} repeated")


def summarise(
    run: RunDirectory,
    plan: Plan,
    *,
    job: Job | None = None,
    session: str | None = None,
    seconds: float | None = None,
) -> Summary:
    """Sum up a run, or one job of it, from its markers.

    Args:
        run: The run directory.
        plan: Its plan.
        job: Which part; None for all.
        session: Shards of this launch count as new; None counts all.
        seconds: Wall time of this process.
    """
    job = job or Job()
    part = job.part(len(plan.shards))
    shards = tiles = total = ok = empty = failed = new = 0
    scenes: set[str] = set()
    fetch: Counter[str] = Counter()
    store: Counter[str] = Counter()
    left_out: dict[str, str] = {}
    first_failure: tuple[str, str] | None = None
    document = run.document() if run.run_json.exists() else {"settings": {}, "info": {}}
    windows = len(time_axis(document["settings"].get("data", {})))
    for shard, marker in read_markers(run, plan, part):
        total += len(shard) * windows
        if marker is None:
            continue
        shards, tiles = shards + 1, tiles + marker.tiles
        ok, empty, failed = ok + marker.ok, empty + marker.empty, failed + marker.failed
        scenes.update(marker.scenes)
        fetch.update(marker.fetch)
        store.update(marker.store)
        left_out = {**marker.left_out, **left_out}
        if session is None or marker.session == session:
            new += marker.tiles
        if marker.failed and first_failure is None:
            first = next(read_failures(run.failures_path(shard)), None)
            first_failure = (
                (marker.failed_tiles[0], "(its record is missing or damaged)")
                if first is None
                else (first.name, first.error)
            )
    return Summary(
        path=run.path,
        shards=(shards, len(part)),
        tiles=(tiles, total),
        ok=ok,
        empty=empty,
        failed=failed,
        new_tiles=new,
        seconds=seconds,
        area_km2=tiles / windows * plan.tile_km2,
        scenes=len(scenes),
        zones=_zones(plan, part),
        pooled=run.has_pooled,
        grid=run.has_place_store if isinstance(plan, PlacePlan) else run.has_grid,
        quicklook=run.quicklook.exists(),
        first_failure=first_failure,
        job=job,
        fetch=dict(fetch),
        left_out=left_out,
        store=dict(store),
        quantised=shards > 0 and "quantisation" in document["info"],
        windows=windows,
        table=_table(plan, document["settings"]),
    )


def _zones(plan: Plan, part: range) -> tuple[str, ...]:
    """Return the names of the zones in which the tiles of some shards lie."""
    zones = plan.zone[plan.shards.starts[part.start : part.stop]]
    if isinstance(plan, PlacePlan) and part:  # a shard may hold several
        zones = plan.zone[plan.shards.starts[part.start] : plan.shards.stops[part.stop - 1]]
    return tuple(zone_name(plan.lattices[k].epsg) for k in np.unique(zones).tolist())


def _table(plan: Plan, settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the rows of the table of places, and how many were skipped."""
    if not isinstance(plan, PlacePlan):
        return None
    rows = int(settings.get("data", {}).get("places", {}).get("rows", len(plan)))
    return rows, rows - len(plan)


def _fetched(fetch: Mapping[str, float]) -> str:
    """Return the cost of fetching in words."""
    parts = [f"{fetch['requests']:,.0f} requests"]
    parts += [
        f"{fetch[name]:,.0f} {name}" for name in ("retries", "splits") if fetch.get(name, 0) >= 1
    ]
    parts += [
        f"{fetch.get('bytes', 0) / 1e6:,.1f} MB",
        f"{duration(fetch.get('seconds_waiting', 0))} waiting for slots and before retries "
        "(sum of all requests)",
    ]
    return ", ".join(parts)


def _headline(summary: Summary) -> str:
    noun = "tile" if summary.table is None else "place"
    if summary.seconds is None:
        return f"{summary.tiles[0]:,} of {summary.tiles[1]:,} {noun}s are done"
    if summary.new_tiles == 0 and not summary.complete:
        return "No shard was finished in this run"
    if summary.new_tiles == 0:
        job = "" if summary.job.count == 1 else f" of job {summary.job}"
        return f"Nothing to do: {summary.tiles[0]:,} {noun}s{job} were embedded before"
    if summary.ok + summary.empty == 0:
        return f"No {noun} could be embedded in {duration(summary.seconds)}"
    before = summary.tiles[0] - summary.new_tiles
    rate = summary.new_tiles / max(summary.seconds, 1e-9)
    text = (
        f"Embedded {counted(summary.new_tiles, noun)} in {duration(summary.seconds)} "
        f"({speed(rate, f'{noun}s')})"
    )
    return text + (f"; {before:,} more were done before" if before else "")


def _row(label: str, *values: str) -> list[str]:
    labels = [label] + [""] * (len(values) - 1)
    return [f"  {name:<{_LABEL_WIDTH}}{value}" for name, value in zip(labels, values, strict=True)]
