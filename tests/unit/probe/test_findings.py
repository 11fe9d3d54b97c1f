"""If these fail, a report claims a difference that is not there, or hides one that is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from thor_geo.probe.curve import Evaluation, Point
from thor_geo.probe.differences import Difference, paired_differences, shows
from thor_geo.probe.finding import few_blocks, finding, small_classes
from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import Score, block_scores
from thor_geo.probe.report_lines import score_cell
from thor_geo.probe.spec import ProbeSpec

BLOCKS, EACH = 16, 25
TRUTH = np.random.default_rng(0).integers(0, 3, BLOCKS * EACH)
BLOCK = np.repeat(np.arange(BLOCKS), EACH)


def folds() -> Folds:
    index = np.arange(len(TRUTH))
    return Folds(
        block=BLOCK,
        blocks=BLOCKS,
        block_m=1000.0,
        buffer_m=0.0,
        across_m=0.0,
        splits=((index[200:], index[:200]), (index[:200], index[200:])),
        buffered=0,
        words="2 folds of 16 blocks of 1000 m",
    )


def evaluation(features: str, predictions: np.ndarray, model: Any = "linear") -> Evaluation:
    scores = block_scores("classification", TRUTH, predictions, BLOCK, classes=3)
    point = Point(fraction=1.0, labels=200, repeats=1, scores=scores)
    return Evaluation(features=features, model=model, curve=(point,), predictions=predictions)


def guessed(wrong: float, seed: int) -> np.ndarray:
    """Return predictions of which a share is wrong, more in some blocks than in others."""
    rng = np.random.default_rng(seed)
    hard = np.linspace(0, 2 * wrong, BLOCKS)[BLOCK]
    return np.where(rng.random(len(TRUTH)) < hard, (TRUTH + 1) % 3, TRUTH)


CHANCE = evaluation("none", np.zeros_like(TRUTH), "chance")


def compare(*evaluations: Evaluation) -> tuple[Difference, ...]:
    return paired_differences(evaluations, TRUTH, folds(), "classification", 3, 0)


def said(*evaluations: Evaluation, **spec: Any) -> str:
    found = compare(*evaluations)
    return finding("crop", "classification", evaluations, found, folds(), ProbeSpec(**spec))


def test_equal_predictions_differ_by_exactly_nothing() -> None:
    ours, bands = evaluation("embeddings", guessed(0.3, 1)), evaluation("bands", guessed(0.3, 1))
    (difference, _) = compare(ours, bands, CHANCE)
    assert difference.features == "bands"
    assert set(difference.scores.values()) == {Score(0.0, 0.0, 0.0)}


def test_a_pair_is_compared_on_the_same_blocks() -> None:
    """Blocks are hard for both: intervals overlap widely, and the difference is certain."""
    worse = guessed(0.3, 1)
    better = np.where(np.arange(len(TRUTH)) % 8 == 0, TRUTH, worse)
    ours, bands = evaluation("embeddings", better), evaluation("bands", worse)
    (difference, _) = compare(ours, bands, CHANCE)
    a, b, gained = (x.scores["accuracy"] for x in (ours, bands, difference))
    assert a.low < b.value < b.high
    assert gained.value == pytest.approx(a.value - b.value)
    assert gained.low > 0
    assert gained.high - gained.low < (a.high - a.low) / 2


def test_each_model_is_compared_with_its_own_kind() -> None:
    everything = [
        evaluation(features, guessed(0.3, k), model)
        for k, (features, model) in enumerate(
            [("embeddings", "linear"), ("embeddings", "knn"), ("bands", "linear"), ("bands", "knn")]
        )
    ]
    found = {(d.model, d.features): d for d in compare(*everything, CHANCE)}
    assert set(found) == {
        (model, features) for model in ("linear", "knn") for features in ("bands", "none")
    }
    gained = found["knn", "bands"].scores["kappa"].value
    assert gained == pytest.approx(
        everything[1].scores["kappa"].value - everything[3].scores["kappa"].value
    )


def test_the_sentence_says_no_more_than_the_interval() -> None:
    ours = evaluation("embeddings", guessed(0.3, 1))
    same = said(ours, evaluation("bands", guessed(0.3, 2)), CHANCE)
    score = ours.scores["macro_f1"]
    assert same.startswith(
        f"THOR tells crop on unseen ground with macro F1 {score.value:.2f} "
        f"[{score.low:.2f}, {score.high:.2f}] (chance 0."
    )
    assert same.endswith(": no difference that these 16 blocks can show.")
    aef = evaluation("aef", np.where(np.arange(len(TRUTH)) % 2, TRUTH, guessed(0.3, 1)))
    bands = evaluation("bands", guessed(0.49, 3))
    both = said(ours, bands, aef, CHANCE)
    assert "; raw bands 0.5" in both
    assert ": THOR is better by 0." in both
    assert f"; aef {aef.scores['macro_f1'].value:.2f}, better by 0." in both


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({}, "on unseen ground"),
        ({"split": "random"}, "among its neighbours (random split)"),
        ({"group": "country"}, "in another country"),
        ({"split_date": dt.date(2021, 1, 1)}, "from 2021-01-01 on"),
    ],
)
def test_the_sentence_says_where_it_was_tested(spec: dict[str, Any], where: str) -> None:
    ours = evaluation("embeddings", guessed(0.3, 1))
    assert said(ours, CHANCE, **spec).startswith(f"THOR tells crop {where} with macro F1 ")


def test_a_probe_that_knows_nothing_is_not_praised() -> None:
    ours = evaluation("embeddings", np.random.default_rng(9).permutation(CHANCE.predictions))
    sentence = said(ours, CHANCE)
    assert sentence.startswith("THOR does not tell crop on unseen ground better than chance, as ")
    assert sentence.endswith(f"chance {CHANCE.scores['macro_f1'].value:.2f}.")


def test_less_than_zero_is_a_difference_too() -> None:
    assert [shows(Score(0, *ends)) for ends in ((0.1, 1), (-1, -0.1), (-1, 1), (0, 0))] == [
        1,
        -1,
        0,
        0,
    ]
    assert shows(Score(0, float("nan"), float("nan"))) == 0


def test_draws_of_the_same_blocks_have_no_interval() -> None:
    """Of two blocks with a class each, only the draws that have both count: all are the same."""
    truth = np.repeat([0, 1], 20)
    made = np.where(np.arange(40) % 4 == 0, 1 - truth, truth)
    scores = block_scores("classification", truth, made, truth, classes=2)
    assert scores["macro_f1"].value == 0.75
    assert np.isnan(scores["macro_f1"][1:]).all()
    assert scores["accuracy"] == Score(0.75, 0.75, 0.75)
    assert score_cell(scores["macro_f1"]) == "0.750"
    assert score_cell(scores["accuracy"]) == "0.750 [0.750, 0.750]"


def test_rare_classes_are_named() -> None:
    targets = np.array([0] * 9 + [1] * 4 + [2])
    (warning,) = small_classes(["maize", "oats", "rye"], targets)
    assert warning.startswith("classes with fewer than 5 samples (oats has 4, rye has 1): ")
    assert small_classes(["maize"], targets[:9]) == ()


def test_nothing_is_not_less_than_zero() -> None:
    """`chance -0.00` of a regression made readers look for the sign's meaning."""
    zero = Score(-0.004, -0.2, 0.001)
    ours = Point(fraction=1.0, labels=9, repeats=1, scores={"r2": Score(0.9, 0.8, 0.95)})
    none = Point(fraction=1.0, labels=9, repeats=1, scores={"r2": zero})
    evaluations = [
        Evaluation(features=f, model=m, curve=(point,), predictions=TRUTH)  # type: ignore[arg-type]
        for f, m, point in (("embeddings", "linear", ours), ("none", "chance", none))
    ]
    gained = {"r2": Score(0.9, 0.8, 0.95)}
    difference = Difference(model="linear", features="none", scores=gained)
    sentence = finding("ndvi", "regression", evaluations, [difference], folds(), ProbeSpec())
    assert sentence == (
        "THOR predicts ndvi on unseen ground with R² 0.90 [0.80, 0.95] (chance 0.00)."
    )


