"""A table of places in place of an area: what it goes with, its plan, and what is recorded."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from thor_geo.datamodules.sensors import as_spec
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.chips import chip_unit
from thor_geo.ground.lattice import Lattice, zone_name, zones_of
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places, PlacesSpec
from thor_geo.specs import TemporalSpec, Windows
from thor_geo.specs.bands import BandSelection
from thor_geo.support.words import counted

_log = logging.getLogger(__name__)

#: What a run of places has in place of an area's settings, for messages.
_INSTEAD = {
    "area": "a run is over an area or at places",
    "stride": "every place has one chip, centred on it",
    "anchor": "chips lie on the pixels of the coarsest band, wherever their places are",
    "windows": "every place has one window, that of its own row",
    "labels": "labels are columns of the table, which `thor-geo probe` reads",
}


def one_ground(
    area: AreaSpec | Mapping[str, Any] | None, places: PlacesSpec | Mapping[str, Any] | None
) -> tuple[AreaSpec | None, PlacesSpec | None]:
    """Return the area or the table of places, of which there is one.

    Args:
        area: An area, a dict of its fields, or None.
        places: A table, a dict of its fields, or None.

    Raises:
        ConfigError: If there are both or neither, or a field is unknown or invalid.
    """
    if (area is None) == (places is None):
        raise ConfigError(
            "data.area",
            area,
            "data.places is given too" if area is not None else "no area and no table of places",
            "Give data.area (bbox, point, file or points), or in its place data.places (file).",
        )
    return as_spec(AreaSpec, area, "data.area"), as_spec(PlacesSpec, places, "data.places")


def refuse_beside_places(**settings: object) -> None:
    """Refuse settings that a table of places does not go with.

    Args:
        **settings: Values of some settings of the data, by name.

    Raises:
        ConfigError: If one is not None.
    """
    for name, value in settings.items():
        if value is not None:
            _refuse(name, value, _INSTEAD[name])


def _refuse(name: str, value: object, reason: str) -> NoReturn:
    shown = value if isinstance(value, int | float | str | list | tuple) else str(value)
    raise ConfigError(
        f"data.{name}", shown, f"data.places is given: {reason}", "Leave it out, or set it to null."
    )


class PlaceTable:
    """The table of places of a datamodule, which is read when it is needed.

    Attributes:
        spec: The settings.
    """

    def __init__(
        self,
        spec: PlacesSpec,
        *,
        start: str | None,
        end: str | None,
        earliest: dt.date | None,
        generated: Callable[[], Path | None] = lambda: None,
    ) -> None:
        """Initialize a new PlaceTable instance; no file is looked at yet.

        Args:
            spec: The settings.
            start: First day of the window of all places; None where rows have dates of their own.
            end: Day after its last, likewise.
            earliest: First day with images; None where nothing is filtered by dates.
            generated: Makes a table for settings that name no file, or returns None.

        Raises:
            ConfigError: If both the table and the settings have dates, or neither.
        """
        self.spec = spec
        self._earliest, self._generated = earliest, generated
        self._window: TemporalSpec | None = None
        if spec.dated is None:
            self._window = Windows.from_dates(start, end).span
            return
        for name, value in (("start", start), ("end", end)):
            if value is not None:
                _refuse(name, value, f"windows come from its column {spec.dated!r}")

    @cached_property
    def places(self) -> Places:
        """The table's content, read once.

        Raises:
            ConfigError: If it cannot be read, or has a row that cannot be embedded.
        """
        spec = self.spec
        if spec.file is None:
            spec = replace(spec, file=self._generated())
        return spec.load(self._window, earliest=self._earliest, aloud=_first_rank())

    def plan(
        self,
        lattice: Lattice,
        selection: BandSelection,
        *,
        block_size: int | None,
        anchors: Mapping[int, tuple[float, float] | None] | None = None,
    ) -> PlacePlan:
        """Return the plan of the chips.

        Args:
            lattice: Tile size and resolution.
            selection: The bands in use.
            block_size: Side in pixels of blocks that chips may share; None where nothing is
                fetched.
            anchors: Anchor of each zone by EPSG code, where data lies on a grid of its own there.

        Raises:
            ConfigError: As `places`; or if a tile is not a whole number of the coarsest band's
                pixels, or places lie in a zone without an anchor and are not skipped.
        """
        if anchors is not None and self.spec.on_bad_row == "skip":
            self.places = _within_zones(self.places, anchors)
        return PlacePlan.from_places(
            self.places,
            lattice,
            unit=chip_unit(selection, lattice.resolution),
            shard_places=self.spec.shard_places,
            block_size=block_size,
            anchors=anchors,
        )

    def settings(self) -> dict[str, Any]:
        """Return what of the table changes the outputs, for run.json."""
        places = self.places
        return {
            "rows": len(places),
            "id": places.id,
            "keep": [name for name in places.columns.column_names if name != places.id],
            "columns": dict(places.digests),
            "within": self.spec.within,
            "shard_places": self.spec.shard_places,
        }


def _within_zones(places: Places, zones: Collection[int]) -> Places:
    """Return a table with places in other zones skipped, unless there are no others."""
    rows = np.flatnonzero(np.isfinite(places.lon))
    epsg = zones_of(places.lon[rows], places.lat[rows])
    strange = ~np.isin(epsg, list(zones))
    if not strange.any() or strange.all():
        return places
    if _first_rank():
        _log.warning(
            "data.places.file: %s of %s %s skipped: no file lies in %s (%s).",
            counted(int(strange.sum()), "place"),
            places.source,
            "is" if strange.sum() == 1 else "are",
            "its zone" if strange.sum() == 1 else "their zones",
            ", ".join(map(zone_name, np.unique(epsg[strange]).tolist())),
        )
    reasons = {
        row: f"no file lies in its zone: {zone_name(code)}"
        for row, code in zip(rows[strange].tolist(), epsg[strange].tolist(), strict=True)
    }
    return places.without(reasons)


def _first_rank() -> bool:
    """Return whether this process is the first of a launch, as far as is known, or the only one."""
    return getattr(rank_zero_only, "rank", 0) == 0


def span_of(plan: PlacePlan) -> Windows:
    """Return the window from the first start to the last end of all places."""
    last = max(window.end for window in plan.windows)
    return Windows(spans=(TemporalSpec(start=plan.windows[0].start, end=last),))
