"""If these fail, luck with the folds is reported as a better model, or the other way round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from thor_geo.errors import ConfigError
from thor_geo.probe import ProbeSpec, open_labels, run
from thor_geo.probe.curve import Evaluation, Point, Problem
from thor_geo.probe.differences import Difference
from thor_geo.probe.finding import finding
from thor_geo.probe.folds import Folds, divide
from thor_geo.probe.metrics import Score
from thor_geo.probe.report_lines import noise_lines
from thor_geo.probe.seeds import SeedNoise, noise_json, other_folds, seed_noise
from thor_geo.runs.opened_run import OpenedRun

N = 40


def divided(spec: ProbeSpec, count: int = 2) -> Folds:
    order = np.random.default_rng(spec.seed).permutation(N)
    parts = np.array_split(order, count)
    return Folds(
        block=np.arange(N) // 4,
        blocks=N // 4,
        block_m=1000.0,
        buffer_m=0.0,
        across_m=0.0,
        splits=tuple((np.setdiff1d(order, part), np.sort(part)) for part in parts),
        buffered=0,
        words=f"{count} folds of 10 blocks",
    )


def scored(features: str, value: float, model: Any = "linear") -> Evaluation:
    scores = {
        name: Score(value + k / 100, 0.0, 1.0)
        for k, name in enumerate(("macro_f1", "accuracy", "balanced_accuracy", "miou", "kappa"))
    }
    point = Point(fraction=1.0, labels=20, repeats=1, scores=scores)
    return Evaluation(features=features, model=model, curve=(point,), predictions=np.zeros(N))


def noise_of(ours: list[float], bands: list[float]) -> SeedNoise:
    spec = ProbeSpec(seed=7, seed_noise=len(ours) - 1)
    problem = Problem(
        task="classification", targets=np.zeros(N), classes=2, folds=divided(spec), spec=spec
    )
    others = other_folds(problem.folds, spec, divided)

    def evaluate_all(each: Problem) -> list[Evaluation]:
        k = each.spec.seed - 7
        return [scored("embeddings", ours[k]), scored("bands", bands[k])]

    return seed_noise(problem, evaluate_all(problem), others, evaluate_all)


def test_each_round_has_folds_and_a_seed_of_its_own() -> None:
    spec = ProbeSpec(seed=7, seed_noise=3)
    others = other_folds(divided(spec), spec, divided)
    assert [settings.seed for settings, _ in others] == [8, 9, 10]
    tests = {folds.splits[0][1].tobytes() for _, folds in others}
    assert len(tests) == 3
    assert other_folds(divided(spec), replace(spec, seed_noise=0), divided) == ()


def test_differences_are_taken_fold_by_fold() -> None:
    """What is easy for both in one division is no part of the difference's spread."""
    noise = noise_of([0.6, 0.7, 0.8], [0.5, 0.6, 0.7])
    assert noise.seeds == (7, 8, 9)
    score = noise.scores["embeddings", "linear"]["macro_f1"]
    gained = noise.differences["bands", "linear"]["macro_f1"]
    assert (score.lowest, score.highest) == (0.6, 0.8)
    assert score.deviation == pytest.approx(0.1)
    np.testing.assert_allclose(gained.values, 0.1)
    assert gained.deviation == pytest.approx(0)
    lines = "\n".join(noise_lines(noise, "classification"))
    assert "macro F1 with 3 divisions into folds" in lines
    assert "THOR minus raw bands  +0.100 to +0.100, SD 0.000" in lines
    entries = noise_json(noise)["differences"]
    assert entries[0]["features"] == "bands"
    assert len(entries[0]["scores"]["kappa"]["values"]) == 3


def better_than_bands() -> tuple[Any, ...]:
    """Return what a finding is made of where THOR is better than raw bands by 0.10."""
    evaluations = [scored("embeddings", 0.6), scored("bands", 0.5), scored("none", 0.1, "chance")]
    better = {"macro_f1": Score(0.1, 0.05, 0.15)}
    differences = [
        Difference(model="linear", features=features, scores=better)
        for features in ("bands", "none")
    ]
    spec = ProbeSpec()
    return "crop", "classification", evaluations, differences, divided(spec), spec


