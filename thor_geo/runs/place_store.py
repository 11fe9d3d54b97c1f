"""``places.zarr``: the maps of a run of places, one file for each work shard (int8: two)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Shard
from thor_geo.runs.grid_layout import ARRAY, SCALE
from thor_geo.runs.place_layout import (
    PLACE,
    PlaceLayout,
    coordinate_attributes,
    coordinates,
    dimensions,
    place_file,
    shard_number,
)
from thor_geo.runs.quantise import quantise
from thor_geo.runs.shard import Dtype
from thor_geo.runs.zarr_metadata import (
    add_coordinate,
    array_differences,
    consolidate,
    create_store,
    memory_array,
)
from thor_geo.storage import Location
from thor_geo.storage.zarr_stores import zarr_store


class PlaceStore:
    """The store of a run of places: created once, then filled as a `GridStore` is.

    Attributes:
        path: ``places.zarr``.
        layout: Shapes of its arrays.
    """

    def __init__(
        self,
        path: Location,
        plan: PlacePlan,
        shape: tuple[int, int, int],
        dtype: Dtype = "float32",
    ) -> None:
        """Initialize a new PlaceStore instance; nothing is read or written yet.

        Args:
            path: Directory of the store.
            plan: The whole plan.
            shape: (D', h, w), one chip's map.
            dtype: Type of the values.
        """
        self.path = path
        self.layout = PlaceLayout.of(plan, shape, dtype)
        self._plan = plan
        self._encoders: dict[str, tuple[Any, dict[str, Any]]] = {}

    def create(self, metadata: str, build_version: str | None = None) -> None:
        """Create arrays, coordinates and attributes, or check existing ones.

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
        """Return the files of a shard's maps; equal values give equal bytes.

        Args:
            shard: The shard, of n places.
            values: (n, D', h, w), row 0 = north, all NaN for chips without an embedding.
            time: None: every place has its own window.

        Returns:
            Contents by path below the store: embeddings, and for int8 their scales.

        Raises:
            OSError: If the store's metadata cannot be read.
        """
        if self.layout.dtype != "int8":
            return dict([self._file(shard, ARRAY, values)])
        codes, scale = quantise(values, axis=1)
        return dict([self._file(shard, ARRAY, codes), self._file(shard, SCALE, scale)])

    def embeddings_path(self, shard: Shard) -> Location:
        """Return the path of the file with a shard's embeddings."""
        return self.path / place_file(shard, ARRAY)

    def _file(self, shard: Shard, name: str, values: npt.NDArray[Any]) -> tuple[str, bytes]:
        """Return the path of a shard's part of an array, below the store, and its content."""
        if name not in self._encoders:
            self._encoders[name] = memory_array(self.path / name / "zarr.json")
        array, files = self._encoders[name]
        start = shard_number(shard) * self.layout.shard_places
        array[start : start + len(values)] = values
        path = place_file(shard, name)
        return path.as_posix(), files.pop(path.relative_to(name).as_posix()).to_bytes()

    def _build(self, path: Path, metadata: str, build_version: str | None) -> None:
        import zarr

        layout = self.layout
        attributes = {
            "Conventions": "CF-1.11",
            "thor_geo": metadata,
            **layout.facts(metadata).root_attributes(build_version),
        }
        root = zarr.create_group(str(path), attributes=attributes)
        for name in layout.names:
            root.create_array(
                name,
                **layout.array(name),
                dimension_names=dimensions(name),
                attributes=layout.attributes(name),
            )
        for name, values in coordinates(self._plan, layout).items():
            (dimension,) = dimensions(name)
            add_coordinate(root, name, values, coordinate_attributes(name), dimension=dimension)
        consolidate(path)

    def _compare(self) -> None:
        import zarr

        remedy = "Choose another output.dir, or remove the store so that it is written again."
        for name in self.layout.names:
            try:
                array = zarr.open_array(zarr_store(self.path), path=name, mode="r")
                differences = array_differences(array, self.layout.array(name))
                places = zarr.open_array(zarr_store(self.path), path=PLACE, mode="r")[...]
            except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
                raise RunDirectoryError(
                    f"`{self.path}`: {name} cannot be opened as this run's maps ({error}). {remedy}"
                ) from error
            if not np.array_equal(places, self._plan.place):
                differences.append(("places", "another table's", "this table's"))
            for key, actual, expected in differences:
                raise RunDirectoryError(
                    f"`{self.path}/{name}`: {key} is {actual} there and {expected} in this run. "
                    f"{remedy}"
                )
