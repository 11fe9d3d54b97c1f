"""If these fail, a run goes on with another table, or refuses the one that it began with."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import shapely

from tests.support.place_tables import load
from thor_geo.ground._place_columns import column_digest

TABLE = pa.table(
    {
        "lon": [11.1, 12.5, 13.25],
        "lat": [59.9, 60.0, 61.7],
        "plot": ["b", "a", "c"],
        "day": [dt.date(2021, 6, 1), dt.date(2021, 7, 1), dt.date(2021, 6, 1)],
        "n": [7, None, 9],
        "yes": [True, None, False],
        "code": ["007", None, "012"],
        "x": [0.1, None, 3.0],
    }
)
SETTINGS = {"id": "plot", "date": "day", "keep": ["day", "n", "yes", "code", "x"]}


def written(folder: Path, table: Any) -> dict[str, Path]:
    paths = {kind: folder / f"a.{kind}" for kind in ("csv", "parquet", "geoparquet", "gpkg")}
    pc.write_csv(table, paths["csv"])
    pq.write_table(table, paths["parquet"])
    frame = table.drop(["lon", "lat"]).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    points = shapely.points(table["lon"], table["lat"])
    layer = gpd.GeoDataFrame(frame, geometry=points, crs=4326)
    layer.to_parquet(paths["geoparquet"])
    layer["day"] = layer["day"].astype("datetime64[s]").dt.date
    layer.to_file(paths["gpkg"], use_arrow=True)
    return paths


def test_the_same_table_has_the_same_digests_in_all_files(tmp_path: Path) -> None:
    digests = {
        kind: load(path, **SETTINGS).digests for kind, path in written(tmp_path, TABLE).items()
    }
    assert set(digests["csv"]) == {
        "geometry",
        "datetime_start",
        "datetime_end",
        "plot",
        *SETTINGS["keep"],
    }
    assert all(value == digests["csv"] for value in digests.values())


@pytest.mark.parametrize(
    ("column", "values", "changed"),
    [
        ("lat", [59.9, 60.0, 61.70001], {"geometry"}),
        ("plot", ["b", "a", "d"], {"plot"}),
        ("n", [7, 0, 9], {"n"}),
        ("yes", [True, False, False], {"yes"}),
        ("code", ["007", "", "012"], {"code"}),
        ("code", ["00", None, "7012"], {"code"}),
        ("x", [0.1, 0.0, 3.0], {"x"}),
        (
            "day",
            [dt.date(2021, 6, 1), dt.date(2021, 7, 2), dt.date(2021, 6, 1)],
            {"day", "datetime_start", "datetime_end"},
        ),
    ],
)
def test_a_change_shows_where_it_is(
    tmp_path: Path, column: str, values: list[Any], changed: set[str]
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    before = load(path, **SETTINGS).digests
    k = TABLE.column_names.index(column)
    pq.write_table(TABLE.set_column(k, column, pa.array(values)), path)
    after = load(path, **SETTINGS).digests
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_order_of_rows_counts_and_a_type_does_too(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    before = load(path, **SETTINGS).digests
    pq.write_table(TABLE.take([1, 0, 2]), path)
    after = load(path, **SETTINGS).digests
    assert all(before[name] != after[name] for name in before)
    small = TABLE.set_column(4, "n", TABLE["n"].cast(pa.int32()))
    pq.write_table(small, path)
    assert load(path, **SETTINGS).digests["n"] != before["n"]


def test_how_a_column_is_stored_does_not_count() -> None:
    values = pa.array(["", "a", None, "øre"])
    chunks = pa.chunked_array([values[:1], values[1:3], values[3:]])
    assert column_digest(chunks) == column_digest(pa.chunked_array([values]))
    numbers = pa.chunked_array([pa.array([5, None, 7, 8])])
    rest = numbers.slice(1)
    assert column_digest(rest) == column_digest(pa.chunked_array([pa.array([None, 7, 8])]))
    flags = pa.chunked_array([pa.array([True, None, False, True])]).slice(1)
    assert column_digest(flags) == column_digest(pa.chunked_array([pa.array([None, False, True])]))
    # What lies behind a null is no value.
    hidden = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 99]).tobytes())]
    )
    assert column_digest(pa.chunked_array([hidden])) == column_digest(
        pa.chunked_array([pa.array([1, None])])
    )


def test_every_plain_type_has_a_digest() -> None:
    seen = set()
    for kind in (
        *(pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64()),
        *(pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string()),
        *(pa.binary(), pa.date32(), pa.time32("ms"), pa.time64("us"), pa.timestamp("us")),
        *(pa.timestamp("ms", "UTC"), pa.decimal128(5, 2), pa.binary(2)),
    ):
        column = pa.chunked_array([pa.nulls(3, kind)])
        seen.add(column_digest(column))
    assert len(seen) == 21


def test_polygons_count_where_they_are_pooled_within(tmp_path: Path) -> None:
    shapes = [shapely.box(11, 60, 12, 61), shapely.box(11, 60, 12, 61.5)]
    digests = []
    for shape in shapes:
        path = tmp_path / "a.parquet"
        gpd.GeoDataFrame({"n": [1]}, geometry=[shape], crs=4326).to_parquet(path)
        digests.append(load(path, within=True).digests["geometry"])
    assert digests[0] != digests[1]
