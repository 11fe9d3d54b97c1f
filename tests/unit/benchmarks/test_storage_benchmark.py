"""If this fails, the storage benchmark measures something else than it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.support.neighbours import distances, l2_errors, nearest, overlap


def test_neighbours_are_those_of_largest_cosine() -> None:
    angles = np.radians([0.0, 10.0, 25.0, 90.0, 180.0])
    lengths = np.array([1.0, 5.0, 0.1, 2.0, 3.0])
    vectors = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    queries = np.array([0, 2, 4])
    neighbours = nearest(vectors, queries, 2)
    assert [set(row) for row in neighbours.tolist()] == [{1, 2}, {0, 1}, {2, 3}]
    expected = 1 - np.cos(angles[neighbours] - angles[queries][:, None])
    np.testing.assert_allclose(distances(vectors, queries, neighbours), expected, atol=1e-12)


def test_overlap_and_errors_are_shares() -> None:
    first = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert overlap(first, first[:, ::-1]) == 1
    assert overlap(first, np.array([[4, 3, 2, 9], [1, 2, 3, 4]])) == pytest.approx(3 / 8)
    exact = np.array([[3.0, 4.0], [0.0, 2.0]])
    stored = np.array([[3.0, 4.5], [0.5, 2.0]])
    np.testing.assert_allclose(l2_errors(exact, stored), [0.1, 0.25])
