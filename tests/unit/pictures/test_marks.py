"""If this fails, the best of similar places has no number, or a number is read as another's."""

from __future__ import annotations

import math

import pytest
from matplotlib.figure import Figure

from thor_geo.pictures.marks import Marks, draw_marks

# The map's side in metres, and a cell's: 13.5 points on paper.
SIDE, CELL = 10_000.0, 450.0


def words(cells: list[tuple[int, int]], star: tuple[int, int]) -> dict[str, tuple[float, float]]:
    """Return where the ranks of some cells are written, in cells from the lower left."""
    figure = Figure(figsize=(300 / 72, 300 / 72))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, SIDE), ylim=(0, SIDE))
    squares = [
        ((c * CELL, r * CELL, (c + 1) * CELL, (r + 1) * CELL), str(rank))
        for rank, (c, r) in enumerate(cells, start=1)
    ]
    query = ((star[0] + 0.5) * CELL, (star[1] + 0.5) * CELL)
    draw_marks(axes, (0, 0, SIDE, SIDE), Marks(squares, [query]))
    found = {}
    for text in axes.texts:
        x, y = text.get_position()
        found[text.get_text()] = (x / CELL - 0.5, y / CELL - 0.5)
    return found


def test_ranks_beside_the_star_are_written_on_the_other_side() -> None:
    found = words([(11, 10), (10, 11)], star=(10, 10))
    assert found["1"] == pytest.approx((12.1, 10), abs=0.1), "right of it"
    assert found["2"] == pytest.approx((10, 12.1), abs=0.1), "above it"


def test_no_rank_covers_another_or_its_square() -> None:
    cells = [(c, r) for r in (9, 10, 11) for c in (9, 10, 11) if (c, r) != (10, 10)]
    found = words(cells, star=(10, 10))
    assert len(found) > 4
    places = list(found.values())
    for k, place in enumerate(places):
        assert all(math.dist(place, other) > 1 for other in places[:k])
    for rank, place in found.items():
        others = [cell for k, cell in enumerate(cells, start=1) if str(k) != rank]
        assert all(math.dist(place, other) > 0.7 for other in others)


def test_a_rank_with_room_stays_in_its_square() -> None:
    assert words([(3, 4)], star=(15, 15))["1"] == pytest.approx((3, 4))
