"""If this fails, one point of a learning curve hides all others, or its legend hides the lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.support.label_raster import write_labels
from thor_geo.probe import ProbeSpec, open_labels, probe_run
from thor_geo.probe.pictures import draw_curve
from thor_geo.runs.opened_run import OpenedRun


@pytest.fixture(scope="module")
def noise(opened: OpenedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return labels that nothing can predict: R² of two of them is far below 0."""
    rng = np.random.default_rng(0)
    return write_labels(
        opened,
        tmp_path_factory.mktemp("noise") / "noise.tif",
        lambda x, y: rng.integers(1, 200, size=np.broadcast(x, y).shape),
    )


def _drawn(opened: OpenedRun, labels: Path, **spec: object) -> tuple[Figure, float]:
    asked = ProbeSpec(baseline=False, repeats=2, task="regression", **spec)  # type: ignore[arg-type]
    probed = probe_run(opened, open_labels(labels, task="regression"), asked)
    linear = probed.evaluations[0].curve
    return draw_curve(probed), min(point.scores["r2"].low for point in linear)


def test_an_axis_of_r2_ends_at_minus_one_and_says_so(opened: OpenedRun, noise: Path) -> None:
    figure, lowest = _drawn(opened, noise, counts=(2,), fractions=(0.5, 1.0))
    assert lowest < -2
    assert figure.axes[0].get_ylim()[0] == -1
    assert f"The axis ends at -1; lines and bands go down to {lowest:.3g}." in _words(figure)


def test_an_axis_that_shows_everything_says_nothing(opened: OpenedRun, noise: Path) -> None:
    figure, lowest = _drawn(opened, noise, fractions=(0.9, 1.0))
    assert figure.axes[0].get_ylim()[0] <= lowest
    assert "The axis ends" not in _words(figure)


def test_the_legend_stands_beside_the_lines(opened: OpenedRun, noise: Path) -> None:
    figure, _ = _drawn(opened, noise, fractions=(0.9, 1.0))
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().x0 > figure.axes[0].get_window_extent().x1


def _words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)
