"""Previews in a grid store: the maps in colours and in a few sizes, for viewers to draw at once.

Each zone has a group ``preview`` with the convention ``multiscales`` (https://github.com/zarr-conventions/multiscales)
and a group for each level, ``0`` the finest, with ``colours (rgba, y, x)``, with a list of time
windows ``colours (time, rgba, y, x)``. They are laid out with the store and filled when the run
ends; until then they are transparent. A store that would take too long to read has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thor_geo.ground.lattice import Bounds
from thor_geo.runs.georeference import MAP_ATTRIBUTES, array_attributes
from thor_geo.runs.times import TIME
from thor_geo.runs.zarr_metadata import add_coordinates, add_grid_mapping, memory_array
from thor_geo.runs.zone_grid import ZoneGrid
from thor_geo.storage import Location
from thor_geo.storage.files import write_bytes
from thor_geo.support.arrays import UInt8Array
from thor_geo.support.jsontext import parse_json

PREVIEW, COLOURS = "preview", "colours"
#: Most bytes of maps, before compression, that the end of a run reads for previews: some minutes.
MOST_BYTES = 32 * 1024**3
# zstd's default. Not the codecs of the maps: programs that do not know those can show a preview.
_ZSTD_LEVEL = 3
# Longest sides of the finest and the coarsest level, pixels: what a screen shows, and an icon.
_FINEST, _COARSEST = 1024, 256

# Registration of the convention, as version 0.1 of its schema requires.
_MULTISCALES = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v0.1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v0.1/README.md",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}


@dataclass(frozen=True, kw_only=True)
class PreviewLevel:
    """One size of a preview.

    Attributes:
        name: Name of its group.
        step: Cells of the map in a pixel, each way.
        shape: Rows and columns.
        bounds: Left, bottom, right, top, metres; the last pixels may reach beyond the map.
        pixel: Side of a pixel, metres.
    """

    name: str
    step: int
    shape: tuple[int, int]
    bounds: Bounds
    pixel: float


def preview_levels(shape: tuple[int, int], bounds: Bounds, cell: float) -> list[PreviewLevel]:
    """Return the levels of a map's preview, the finest first; each halves the one before.

    Args:
        shape: Rows and columns of the map.
        bounds: Its left, bottom, right, top, metres.
        cell: Side of a cell, metres.
    """
    step, longest = 1, max(shape)
    while longest > step * _FINEST:
        step *= 2
    levels: list[PreviewLevel] = []
    while not levels or max(levels[-1].shape) > _COARSEST:
        rows, cols = (-(-side // step) for side in shape)
        pixel, (left, _, _, top) = cell * step, bounds
        levels.append(
            PreviewLevel(
                name=str(len(levels)),
                step=step,
                shape=(rows, cols),
                bounds=(left, top - rows * pixel, left + cols * pixel, top),
                pixel=pixel,
            )
        )
        step *= 2
    return levels


def add_preview(group: Any, zone: ZoneGrid, times: int | None) -> None:
    """Lay out a zone's preview, transparent.

    Args:
        group: The zone's zarr group.
        zone: The zone.
        times: Number of time windows; None without a time axis.
    """
    from zarr.codecs import ZstdCodec

    levels = preview_levels(zone.shape, zone.bounds, zone.cell)
    preview = group.create_group(PREVIEW, attributes=_multiscales(levels))
    length, unit, first = ((), (), ()) if times is None else ((times,), (1,), (TIME,))
    for level in levels:
        inside = preview.create_group(level.name)
        inside.create_array(
            COLOURS,
            shape=(*length, 4, *level.shape),
            chunks=(*unit, 4, *level.shape),
            dtype="uint8",
            fill_value=0,
            compressors=ZstdCodec(level=_ZSTD_LEVEL, checksum=True),
            dimension_names=(*first, "rgba", "y", "x"),
            attributes={
                "long_name": "embeddings as red, green, blue and opacity",
                **MAP_ATTRIBUTES,
                **array_attributes(zone.epsg, level.bounds, level.pixel, level.shape),
            },
        )
        left, _, _, top = level.bounds
        rows, cols = (np.arange(side) + 0.5 for side in level.shape)
        axes = {"y": np.float64(top) - rows * level.pixel, "x": left + cols * level.pixel}
        add_coordinates(inside, axes)
        add_grid_mapping(inside, zone.epsg, level.bounds, level.pixel)


def _multiscales(levels: list[PreviewLevel]) -> dict[str, Any]:
    layout: list[dict[str, Any]] = []
    for k, level in enumerate(levels):
        scale = 1.0 if k == 0 else 2.0
        left, _, _, top = level.bounds
        layout.append(
            {
                "asset": level.name,
                **({} if k == 0 else {"derived_from": levels[k - 1].name}),
                "transform": {"scale": [scale, scale], "translation": [0.0, 0.0]},
                "spatial:shape": list(level.shape),
                "spatial:transform": [level.pixel, 0.0, left, 0.0, -level.pixel, top],
            }
        )
    return {
        "zarr_conventions": [_MULTISCALES],
        "multiscales": {"layout": layout, "resampling_method": "average"},
    }


def has_preview(store: Location, zone: str) -> bool:
    """Return whether a zone of a store has a preview to fill.

    Args:
        store: ``grid.zarr``.
        zone: Name of the zone's group.
    """
    return (store / zone / PREVIEW / "zarr.json").exists()


def is_preview_filled(store: Location, zone: str, times: Sequence[int | None]) -> bool:
    """Return whether the last file of each time window is there; the others were written before.

    Args:
        store: ``grid.zarr``.
        zone: Name of a zone with a preview.
        times: Indices of the time windows; (None,) without a time axis.

    Raises:
        ValueError: If the preview's metadata is damaged.
        OSError: If it cannot be read.
    """
    about = parse_json((store / zone / PREVIEW / "zarr.json").read_bytes())
    try:
        coarsest = str(about["attributes"]["multiscales"]["layout"][-1]["asset"])
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"no levels: {error!r:.100}") from error
    chunks = store / zone / PREVIEW / coarsest / COLOURS / "c"
    return all(
        (chunks / "/".join([*([] if time is None else [str(time)]), "0/0/0"])).exists()
        for time in times
    )


def write_level(
    store: Location, zone: str, level: PreviewLevel, image: UInt8Array, time: int | None
) -> None:
    """Fill one level; equal images give equal bytes, and a reader sees the old file or the new.

    Args:
        store: ``grid.zarr``.
        zone: Name of the zone's group.
        level: The level.
        image: (4, rows, columns) uint8.
        time: Index of the time window; None without a time axis.
    """
    folder = store / zone / PREVIEW / level.name / COLOURS
    array, files = memory_array(folder / "zarr.json")
    array[... if time is None else time] = image
    for key in [key for key in files if key != "zarr.json"]:
        write_bytes(folder / key, files[key].to_bytes())
