"""The end of a run in words: what was done, where it is, and how to open it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

from thor_geo.grid import zone_name
from thor_geo.plan import Plan
from thor_geo.writers.markers import Marker
from thor_geo.writers.rundir import RunDirectory

_LABEL_WIDTH = 10


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run, or the part of it that is done; `str` gives the text to print.

    Attributes:
        path: The run directory.
        shards: Shards done, and in the plan.
        tiles: Tiles done, and in the plan.
        ok: Tiles with an embedding.
        empty: Tiles without any observation.
        failed: Tiles that could not be produced.
        new_tiles: Tiles done since the process began.
        seconds: Wall time since the process began; None for a look at a directory.
        area_km2: Ground of the tiles done.
        scenes: Number of distinct scenes used.
        zones: Names of the UTM zones.
        pooled: Whether there are pooled files.
        grid: Whether there is a grid store.
        quicklook: Whether there is a picture.
        first_failure: Tile and error of the first failed tile, or None.
    """

    path: Path
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

    @property
    def complete(self) -> bool:
        """Whether every shard of the plan is done; it may still hold failed tiles."""
        return self.shards[0] == self.shards[1]

    def __str__(self) -> str:
        """Return the text, lines without a trailing newline."""
        done, total = self.tiles
        lines = [_headline(self), ""]
        lines += _row("tiles", f"{done:,} of {total:,}: {self._states()}")
        if done and self.empty == done:
            lines += _row("", "no scene passes: try a longer window, or a higher data.cloudy_pct")
        if not self.complete:
            lines += _row(
                "to do",
                f"{self.shards[1] - self.shards[0]:,} of {self.shards[1]:,} shards "
                "(other jobs, or run the same command again)",
            )
        lines += _row("area", f"{self.area_km2:,.1f} km2 in {', '.join(self.zones)}")
        lines += _row("scenes", f"{self.scenes:,}")
        lines += _row("run", f"{self.path / 'run.json'}")
        if self.pooled:
            folder = self.path / "pooled"
            lines += _row("pooled", f"{folder}/", f'geopandas.read_parquet("{folder}")')
        if self.grid:
            store = self.path / "grid.zarr"
            code = [f'xarray.open_zarr("{store}", group="{zone}")' for zone in self.zones]
            lines += _row("grid", f"{store}/", *code[:1])
            if len(code) > 1:
                others = ", ".join(f'"{zone}"' for zone in self.zones[1:6])
                more = ", ..." if len(code) > 6 else ""
                lines += _row("", f"other groups: {others}{more}")
        if self.quicklook:
            lines += _row("picture", f"{self.path / 'quicklook.png'}")
        if self.failed and self.first_failure:
            tile, error = self.first_failure
            lines += _row("failures", f"{self.path / 'failures'}/", f"{tile}: {error}")
            lines += _row("", "run the same command again: only shards with failures are redone")
        return "\n".join(lines)

    def _states(self) -> str:
        states = [f"{self.ok:,} ok"]
        if self.empty:
            states.append(f"{self.empty:,} empty (no observations)")
        states.append(f"{self.failed:,} failed")
        return ", ".join(states)


def summarise(
    run: RunDirectory,
    plan: Plan,
    *,
    since: dt.datetime | None = None,
    seconds: float | None = None,
) -> Summary:
    """Sum up a run from its markers.

    Args:
        run: The run directory.
        plan: Its plan.
        since: Shards finished from then on count as new; None counts all.
        seconds: Wall time of this process.
    """
    shards = tiles = ok = empty = failed = new = 0
    scenes: set[str] = set()
    first_failure: tuple[str, str] | None = None
    for shard in plan.shards:
        marker = Marker.read(run.marker_of(shard))
        if marker is None:
            continue
        shards, tiles = shards + 1, tiles + marker.tiles
        ok, empty, failed = ok + marker.ok, empty + marker.empty, failed + marker.failed
        scenes.update(marker.scenes)
        if since is None or dt.datetime.fromisoformat(marker.finished_at) >= since:
            new += marker.tiles
        if marker.failed and first_failure is None:
            record = json.loads(run.failures_of(shard).read_text().splitlines()[0])
            first_failure = (record["tile_id"], record["error"])
    return Summary(
        path=run.path,
        shards=(shards, len(plan.shards)),
        tiles=(tiles, len(plan)),
        ok=ok,
        empty=empty,
        failed=failed,
        new_tiles=new,
        seconds=seconds,
        area_km2=tiles * plan.tile_km2,
        scenes=len(scenes),
        zones=tuple(zone_name(epsg) for epsg in sorted({shard.epsg for shard in plan.shards})),
        pooled=run.pooled.exists(),
        grid=run.grid.exists(),
        quicklook=run.quicklook.exists(),
        first_failure=first_failure,
    )


def duration(seconds: float) -> str:
    """Return a time span for reading: ``8.4 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _headline(summary: Summary) -> str:
    if summary.seconds is None:
        return f"{summary.tiles[0]:,} of {summary.tiles[1]:,} tiles are done"
    if summary.new_tiles == 0 and not summary.complete:
        return "No shard was finished in this run"
    if summary.new_tiles == 0:
        return f"Nothing to do: {summary.tiles[0]:,} tiles were embedded before"
    before = summary.tiles[0] - summary.new_tiles
    rate = summary.new_tiles / max(summary.seconds, 1e-9)
    text = (
        f"Embedded {summary.new_tiles:,} tile{'s' if summary.new_tiles != 1 else ''} in "
        f"{duration(summary.seconds)} ({rate:,.1f} tiles/s)"
    )
    return text + (f"; {before:,} more were done before" if before else "")


def _row(label: str, *values: str) -> list[str]:
    labels = [label] + [""] * (len(values) - 1)
    return [f"  {one:<{_LABEL_WIDTH}}{value}" for one, value in zip(labels, values, strict=True)]
