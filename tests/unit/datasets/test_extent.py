"""If these fail, queries outside an area are served, or such inside are refused."""

from __future__ import annotations

import itertools

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from thor_geo.datasets.extent import IndexExtent


def index_of(*rows: tuple[str, str, tuple[float, float, float, float]]) -> gpd.GeoDataFrame:
    intervals = pd.IntervalIndex.from_tuples(
        [(pd.Timestamp(first), pd.Timestamp(last)) for first, last, _ in rows], closed="both"
    )
    shapes = [shapely.box(*bounds) for _, _, bounds in rows]
    return gpd.GeoDataFrame(index=intervals, geometry=shapes, crs="EPSG:32632")


INDEX = index_of(
    ("2022-06-01", "2022-07-01", (0, 0, 10, 10)), ("2023-06-01", "2023-07-01", (20, 0, 30, 10))
)
TIMES = ("2022-05-01", "2022-06-01", "2022-06-15", "2022-07-01", "2022-08-01", "2023-06-15")


def asked_of_pandas(index: gpd.GeoDataFrame, x: slice, y: slice, t: slice) -> bool:
    overlapping = index.iloc[index.index.overlaps(pd.Interval(t.start, t.stop))]
    return not overlapping.cx[x.start : x.stop, y.start : y.stop].empty


@pytest.mark.parametrize("left", [-9.0, -2.0, 0.0, 10.0, 11.0, 18.0, 30.0, 31.0])
def test_it_answers_as_pandas_does(left: float) -> None:
    extent = IndexExtent(INDEX)
    x, y = slice(left, left + 2), slice(10, 12)
    for start, stop in itertools.combinations_with_replacement(map(pd.Timestamp, TIMES), 2):
        query = (x, y, slice(start, stop))
        assert extent.meets(*query) == asked_of_pandas(INDEX, *query), query


def test_a_changed_index_is_another() -> None:
    index = INDEX.copy()
    extent = IndexExtent(index)
    assert extent.describes(index)
    assert not extent.describes(index.iloc[:1])
    index.to_crs("EPSG:32633", inplace=True)
    assert not extent.describes(index)
    extent = IndexExtent(index)
    index.geometry = index.geometry.buffer(1)
    assert not extent.describes(index)
