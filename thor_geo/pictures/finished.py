"""What a finished run is looked at with: previews in its maps, an overview, and quicklook.png."""

from __future__ import annotations

from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import fit_colours
from thor_geo.pictures.overview import overview_to_write, write_overview
from thor_geo.pictures.previews import previews_to_fill, write_previews
from thor_geo.pictures.quicklook import write_quicklook
from thor_geo.pictures.zone_pictures import TrueColour, drawn_zones
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows


def draw_finished(
    run: RunDirectory,
    plan: Plan,
    *,
    truecolour: TrueColour | None,
    windows: Windows | None,
    quicklook: bool,
    changed: bool,
) -> None:
    """Draw a run if every shard of its plan is done, and if it has not been drawn.

    Previews are outputs of every run with maps, and the overview of every run with vectors, up to
    a size; the picture is drawn if it is wanted.

    Args:
        run: The run directory.
        plan: Its plan.
        truecolour: Source of pixels for the picture, or None.
        windows: The run's time windows; None for one.
        quicklook: Whether the picture is wanted.
        changed: Whether this launch has written shards.

    Raises:
        RunDirectoryError: If a shard's file cannot be read, or a picture cannot be written.
    """
    previews = previews_to_fill(run, plan, windows, changed)
    picture = quicklook and (changed or not run.quicklook.exists())
    # A run that is too large to be drawn needs no look at every marker.
    drawable = previews or (picture and bool(drawn_zones(plan)))
    overview = overview_to_write(run, plan)
    if drawable and overview is None and not run.all_marked(plan.shards):
        return
    colours = fit_colours(run, plan) if drawable or overview else None
    if overview is not None and colours is not None:
        with run.explain_errors("overview.parquet"):
            write_overview(run, plan, colours, overview)
    if previews and colours is not None:
        with run.explain_errors("the previews of the maps"):
            write_previews(run, plan, colours, windows)
    if picture:
        with run.explain_errors("quicklook.png"):
            write_quicklook(run, plan, truecolour=truecolour, windows=windows, colours=colours)
