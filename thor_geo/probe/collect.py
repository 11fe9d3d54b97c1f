"""Labels joined to a run: which samples a probe has."""

from __future__ import annotations

from typing import cast

from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.area_samples import cell_samples, tile_samples
from thor_geo.probe.joining import JoinableLabels, Labels
from thor_geo.probe.kept import KeptLabels
from thor_geo.probe.place_samples import place_samples
from thor_geo.probe.place_vectors import place_vectors
from thor_geo.probe.samples import Samples
from thor_geo.probe.spec import ProbeSpec, SampleUnit
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.specs.choices import Unit


def sample_unit(opened: OpenedRun, labels: Labels, spec: ProbeSpec) -> SampleUnit:
    """Return whether the samples of a probe are tiles, cells or places.

    Args:
        opened: The run.
        labels: The labels.
        spec: Settings; for an area, `on` decides if it is set.

    Raises:
        ConfigError: If the run has no such embeddings, or a setting is not one for such a run.
    """
    if isinstance(opened.plan, PlacePlan):
        if spec.on is not None:
            raise ConfigError(
                "--on",
                spec.on,
                f"`{opened.run.path}` is a run of places, which are the samples",
                "Leave it out, or choose their vectors: --vectors pooled, centre or both.",
            )
        opened.time_index(spec.window)
        place_vectors(opened, spec)
        return "places"
    for option, value in (
        ("--vectors", spec.vectors),
        ("--group", spec.group),
        ("--split-date", spec.split_date),
    ):
        if value is not None:
            raise ConfigError(
                option,
                str(value),
                f"`{opened.run.path}` is a run of an area",
                "Leave it out: it is for runs of places.",
            )
    unit: Unit = spec.on or ("cells" if labels.kind == "raster" and opened.grid else "tiles")
    if spec.on is None and not opened.pooled:
        unit = "cells"
    key = {"tiles": "pooled", "cells": "grid"}[unit]
    if not getattr(opened, key):
        raise ConfigError(
            "--on", unit, f"the run was made with output.{key}=false", f"Use output.{key}=true."
        )
    return unit


def collect_samples(
    opened: OpenedRun, labels: Labels, spec: ProbeSpec, *, progress: bool = False
) -> Samples:
    """Join labels to the tiles, cells or places of a run.

    Where UTM zones overlap, ground counts once: tiles that are `primary`, cells in the zone's own
    strip.

    Args:
        opened: The run; it may be unfinished.
        labels: `JoinableLabels`, or `KeptLabels` of this run.
        spec: Settings.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Raises:
        ConfigError: If the run has no such embeddings, or no label meets it.
        RunDirectoryError: If a file of the run cannot be read.
    """
    unit = sample_unit(opened, labels, spec)
    joinable = cast(JoinableLabels, labels)
    samples: Samples
    if unit == "places":
        samples = place_samples(opened, labels, spec, progress)
    else:
        gather = tile_samples if unit == "tiles" else cell_samples
        samples = gather(opened, joinable, spec, progress)
    if len(samples):
        return samples
    counts = samples.counts
    if not counts.thin + counts.without_embedding and not isinstance(labels, KeptLabels):
        raise _apart(opened, joinable, unit)
    thin = f"{counts.thin:,} are labelled on less than {spec.min_cover:g} of their ground, "
    group = f", {counts.without_group:,} have no {spec.group}" if spec.group else ""
    raise ConfigError(
        "--target" if isinstance(labels, KeptLabels) else "--labels",
        labels.name if isinstance(labels, KeptLabels) else labels.source,
        f"no {unit[:-1]} of {opened.run.path} has a usable label ({counts.unlabelled:,} have "
        f"none, {thin if counts.thin else ''}{counts.without_embedding:,} have no "
        f"embedding{group})",
        "Lower the share with --min-cover, or finish the run."
        if counts.thin
        else "Choose another column, or finish the run.",
    )


def _apart(opened: OpenedRun, labels: JoinableLabels, unit: SampleUnit) -> ConfigError:
    """Return the error for labels that do not meet the run, with both extents."""
    ours = opened.plan.rings().reshape(-1, 2)
    run = (*ours.min(axis=0).tolist(), *ours.max(axis=0).tolist())
    labels_extent = labels.extent()
    (west, south, east, north), (left, bottom, right, top) = run, labels_extent
    meet = left <= east and right >= west and bottom <= north and top >= south
    swapped = bottom <= east and top >= west and left <= north and right >= south
    extents = [
        f"{b[0]:.4f} to {b[2]:.4f} E, {b[1]:.4f} to {b[3]:.4f} N" for b in (labels_extent, run)
    ]
    remedy = "Check that the labels lie in the run's area and have the right CRS."
    if swapped and not meet:
        remedy = "They would meet with latitude and longitude exchanged: write longitude first."
    return ConfigError(
        "--labels",
        labels.source,
        f"no {unit[:-1]} of {opened.run.path} has a label: labels lie at {extents[0]}, the run at "
        f"{extents[1]}",
        remedy,
    )