@pytest.mark.parametrize(("blocks", "warned"), [(1, False), (2, True), (9, True), (10, False)])
def test_intervals_of_few_blocks_are_warned_of(blocks: int, warned: bool) -> None:
    few = replace(folds(), block=BLOCK * blocks // BLOCKS, blocks=blocks)
    expected = (
        f"only {blocks} blocks: intervals drawn from fewer than about 10 may be far too narrow",
    )
    assert few_blocks(few) == (expected if warned else ())


def test_identical_vectors_are_called_so() -> None:
    ours, copy = evaluation("embeddings", guessed(0.3, 1)), evaluation("copy", guessed(0.3, 1))
    every = (ours, copy, CHANCE)
    found = compare(*every)
    arguments = ("crop", "classification", every, found, folds(), ProbeSpec())
    assert finding(*arguments).endswith("no difference that these 16 blocks can show.")
    assert finding(*arguments, identical={"copy"}).endswith(": identical vectors.")


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert score_cell(Score(-0.0002, -0.005, 0.007), signed=True) == "0.000 [-0.005, +0.007]"
    assert score_cell(Score(-0.0002, -0.005, 0.007)) == "0.000 [-0.005, 0.007]"
    assert score_cell(Score(0.0, -0.0, 0.0), signed=True) == "0.000 [0.000, 0.000]"
