"""If these fail, the picture of a regression hides where most of its samples lie."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

from thor_geo.probe.metrics import Score
from thor_geo.probe.scatter import MOST_POINTS, draw_scatter

SCORES = {"r2": Score(0.5, 0.4, 0.6), "rmse": Score(0.0123, 0.01, 0.02), "mae": Score(12, 10, 14)}


def drawn(truth: np.ndarray, made: np.ndarray) -> tuple[list[type], str, tuple[float, float]]:
    """Return what is drawn, the text beside it, and the ends of the axes."""
    axes = Figure().add_subplot()
    draw_scatter(axes, truth, made, SCORES, "THOR")
    assert axes.get_xlim() == axes.get_ylim()
    kinds = [type(c) for c in axes.collections]
    return kinds, axes.texts[0].get_text(), axes.get_xlim()


def test_many_samples_are_a_density_and_few_are_points() -> None:
    rng = np.random.default_rng(0)
    for count, kind in ((MOST_POINTS, PathCollection), (MOST_POINTS + 1, PolyCollection)):
        truth = rng.normal(size=count)
        kinds, text, _ = drawn(truth, truth + rng.normal(size=count))
        assert len(kinds) == 1
        assert issubclass(kinds[0], kind)
        assert text.splitlines() == [
            "R² 0.50 [0.40, 0.60]",
            "RMSE 0.012 [0.010, 0.020]",
            "MAE 12.00 [10.00, 14.00]",
            f"n = {count:,}",
        ]


def test_a_wild_prediction_does_not_press_all_others_together() -> None:
    """A linear model can predict a million; the picture says that it did."""
    truth = np.linspace(0, 1, 5000)
    made = truth.copy()
    made[:3] = 1e6
    _, text, ends = drawn(truth, made)
    assert ends[1] < 2
    assert text.endswith("predicted beyond the axes: 3")


def test_equal_numbers_have_axes() -> None:
    _, _, (low, high) = drawn(np.full(9, 3.0), np.full(9, 3.0))
    assert low < 3 < high
