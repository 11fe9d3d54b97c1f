"""The maps of a run as xarray has them: float32 whatever is on disk, read when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError, first_line
from thor_geo.ground.lattice import zone_name
from thor_geo.results.lazy_maps import lazy_maps
from thor_geo.runs.grid_layout import ARRAY
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.times import END, TIME
from thor_geo.runs.zone_grid import zone_grids
from thor_geo.storage import Location
from thor_geo.storage.zarr_stores import zarr_store

if TYPE_CHECKING:
    import xarray

_MAP_ATTRIBUTES = {"long_name": "THOR embedding"}


def zone_array(
    opened: OpenedRun, zone: str | None = None, window: int | None = None
) -> xarray.DataArray:
    """Return the map of a zone, float32 (band, y, x), NaN where there is no embedding.

    Args:
        opened: A run of an area; it may be unfinished.
        zone: Name of the zone, such as ``utm32n``; None if there is only one.
        window: Index of the time window; None for all, which puts a `time` axis in front.

    Returns:
        The map, with the coordinates `band`, `y`, `x`, `time`, `time_end` and `spatial_ref`, where
        rioxarray and others look for the CRS. Nothing of it is read before it is used.

    Raises:
        ConfigError: If the run has no maps, no such zone or no such window.
        RunDirectoryError: If the store is missing or cannot be opened.
    """
    path = opened.run.path
    if opened.places:
        raise ConfigError(
            "dir",
            str(path),
            "a run of places has a map for each place and none of a zone",
            "Use `run.places()`, which opens places.zarr.",
        )
    _check_maps(opened)
    names = [zone_name(epsg) for epsg in zone_grids(opened.plan, 1)]
    if zone not in names and not (zone is None and len(names) == 1):
        problem = f"`{path}` has {', '.join(names)}"
        raise ConfigError("zone", zone, problem, "Choose one of them.")
    time = None if window is None else opened.time_index(window)
    group = zone or names[0]
    found = _open(opened.run.grid, group)
    dims = found[ARRAY].dims
    array = _float_array(opened.run.grid, group, found)
    if TIME not in dims:
        span = opened.span
        return array.assign_coords(
            {
                TIME: np.datetime64(span.start.replace(tzinfo=None), "ns"),
                END: np.datetime64(span.end.replace(tzinfo=None), "ns"),
            }
        )
    return array if time is None else array.isel({TIME: time})


def place_array(opened: OpenedRun) -> xarray.DataArray:
    """Return the maps of all places, float32 (place, band, y, x), NaN where there is no embedding.

    Args:
        opened: A run of places; it may be unfinished.

    Returns:
        The maps in the order of the plan, with the row of the table as the coordinate `place`, and
        where and when each is. Nothing of it is read before it is used.

    Raises:
        ConfigError: If the run is of an area, or has no maps.
        RunDirectoryError: If the store is missing or cannot be opened.
    """
    if not opened.places:
        raise ConfigError(
            "dir",
            str(opened.run.path),
            "a run of an area has a map for each zone and none of single places",
            "Use `run.grid(zone)`, which opens grid.zarr.",
        )
    _check_maps(opened)
    return _float_array(opened.run.place_store, "", _open(opened.run.place_store, ""))


def _check_maps(opened: OpenedRun) -> None:
    if not opened.grid:
        raise ConfigError(
            "dir",
            str(opened.run.path),
            "this run has vectors and no maps",
            "Run it again into another directory with --output.grid=true.",
        )


def _open(store: Location, group: str) -> xarray.Dataset:
    """Open a group for its coordinates."""
    import xarray

    try:
        found: xarray.Dataset = xarray.open_zarr(
            zarr_store(store), group=group or None, chunks=None
        )
    except (OSError, ValueError, KeyError) as error:
        raise RunDirectoryError(
            f"`{store / group}` cannot be opened ({first_line(error)}): the run is just starting, "
            f"or it is damaged. `thor-geo validate {store.parent}` says which."
        ) from error
    return found


def _float_array(store: Location, group: str, found: xarray.Dataset) -> xarray.DataArray:
    """Return the embeddings of a group as float32, with its coordinates."""
    import xarray

    template = found[ARRAY]
    encoding: dict[str, Any] = {"_FillValue": np.float32(np.nan)}
    if "spatial_ref" in found.coords:
        encoding["grid_mapping"] = "spatial_ref"
    variable = xarray.Variable(template.dims, lazy_maps(store, group), dict(_MAP_ATTRIBUTES))
    array = xarray.DataArray(variable, coords=template.coords, name=ARRAY)
    array.encoding = encoding
    return array
