"""If one of these fails, the first picture of a run of places is missing or misleading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.support.place_files import CROPS, plan_of_places, table_of, write_place_run
from tests.support.place_run import write_places
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures import place_quicklook
from thor_geo.pictures.caption import run_caption
from thor_geo.pictures.colours import load_colours
from thor_geo.pictures.place_quicklook import draw_places
from thor_geo.pictures.quicklook import LAYERS, write_quicklook

RNG = np.random.default_rng(3)
LON, LAT = RNG.uniform(9, 15, 60), RNG.uniform(56, 62, 60)


def words(figure: Figure) -> str:
    """Return all that is written on a figure."""
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]
        if axes.get_legend():
            texts += [text.get_text() for text in axes.get_legend().get_texts()]
    return "\n".join(texts)


def test_the_quicklook_shows_places_counts_and_chips(tmp_path: Path) -> None:
    places = table_of(LON, LAT)
    plan = plan_of_places(places)
    run = write_place_run(tmp_path / "run", places, plan, failed=[5], empty=[6, 8])
    asked: list[tuple[Any, ...]] = []

    def truecolour(*question: Any) -> np.ndarray:
        asked.append(question)
        return np.full((*question[2], 3), 90, np.uint8)

    write_quicklook(run, plan, truecolour=truecolour)
    first = run.quicklook.read_bytes()
    with Image.open(run.quicklook) as image:
        assert image.width == 1600
    # Each chip is asked for in its own window and on its own ground.
    grounds = {(plan.tile(k).bounds, int(plan.window[k])) for k in range(len(plan))}
    assert {(bounds, window) for _, bounds, _, window in asked} <= grounds
    assert len(asked) == 8
    write_quicklook(run, plan, truecolour=truecolour)
    assert run.quicklook.read_bytes() == first
    figure = draw_places(run, plan, LAYERS, truecolour=truecolour, colours=load_colours(run))
    written = words(figure)
    assert "failed (1)" in written
    assert "no observations (2)" in written
    crops = places.columns["crop"].to_pylist()
    for crop in CROPS:
        count = sum(value == crop for row, value in enumerate(crops) if row not in (5, 6, 8))
        assert f"\n{crop}\n{count}\n" in written
    assert "60 places" in run_caption(run, plan).subtitle
    assert "km²" not in run_caption(run, plan).subtitle


def test_what_is_not_done_or_was_skipped_is_said(tmp_path: Path) -> None:
    places = table_of(LON, LAT)
    plan = plan_of_places(places)
    run = write_place_run(tmp_path / "run", places, plan, only=3)
    written = words(draw_places(run, plan, ["pca"], by="country"))
    assert f"{len(plan) - 24} places are not done yet." in written
    assert "Places by country" in written


def test_of_very_many_places_an_even_sample_is_coloured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = table_of(LON, LAT)
    plan = plan_of_places(places)
    run = write_place_run(tmp_path / "run", places, plan)
    monkeypatch.setattr(place_quicklook, "MAX_PLACE_SHARDS", 2)
    written = words(draw_places(run, plan, ["pca"]))
    assert "Colours: an even sample of 12 of 60 embeddings." in written


def test_some_places_are_drawn_alone(tmp_path: Path) -> None:
    places = table_of(LON, LAT)
    plan = plan_of_places(places)
    run = write_place_run(tmp_path / "run", places, plan)
    chosen = plan.lat > 60
    figure = draw_places(run, plan, ["pca"], chosen=chosen)
    dots = figure.axes[0].collections[0].get_offsets()
    assert len(dots) == chosen.sum()


@pytest.mark.parametrize("failed", [range(60), ()], ids=["all failed", "none done"])
def test_a_run_without_an_embedding_is_drawn_all_the_same(
    tmp_path: Path, failed: range | tuple[()]
) -> None:
    # The picture is drawn when a run ends, however it ended.
    places = table_of(LON, LAT)
    plan = plan_of_places(places)
    run = write_place_run(tmp_path / "run", places, plan, failed=failed, only=None if failed else 0)
    written = words(draw_places(run, plan, LAYERS))
    assert ("failed (60)" in written) is bool(failed)
    assert ("60 places are not done yet." in written) is not bool(failed)


def test_rows_that_were_skipped_are_counted(tmp_path: Path) -> None:
    run = write_places(tmp_path / "run").run
    plan = run.plan()
    assert isinstance(plan, PlacePlan)
    assert "1 row of the table was skipped." in words(draw_places(run, plan, ["pca"]))


def test_a_run_without_vectors_has_no_picture_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_places(tmp_path / "run", pooled=False, centre=False, grid=True, quicklook=True)
    assert "quicklook.png is not drawn" in caplog.text
    assert not (tmp_path / "run" / "quicklook.png").exists()
