"""A table of places: its rows as items, and their embeddings in the table's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.api._assemble import Map
from thor_geo.api._cut import Cut
from thor_geo.api._encode import Encoder
from thor_geo.api._items import EmbeddingItem, refuse_own_pixels
from thor_geo.api._place import Place
from thor_geo.api._request import EmbeddingRequest
from thor_geo.api.result import Embedding, map_array
from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places, PlacesSpec
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import Float32Array

if TYPE_CHECKING:
    import pandas
    from xarray import DataArray

# What errors call a table that is no file.
_IN_MEMORY = Path("places")

#: A table of places: a file, a frame, or either with settings.
PlaceInput: TypeAlias = "str | Path | pandas.DataFrame | PlacesSpec | Mapping[str, Any]"


@dataclass(frozen=True, kw_only=True)
class TableItems:
    """The rows of a table that can be embedded, in the order of a run's plan.

    Attributes:
        places: The table.
        plan: The plan of its chips, as a run has it.
        request: The settings.
    """

    places: Places
    plan: PlacePlan
    request: EmbeddingRequest

    @classmethod
    def read(
        cls, table: PlaceInput, temporal: TemporalSpec | None, request: EmbeddingRequest
    ) -> TableItems:
        """Read, check and plan a table.

        Args:
            table: The table.
            temporal: Time window of all rows, unless they have their own.
            request: The settings.

        Raises:
            ConfigError: If the table or a row of it cannot be used, or an option does not go with
                chips.
        """
        _refuse_options(request)
        spec, content = _spec(table)
        if temporal is not None and spec.dated is not None:
            raise ConfigError(
                "temporal",
                temporal,
                f"windows come from the table's column {spec.dated!r}",
                "Leave one of them out.",
            )
        places = spec.load(temporal, earliest=request.sensors.earliest, content=content)
        plan = PlacePlan.from_places(
            places,
            Lattice(epsg=32601, tile_size=request.image_size, resolution=request.resolution),
            unit=request.chip_unit,
            shard_places=spec.shard_places,
            block_size=None,
        )
        return cls(places=places, plan=plan, request=request)

    @cached_property
    def items(self) -> list[EmbeddingItem]:
        """The items, in the plan's order."""
        side = self.request.image_size
        cut = Cut(
            mode="native",
            top=0,
            left=0,
            height=side,
            width=side,
            windows=(),
            image_size=side,
            ground_cover=side * self.request.resolution,
            result=((0, side), (0, side)),
        )
        items = []
        for index in range(len(self.plan)):
            chip = self.plan.tile(index)
            items.append(
                EmbeddingItem(
                    cut=cut,
                    place=Place(
                        epsg=chip.epsg,
                        geometry=shapely.box(*chip.bounds),
                        rect=chip,
                        point=(float(self.plan.x[index]), float(self.plan.y[index])),
                    ),
                    window=self.plan.window_of(index),
                    polygon=self._polygon(index),
                )
            )
        return items

    def _polygon(self, index: int) -> tuple[BaseGeometry, tuple[float, float]] | None:
        if self.places.polygons is None:
            return None
        point = float(self.plan.lon[index]), float(self.plan.lat[index])
        return self.places.polygons[self.plan.place[index]], point

    @property
    def shards(self) -> list[list[EmbeddingItem]]:
        """The items of each shard: no batch of a run crosses one."""
        return [self.items[shard.start : shard.stop] for shard in self.plan.shards]

    def in_order(self, embedded: Sequence[Embedding], encoder: Encoder) -> list[Embedding]:
        """Return an embedding for each row of the table, and what its row says in `meta`.

        Args:
            embedded: Those of the items, in their order.
            encoder: The model.

        Returns:
            Embeddings in the table's order. Those of rows that were skipped are NaN, and their
            `meta` has the row and the reason alone.
        """
        found: list[Embedding | None] = [None] * len(self.places)
        for index, embedding in enumerate(embedded):
            row = int(self.plan.place[index])
            offset = float(self.plan.offset_m[index])
            meta = {**embedding.meta, **self._row(row), "offset_m": offset, "error": None}
            found[row] = Embedding(data=embedding.data, meta=meta)
        if self.places.skipped:
            nothing = _nothing(encoder, self.request.image_size, self.request.resolution)
            for row, reason in self.places.skipped.items():
                data = nothing.copy()
                found[row] = Embedding(data=data, meta={**self._row(row), "error": reason})
        return [embedding for embedding in found if embedding is not None]

    def _row(self, row: int) -> dict[str, Any]:
        columns = self._columns[row]
        name = self.places.id
        return {"place": row, "id": row if name is None else columns[name], "columns": columns}

    @cached_property
    def _columns(self) -> list[dict[str, Any]]:
        table = self.places.columns
        # A table without columns has no rows for pyarrow.
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows if table.num_columns else [{} for _ in range(len(self.places))]


