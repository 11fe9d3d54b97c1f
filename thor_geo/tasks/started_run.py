"""The settings of a run, gathered from trainer, datamodule and model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from thor_geo.errors import ConfigError
from thor_geo.ground.area import Area
from thor_geo.ground.job import Job
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.ground.plan import Plan
from thor_geo.models.describe import describe_module, probe_shapes
from thor_geo.pictures.zone_pictures import TrueColour
from thor_geo.runs.crop import AreaCrop
from thor_geo.runs.fingerprint import JSON, package_versions
from thor_geo.specs import Windows
from thor_geo.support.redact import redact_json

if TYPE_CHECKING:
    import lightning.pytorch as pl


@dataclass(frozen=True, kw_only=True)
class StartedRun:
    """A run whose data and model are set up, ready to be written.

    Attributes:
        plan: The plan.
        windows: Time windows of the composites.
        settings: Everything that changes the numbers.
        info: What else a reader should know.
        shapes: Shape of one tile's ``pooled`` (D,) and ``grid`` (D', h, w), if the model returns
            them.
        truecolour: Source of pixels for the picture, or None.
        job: The part of the plan that this launch computes.
        strict: Whether to stop at the first tile that cannot be produced.
        fetch_cost: Returns the cost of this process's fetching so far, or None.
        left_out: Returns the scenes left out of the composites of some tiles, and why, or None.
        crop: Which cells of maps are written, or None for all.
        places: The table of a plan of places, or None.
    """

    plan: Plan
    windows: Windows
    settings: dict[str, JSON]
    info: dict[str, JSON]
    shapes: Mapping[str, tuple[int, ...]]
    truecolour: TrueColour | None
    job: Job = field(default_factory=Job)
    strict: bool = False
    fetch_cost: Callable[[], Mapping[str, float]] | None = None
    left_out: Callable[[Iterable[int]], Mapping[str, str]] | None = None
    crop: AreaCrop | None = None
    places: Places | None = None


def start_run(
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    output: Mapping[str, JSON],
    config: Mapping[str, Any] | None = None,
) -> StartedRun:
    """Gather the run from Lightning's objects, once data and model are set up.

    The datamodule must have ``plan``, ``settings()`` (with ``start`` and ``end``, or ``windows``, a
    list of both) and ``info()``; it may have ``truecolour``, ``job``, ``strict``, ``left_out`` and
    ``fetch_cost``, and needs ``area`` if maps are cropped to it, and ``places_table`` if its plan
    is of places. The model may have ``settings()``, ``info()`` and ``output_shapes()``. Settings
    are everything that changes the numbers. Settings and infos are JSON without anything about
    machines or ranks, because every output contains them.

    Args:
        trainer: The trainer.
        pl_module: The model.
        output: The writer's own settings that change numbers.
        config: The resolved config of the command, for run.json only.

    Raises:
        ConfigError: If the datamodule has no plan, or no area although maps are cropped to it, or
            no table although its plan is of places; if an output is not for what is planned.
    """
    # Lightning's classes do not declare these attributes, and any class may have them.
    datamodule: Any = getattr(trainer, "datamodule", None)
    module: Any = pl_module
    missing = [
        name for name in ("plan", "settings", "info") if getattr(datamodule, name, None) is None
    ]
    if missing:
        raise ConfigError(
            "data",
            type(datamodule).__name__,
            f"the datamodule has no `{missing[0]}`",
            "Run with CompositeDataModule, or one with plan, settings() and info().",
        )
    data_settings: dict[str, Any] = dict(datamodule.settings())
    info: dict[str, JSON] = {
        "data": dict(datamodule.info()),
        "model": dict(module.info()) if hasattr(module, "info") else {},
        "packages": package_versions(),
    }
    places = _places(datamodule, output)
    crop = _crop(datamodule) if output.get("crop") else None
    if config is not None:
        # Paths and other objects become text: a record for people, not for the fingerprint.
        info["config"] = json.loads(json.dumps(config, default=str))
    return StartedRun(
        plan=datamodule.plan,
        windows=Windows.from_settings(data_settings),
        settings={
            "data": data_settings,
            "model": dict(
                module.settings() if hasattr(module, "settings") else describe_module(module)
            ),
            "output": {**output, **({} if crop is None else {"area_sha256": crop.digest})},
        },
        info=redact_json(info),
        shapes=dict(_shapes(module, datamodule)),
        truecolour=getattr(datamodule, "truecolour", None),
        job=getattr(datamodule, "job", None) or Job(),
        strict=bool(getattr(datamodule, "strict", False)),
        fetch_cost=getattr(datamodule, "fetch_cost", None),
        left_out=getattr(datamodule, "left_out", None),
        crop=crop,
        places=places,
    )


def _places(datamodule: Any, output: Mapping[str, JSON]) -> Places | None:
    """Return the table of a plan of places, None for another plan."""
    if not isinstance(datamodule.plan, PlacePlan):
        if output.get("centre"):
            raise ConfigError(
                "output.centre",
                True,
                "tiles of an area have no place of which it would be the vector",
                "Leave it out, and read cells from the maps (output.grid=true); or embed a table "
                "with data.places.",
            )
        return None
    if output.get("crop"):
        raise ConfigError(
            "output.crop",
            True,
            "the chips of places have no area to be cropped to",
            "Leave it out; data.places.within=true pools over the polygons of the table.",
        )
    places = getattr(datamodule, "places_table", None)
    if not isinstance(places, Places):
        raise ConfigError(
            "data",
            type(datamodule).__name__,
            "its plan is of places, and it has no `places_table`",
            "Give the datamodule the thor_geo.ground.places.Places that were planned.",
        )
    # Each shard takes its rows, which is slow from many chunks: 22 ms from 100 with a million.
    return replace(places, columns=places.columns.combine_chunks())


def _crop(datamodule: Any) -> AreaCrop:
    area = getattr(datamodule, "area", None)
    if not isinstance(area, Area):
        raise ConfigError(
            "output.crop",
            True,
            f"{type(datamodule).__name__} has no `area`",
            "Use thor_geo.datamodules.CompositeDataModule, or give the datamodule a thor_geo.Area.",
        )
    return AreaCrop(area)


def _shapes(module: Any, datamodule: Any) -> Mapping[str, tuple[int, ...]]:
    if hasattr(module, "output_shapes"):
        shapes: Mapping[str, tuple[int, ...]] = module.output_shapes()
        return shapes
    bands, lattice = datamodule.settings()["bands"], datamodule.plan.lattices[0]
    return probe_shapes(module, len(bands), lattice.tile_size)
