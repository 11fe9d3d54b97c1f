"""A run opened for reading: run.json and plan.parquet, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.markers import Marker
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.shard import Dtype
from thor_geo.specs import TemporalSpec, Windows
from thor_geo.storage import StoreOptions, StorePath
from thor_geo.support.words import counted

#: Threads that read small files: more than cores, since they wait for the file system.
THREADS = 16


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A run whose run.json and plan.parquet are readable and fit each other.

    Attributes:
        run: The run directory.
        plan: Its plan.
        fingerprint: Fingerprint that every output carries.
        pooled: Whether the run writes vectors.
        grid: Whether the run writes maps.
        dtype: Type of the embeddings on disk.
        crop: Whether maps are cropped to the area.
        centre: Whether rows have the vector of the cell that holds the place.
        windows: Time windows of the composites. If the user gave a list of them (`listed`), pooled
            files have a row for each tile and window, and maps have a time axis.
        document: The content of run.json.
    """

    run: RunDirectory
    plan: Plan
    fingerprint: str
    pooled: bool
    grid: bool
    dtype: Dtype
    crop: bool
    centre: bool
    windows: Windows
    document: Mapping[str, Any]

    @property
    def places(self) -> bool:
        """Whether the run is of a table of places; then `plan` is a `PlacePlan`."""
        return isinstance(self.plan, PlacePlan)

    @property
    def table(self) -> tuple[int, int] | None:
        """Rows of the table of places, and how many of them were skipped; None for an area."""
        if not self.places:
            return None
        rows = int(self.document["settings"]["data"]["places"]["rows"])
        return rows, rows - len(self.plan)

    def fits(self, marker: Marker, shard: Shard) -> bool:
        """Return whether a marker belongs to this run and shard; tiles may have failed."""
        rows = len(shard) * len(self.windows)
        return (
            marker.fingerprint == self.fingerprint
            and marker.shard_id == shard.id
            and marker.tiles == rows == marker.ok + marker.empty + marker.failed
        )

    def marker(self, shard: Shard) -> Marker | None:
        """Return a shard's marker if it exists and `fits`; None if the shard is not done."""
        marker = Marker.read(self.run.marker_path(shard))
        return marker if marker is not None and self.fits(marker, shard) else None

    def time_index(self, window: int | None) -> int | None:
        """Return the index of a window on the time axis; None if the run has no such axis.

        Args:
            window: Index of the window, 0 for the first; None if there is only one.

        Raises:
            ConfigError: If there are several and none is chosen, or there is no such window.
        """
        count = len(self.windows)
        if window is None and count > 1:
            spans = ", ".join(
                f"{k}: {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}"
                for k, span in enumerate(self.windows)
            )
            raise ConfigError(
                "window",
                None,
                f"`{self.run.path}` has {count} time windows",
                "Choose one with --window N (thor-geo change: --window-a N, --window-b N) of "
                f"{spans}.",
            )
        if window is not None and not 0 <= window < count:
            raise ConfigError(
                "window",
                window,
                f"`{self.run.path}` has {counted(count, 'time window')}",
                f"Give 0{f' to {count - 1}' if count > 1 else ''}.",
            )
        return (window or 0) if self.windows.listed else None

    @property
    def span(self) -> TemporalSpec:
        """The time window; with several, from the first start to the last end."""
        return self.windows.span


def read_run(path: str | Path | StorePath, options: StoreOptions | None = None) -> OpenedRun:
    """Open a run directory for reading; nothing in it is written.

    Args:
        path: The directory, or its address in a store.
        options: How the store of an address is reached.

    Raises:
        ConfigError: If it begins as an address does, and is none of a bucket.
        RunDirectoryError: If it is not a run, or run.json or plan.parquet cannot be read or belong
            to different runs.
    """
    run = RunDirectory(path, options)
    document = run.document()
    settings = document["settings"]
    try:
        output = settings["output"]
        pooled, grid, dtype = output["pooled"], output["grid"], output["dtype"]
        crop, centre = output.get("crop", False), output.get("centre", False)
        windows = Windows.from_settings(settings["data"])
        digest, fingerprint = document["plan"]["digest"], document["fingerprint"]
        flags = all(isinstance(flag, bool) for flag in (pooled, grid, crop, centre))
        if not (flags and dtype in get_args(Dtype)):
            raise ValueError(f"settings.output is {output}")
    except (KeyError, TypeError, AttributeError, ValueError, ConfigError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunDirectoryError(
            f"`{run.run_json}` does not describe a run ({problem}). Restore it, or delete it and "
            "run the command that made it again, which writes it."
        ) from error
    if not run.plan_parquet.exists():
        raise RunDirectoryError(
            f"`{run.path}` has no plan.parquet yet: the run is just starting, or stopped while it "
            "started. Try again, or run the same `thor-geo predict` command."
        )
    plan = run.plan()
    if plan.digest != digest:
        raise RunDirectoryError(
            f"`{run.plan_parquet}` is not the plan that `{run.run_json.name}` names. Delete it and "
            "run the same `thor-geo predict` command, which writes it again."
        )
    return OpenedRun(
        run=run,
        plan=plan,
        fingerprint=str(fingerprint),
        pooled=pooled,
        grid=grid,
        dtype=dtype,
        crop=crop,
        centre=centre,
        windows=windows,
        document=document,
    )
