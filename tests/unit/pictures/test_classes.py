"""If one of these fails, places are counted as what they are not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from thor_geo.pictures.classes import COLOURS, FEW, MOST, PlaceClasses, first_with_classes


def test_classes_are_counted_with_the_rest_and_those_without_a_value() -> None:
    words = [f"c{k}" for k in range(MOST + 3) for _ in range(MOST + 4 - k)] + [None] * 5
    classes = PlaceClasses.of("crop", pa.chunked_array([words]))
    assert classes.names[0] == "c0"
    assert classes.names[MOST:] == ("3 other values", "no value")
    assert classes.counts.tolist() == [MOST + 4 - k for k in range(MOST)] + [4 + 3 + 2, 5]
    assert classes.counts.sum() == len(words)
    assert classes.codes[-1] == MOST + 1
    assert classes.palette().shape == (MOST + 2, 3)
    assert len(set(COLOURS)) == MOST


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", "b", "a"]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([2020, 2021, 2020], pa.int16()),
        pa.array([True, False, True]),
    ],
)
def test_every_flat_type_has_classes(values: pa.Array) -> None:
    classes = PlaceClasses.of("x", pa.chunked_array([values]))
    assert classes.counts.tolist() == [2, 1]
    assert classes.names == tuple(str(values[k].as_py()) for k in (0, 1))


def test_many_numbers_become_ranges_of_equally_many_places() -> None:
    numbers = np.append(np.random.default_rng(0).uniform(0, 9, 600), np.nan)
    classes = PlaceClasses.of("yield", pa.chunked_array([numbers]))
    assert classes.counts.tolist()[:-1] == [100] * 6
    assert classes.names[-1] == "no value"


def test_the_first_column_of_few_values_is_chosen() -> None:
    table = pa.table(
        {
            "id": [str(k) for k in range(FEW + 1)],
            "same": ["x"] * (FEW + 1),
            "share": [0.1, *[0.2] * FEW],
            "year": [2021, *[2022] * FEW],
            "crop": ["a", *["b"] * FEW],
            "country": ["c", *["d"] * FEW],
        }
    )
    assert first_with_classes(table, table.column_names) == "crop"
    assert first_with_classes(table, ["share", "year"]) == "year"
    assert first_with_classes(table, ["id", "share"]) is None


def test_means_are_those_of_each_class() -> None:
    classes = PlaceClasses.of("x", pa.chunked_array([["a", "b", "a", "a"]]))
    chosen = np.array([True, True, True, False])
    means = classes.means(np.array([[1.0], [5.0], [3.0]]), chosen)
    assert means.tolist() == [[2.0], [5.0]]