def test_a_difference_whose_sign_hangs_on_the_folds_is_said_to() -> None:
    noise = noise_of([0.6, 0.7, 0.8], [0.5, 0.6, 0.9])
    arguments = better_than_bands()
    assert finding(*arguments).endswith("THOR is better by 0.10 [0.05, 0.15].")
    assert finding(*arguments, noise).endswith(
        "[0.05, 0.15], though THOR is ahead in 2 of 3 divisions into folds."
    )


def test_a_division_without_a_score_says_nothing_against_a_difference() -> None:
    arguments = better_than_bands()
    ahead = noise_of([0.6, 0.7, float("nan")], [0.5, 0.6, 0.7])
    assert finding(*arguments, ahead).endswith("THOR is better by 0.10 [0.05, 0.15].")
    mixed = noise_of([0.6, 0.7, float("nan")], [0.5, 0.8, 0.7])
    assert finding(*arguments, mixed).endswith(
        ", though THOR is ahead in 1 of 2 divisions into folds (1 more without a macro F1)."
    )


def test_seeds_that_change_nothing_are_refused() -> None:
    """One fold for each group is the same whatever the seed: its spread would be 0."""
    spec = ProbeSpec(seed_noise=3)
    same = divided(spec)
    with pytest.raises(ConfigError, match="divided the same way whatever the seed"):
        other_folds(same, spec, lambda _: same)


def test_seeds_that_change_nothing_are_refused_before_pixels_are_fetched(
    opened: OpenedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetching composites may take hours."""
    halves = [shapely.box(9, 59, 10.7, 61), shapely.box(10.7, 59, 14, 61)]
    path = tmp_path / "halves.gpkg"
    gpd.GeoDataFrame({"kind": [1.5, 2.5]}, geometry=halves, crs=4326).to_file(path)

    def same(samples: Any, *_: Any) -> Folds:
        index = np.arange(len(samples))
        parts = ((index[::2], index[1::2]), (index[1::2], index[::2]))
        return replace(divided(ProbeSpec()), block=index, blocks=len(index), splits=parts)

    monkeypatch.setattr(run, "divide_samples", same)
    monkeypatch.setattr(run, "band_sides", lambda *_, **__: pytest.fail("pixels were fetched"))
    with pytest.raises(ConfigError, match="divided the same way whatever the seed"):
        run.probe_run(opened, open_labels(path, "kind"), ProbeSpec(seed_noise=1))


def test_a_seed_that_cannot_divide_is_named() -> None:
    def fails(spec: ProbeSpec) -> Folds:
        raise ConfigError("--folds", 5, "no sample left", "Give fewer.")

    spec = ProbeSpec(seed_noise=1)
    with pytest.raises(ConfigError) as error:
        other_folds(divided(spec), spec, fails)
    assert "--seed 1" in error.value.__notes__[0]


def patches() -> tuple[Any, Any, np.ndarray]:
    """Return samples and labels of 16 blocks, each with a mixture of three classes of its own."""
    rng, block = np.random.default_rng(1), np.repeat(np.arange(16), 16)
    shares = rng.dirichlet([0.7, 0.7, 0.7], 16)
    values = np.array([float(rng.choice(3, p=shares[k])) for k in block])
    samples = SimpleNamespace(vectors=np.zeros((len(block), 1)), values=values)
    return samples, SimpleNamespace(task="classification"), block


def test_other_seeds_deal_blocks_anew() -> None:
    """The usual division spreads classes best, whatever the seed: it would show no noise at all."""
    samples, labels, block = patches()

    def divisions(**settings: Any) -> int:
        found = set()
        for seed in range(20):
            spec = ProbeSpec(seed=seed, **settings)
            found.add(
                frozenset(test.tobytes() for _, test in divide(samples, labels, spec, block, 5))
            )
        return len(found)

    assert divisions() <= 2
    assert divisions(dealt=True) == 20


def test_dealt_folds_are_whole_blocks_with_their_share_of_each_class() -> None:
    samples, labels, block = patches()
    for seed in range(5):
        parts = divide(samples, labels, ProbeSpec(seed=seed, dealt=True), block, 5)
        tested = np.concatenate([test for _, test in parts])
        assert sorted(tested.tolist()) == list(range(len(block)))
        for train, test in parts:
            assert not set(block[train]) & set(block[test])
            assert sorted([*train, *test]) == list(range(len(block)))
            assert set(samples.values[train]) == {0, 1, 2}
        for value in (0, 1, 2):
            counts = [int((samples.values[test] == value).sum()) for _, test in parts]
            assert max(counts) < 2.5 * np.mean(counts)
