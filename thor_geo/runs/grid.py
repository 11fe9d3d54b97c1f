"""Embedding maps: a Zarr v3 store with one group per UTM zone.

Each zone holds ``embeddings (band, y, x)``, north-up. One work shard is one Zarr shard and one
file, so writers never share a file. The side of its chunks divides its side.

int8 embeddings have ``scale (y, x)`` beside them, one value for each cell, also with one file for
each work shard: a value is embedding * scale. Where a tile failed, is empty or is not planned, and
outside a cropped area, embeddings are -128 and the scale is NaN.

Zones have a `preview` in colours, unless the store is too large (`thor_geo.runs.preview`).

A run with a list of time windows has ``embeddings (time, band, y, x)`` and ``scale (time, y, x)``,
with a file for each work shard and window.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.crop import AreaCrop
from thor_geo.runs.grid_layout import (
    ARRAY,
    SCALE,
    array_file,
    array_layout,
    array_names,
    dimension_names,
    embedding_facts,
    map_attributes,
)
from thor_geo.runs.preview import MOST_BYTES, add_preview
from thor_geo.runs.quantise import quantise
from thor_geo.runs.shard import Dtype
from thor_geo.runs.times import TIME, time_attributes, time_coordinates
from thor_geo.runs.zarr_metadata import (
    add_coordinate,
    add_coordinates,
    add_grid_mapping,
    array_differences,
    consolidate,
    create_store,
    memory_array,
)
from thor_geo.runs.zone_grid import centre_trim, zone_grids
from thor_geo.specs import Windows
from thor_geo.storage import Location
from thor_geo.storage.zarr_stores import zarr_store


class GridStore:
    """The store of a run: created once, then filled with one file per shard and window (int8: two).

    Attributes:
        path: ``grid.zarr``.
        zones: Geometry by EPSG code.
    """

    def __init__(
        self,
        path: Location,
        plan: Plan,
        shape: tuple[int, int, int],
        dtype: Dtype = "float32",
        crop: AreaCrop | None = None,
        windows: Windows | None = None,
    ) -> None:
        """Initialize a new GridStore instance; nothing is read or written yet.

        Args:
            path: Directory of the store.
            plan: The plan.
            shape: (D', h, w), one tile's map, before it is trimmed to the tile's centre.
            dtype: Type of the values.
            crop: Which cells are written; None for the whole centre of every tile.
            windows: The time windows; None for a store without a time axis.

        Raises:
            ConfigError: If the halo of overlapping tiles is not a whole number of cells, or cells
                are not square.
        """
        self.path = path
        self.zones = zone_grids(plan, centre_trim(plan.lattices[0], shape[1:]).side)
        self._bands = shape[0]
        self._dtype: Dtype = dtype
        self._resolution = plan.lattices[0].resolution
        self._crop = crop
        self._coordinates = {} if windows is None else time_coordinates(windows)
        self._times = len(self._coordinates[TIME]) if self._coordinates else None
        size = sum(z.shape[0] * z.shape[1] for z in self.zones.values()) * self._bands
        size *= np.dtype(dtype).itemsize * (self._times or 1)
        self._preview = size <= MOST_BYTES
        self._encoders: dict[tuple[int, str], tuple[Any, dict[str, Any]]] = {}

    def create(self, metadata: str, build_version: str | None = None) -> None:
        """Create groups, coordinates and attributes, or check existing ones.

        The whole store is built elsewhere and then put here, so one of several processes wins.

        Args:
            metadata: JSON text for the attribute ``thor_geo``.
            build_version: Version of this package that began the run; None if it is not known.

        Raises:
            RunDirectoryError: If a store of another layout exists.
        """
        create_store(self.path, lambda path: self._build(path, metadata, build_version))
        self._compare()

    def encode(
        self, shard: Shard, values: npt.NDArray[Any], time: int | None = None
    ) -> dict[str, bytes]:
        """Return the files of a shard's map; equal values give equal bytes.

        Args:
            shard: The shard.
            values: (D', k s, k s) for s cells a tile, row 0 = north, all NaN in tiles without an
                embedding. Cells outside the crop are set to NaN in place.
            time: Index of the time window; None in a store without a time axis.

        Returns:
            Contents by path below the store: embeddings, and for int8 their scales.

        Raises:
            OSError: If the store's metadata cannot be read.
        """
        if self._crop is not None:
            values[:, ~self._crop.inside(self.zones[shard.epsg], shard)] = np.nan
        if self._dtype != "int8":
            return dict([self._file(shard, ARRAY, values, time)])
        codes, scale = quantise(values, axis=0)
        return dict([self._file(shard, ARRAY, codes, time), self._file(shard, SCALE, scale, time)])

    def embeddings_path(self, shard: Shard, time: int | None = None) -> Location:
        """Return the path of the file with a shard's embeddings (in a time window, if any)."""
        return self.path / array_file(self.zones[shard.epsg], shard, ARRAY, time)

    def _file(
        self, shard: Shard, name: str, values: npt.NDArray[Any], time: int | None
    ) -> tuple[str, bytes]:
        """Return the path of a shard's part of an array, below the store, and its content."""
        zone = self.zones[shard.epsg]
        array, files = self._encoder(shard.epsg, name)
        height, width = values.shape[-2:]
        row, col = zone.shard_position(shard)
        first = () if time is None else (time,)
        where = slice(row * height, (row + 1) * height), slice(col * width, (col + 1) * width)
        array[*first, ..., *where] = values
        path = array_file(zone, shard, name, time)
        key = path.relative_to(PurePosixPath(zone.name, name)).as_posix()
        return path.as_posix(), files.pop(key).to_bytes()

    def _encoder(self, epsg: int, name: str) -> tuple[Any, dict[str, Any]]:
        """Return an array of the zone in memory, and the files that writing to it makes."""
        if (epsg, name) not in self._encoders:
            about = self.path / self.zones[epsg].name / name / "zarr.json"
            self._encoders[epsg, name] = memory_array(about)
        return self._encoders[epsg, name]

    def _build(self, path: Path, metadata: str, build_version: str | None) -> None:
        import zarr

        zones = list(self.zones.values())
        facts = embedding_facts(metadata, zones[0], self._bands, self._dtype, self._resolution)
        attributes = {"thor_geo": metadata, **facts.root_attributes(build_version)}
        root = zarr.create_group(str(path), attributes=attributes)
        for zone in zones:
            group = root.create_group(
                zone.name, attributes={"Conventions": "CF-1.11", "thor_geo": metadata}
            )
            for name in array_names(self._dtype):
                group.create_array(
                    name,
                    **array_layout(zone, name, self._bands, self._dtype, self._times),
                    dimension_names=dimension_names(name, self._times),
                    attributes=map_attributes(zone, name, self._dtype, self._times),
                )
            add_coordinates(group, {"band": np.arange(self._bands), "y": zone.y, "x": zone.x})
            for name, ends in self._coordinates.items():
                add_coordinate(group, name, ends, time_attributes(name), dimension=TIME)
            add_grid_mapping(group, zone.epsg, zone.bounds, zone.cell)
            if self._preview:
                add_preview(group, zone, self._times)
        consolidate(path)

    def _compare(self) -> None:
        import zarr

        remedy = "Choose another output.dir, or remove the store so that it is written again."
        for zone, name in product(self.zones.values(), array_names(self._dtype)):
            path = f"{zone.name}/{name}"
            wanted = array_layout(zone, name, self._bands, self._dtype, self._times)
            try:
                array = zarr.open_array(zarr_store(self.path), path=path, mode="r")
                differences = array_differences(array, wanted)
                bounds = dict(array.attrs).get("spatial:bbox")
            except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
                raise RunDirectoryError(
                    f"`{self.path}`: {path} cannot be opened as this run's grid store ({error}). "
                    f"{remedy}"
                ) from error
            if name == ARRAY and bounds != list(zone.bounds):
                differences.append(("bounds", str(bounds), str(list(zone.bounds))))
            for key, actual, expected in differences:
                raise RunDirectoryError(
                    f"`{self.path}/{path}`: {key} is {actual} there and {expected} in this run. "
                    f"{remedy}"
                )