def _nothing(encoder: Encoder, side: int, resolution: int) -> Float32Array | DataArray:
    """Return what a row without an embedding has in its place."""
    shapes, kind = (
        encoder.task(side, side * resolution).output_shapes(),
        encoder.request.output.kind,
    )
    if kind != "grid":
        width = shapes["grid" if kind == "centre" else "pooled"][0]
        return np.full(width, np.nan, dtype=np.float32)
    values = np.full(shapes["grid"], np.nan, dtype=np.float32)
    extent = float(side * resolution)
    valid = np.zeros(values.shape[1:], dtype=np.float32)
    return map_array(Map(values=values, valid=valid, bounds=(0.0, 0.0, extent, extent)), None)


def _refuse_options(request: EmbeddingRequest) -> None:
    """Refuse options that do not go with one chip for each place.

    Raises:
        ConfigError: If there is one.
    """
    refuse_own_pixels(request)
    prep = request.prep.mode
    if prep not in ("auto", "native") or request.prep.halo:
        raise ConfigError(
            "input_prep",
            prep,
            "each place has one chip of image_size pixels, as in a run",
            "Leave it out, or give the places as spatials.",
        )
    if request.crop:
        raise ConfigError(
            "crop", True, "a place has a chip and no area", "Leave it out for a table."
        )


def _spec(table: PlaceInput) -> tuple[PlacesSpec, bytes | None]:
    """Return a table's settings, and the content of one that is in memory."""
    import pandas

    if isinstance(table, PlacesSpec):
        return table, None
    settings = dict(table) if isinstance(table, Mapping) else {"file": table}
    if unknown := sorted(settings.keys() - {field.name for field in fields(PlacesSpec)}):
        names = ", ".join(field.name for field in fields(PlacesSpec))
        raise ConfigError(
            "places", unknown[0], "there is no such setting", f"Choose from: {names}."
        )
    file = settings.pop("file", None)
    if isinstance(file, pandas.DataFrame):
        return PlacesSpec(file=_IN_MEMORY, **settings), _parquet(file)
    if not isinstance(file, str | Path):
        raise ConfigError(
            "places",
            type(file).__name__,
            "not a table",
            "Give a file, a DataFrame with columns lon and lat, a GeoDataFrame, or a dict with one "
            "of them as `file` and settings of data.places.",
        )
    return PlacesSpec(file=Path(file), **settings), None


def _parquet(frame: pandas.DataFrame) -> bytes:
    """Return a frame as a Parquet file has it, so that it is read as files are."""
    content = BytesIO()
    try:
        frame.to_parquet(content, index=False)
    except (ValueError, TypeError) as error:  # pyarrow's own errors among them
        raise ConfigError(
            "places",
            f"a table of {len(frame)} rows",
            # pandas adds which column it is.
            f"a column has no single type ({error.args[-1]})",
            "Give each column values of one kind, or leave it out.",
        ) from error
    return content.getvalue()
