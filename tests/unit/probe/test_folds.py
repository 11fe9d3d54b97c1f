"""Folds and learning curves: what a random split would hide is kept out of training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyproj import Geod, Transformer

from tests.support.synthetic_run import TWO_ZONES, plan_of
from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.probe import ProbeSpec
from thor_geo.probe.blocks import block_numbers, make_folds
from thor_geo.probe.curve import Problem, curve_sizes, draw_labels
from thor_geo.probe.folds import Folds
from thor_geo.probe.growing import evaluate
from thor_geo.probe.samples import Counts, Samples
from thor_geo.probe.spec import Task

RNG = np.random.default_rng(0)
COUNTS = Counts(labelled=0, unlabelled=0, thin=0, without_embedding=0, thinned=0)


def field(side: int = 40, step: float = 160.0) -> Samples:
    """Return cells whose vectors and values vary smoothly, as landscapes do."""
    positions = np.arange(side, dtype=np.float64) * step
    x, y = (a.ravel().astype(np.float64) for a in np.meshgrid(positions, positions))
    waves = [np.sin(x / 900 + k) * np.cos(y / 700 - k) for k in range(6)]
    vectors = np.stack(waves, axis=1) + RNG.normal(size=(len(x), 6)) * 0.05
    # Labels that come in patches of some cells, and are not in the vectors.
    patches = RNG.integers(0, 3, (side // 5, side // 5)).repeat(5, axis=0).repeat(5, axis=1)
    return Samples(
        unit="cells",
        side=step,
        vectors=vectors.astype(np.float32),
        values=patches.ravel().astype(np.float64),
        tile=np.zeros(len(x), dtype=np.int64),
        epsg=np.full(len(x), 32632, dtype=np.int64),
        x=np.asarray(x + 600_000.0 + step / 2),
        y=np.asarray(y + 6_640_000.0 + step / 2),
        tied=np.zeros(len(x), dtype=np.bool_),
        counts=COUNTS,
    )


def labels(task: Task = "classification") -> Any:
    return SimpleNamespace(task=task, name="kind", class_of=lambda code: f"class {code:g}")


def problem(samples: Samples, folds: Folds, spec: ProbeSpec) -> Problem:
    return Problem(
        task="classification",
        targets=samples.values.astype(np.int64),
        classes=3,
        folds=folds,
        spec=spec,
    )


def test_blocks_are_squares_on_the_lattice_of_the_tiles(plan: Plan) -> None:
    samples = field()
    block = block_numbers(samples, plan, 800)
    key = np.floor(samples.x / 800) * 1e6 + np.ceil(samples.y / 800)
    assert len(np.unique(block)) == block.max() + 1 == len(np.unique(key))
    for number in range(int(block.max()) + 1):
        members = block == number
        assert len(np.unique(key[members])) == 1
        assert np.ptp(samples.x[members]) < 800
        assert np.ptp(samples.y[members]) < 800


def test_no_block_is_in_training_and_in_testing(plan: Plan) -> None:
    samples = field()
    folds = make_folds(samples, labels(), plan, ProbeSpec(block_m=800))
    tested = np.concatenate([test for _, test in folds.splits])
    assert sorted(tested.tolist()) == list(range(len(samples)))
    for train, test in folds.splits:
        assert not set(folds.block[train].tolist()) & set(folds.block[test].tolist())
        assert len(train) + len(test) == len(samples)
    again = make_folds(samples, labels(), plan, ProbeSpec(block_m=800))
    assert all((a[1] == b[1]).all() for a, b in zip(folds.splits, again.splits, strict=True))


def test_training_samples_near_test_samples_are_left_out(plan: Plan) -> None:
    samples = field(20)
    folds = make_folds(samples, labels(), plan, ProbeSpec(block_m=800, buffer_m=480))
    positions = np.stack([samples.x, samples.y], axis=1)
    left = 0
    for train, test in folds.splits:
        distance = np.abs(positions[train][:, None] - positions[test][None]).max(axis=2)
        assert distance.min() >= 480
        left += len(samples) - len(train) - len(test)
    assert folds.buffered == left > 0


def test_tiles_that_overlap_share_no_pixel_with_test_tiles(plan: Plan) -> None:
    lattice = replace(plan.lattices[0], stride=144)
    overlapping: Any = SimpleNamespace(lattices=(lattice,))
    samples = replace(field(30, 1440.0), unit="tiles", side=2880.0)
    folds = make_folds(samples, labels(), overlapping, ProbeSpec(block_m=14_400))
    assert folds.buffer_m == 2880
    positions = np.stack([samples.x, samples.y], axis=1)
    for train, test in folds.splits:
        assert np.abs(positions[train][:, None] - positions[test][None]).max(axis=2).min() >= 2880


@pytest.mark.parametrize("buffer", [None, 0, 1000])
def test_training_cells_keep_their_distance_across_a_zones_edge(buffer: float | None) -> None:
    """Cells of two zones may lie on the same ground: a split between them tests on what it saw."""
    plan = plan_of(TWO_ZONES)
    near = field(30, 320)
    places = {}
    for epsg in (32632, 32633):  # squares of 9.6 km about the same point of the edge
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(12.0, 60.0)
        places[epsg] = (near.x - near.x.mean() + x, near.y - near.y.mean() + y)
    (ax, ay), (bx, by) = places.values()
    samples = replace(
        near,
        vectors=np.tile(near.vectors, (2, 1)),
        values=np.tile(near.values, 2),
        tile=np.tile(near.tile, 2),
        epsg=np.repeat(list(places), len(near)),
        x=np.concatenate([ax, bx]),
        y=np.concatenate([ay, by]),
    )
    lon, lat = (np.empty(len(samples)) for _ in range(2))
    for epsg in places:
        members = samples.epsg == epsg
        to_lonlat = Transformer.from_crs(epsg, 4326, always_xy=True)
        lon[members], lat[members] = to_lonlat.transform(samples.x[members], samples.y[members])
    folds = make_folds(samples, labels(), plan, ProbeSpec(block_m=3200, buffer_m=buffer))
    least = max(buffer or 0, samples.side)
    assert folds.across_m == pytest.approx(least * 2**0.5)
    assert folds.buffered > 0
    for train, test in folds.splits:
        a, b = np.meshgrid(train, test, indexing="ij")
        other = samples.epsg[a] != samples.epsg[b]
        a, b = a[other], b[other]
        metres = Geod(ellps="WGS84").inv(lon[a], lat[a], lon[b], lat[b])[2]
        assert metres.min() >= least * 2**0.5


def test_a_random_split_flatters_smooth_labels(plan: Plan) -> None:
    """The leak that blocks are there for: neighbours of test samples give their labels away."""
    samples = field()
    spec = ProbeSpec(block_m=800, fractions=(1.0,), neighbours=1)
    place = np.stack([samples.x, samples.y], axis=1)
    results = {}
    for split in ("random", "blocks"):
        asked = replace(spec, split=split)
        folds = make_folds(samples, labels(), plan, asked)
        made = evaluate(problem(samples, folds, asked), "embeddings", place, "knn")
        results[split] = made.scores["accuracy"]
    assert results["random"].value > 0.85
    # Patches are drawn anew beyond a block's edge: a third is chance.
    assert results["blocks"].value < 0.5
    assert results["random"].low > results["blocks"].high


def test_shuffled_labels_give_chance(plan: Plan) -> None:
    samples = field()
    true = (samples.vectors[:, 0] > 0) + (samples.vectors[:, 1] > 0.3).astype(float)
    mixed = RNG.permutation(true)
    spec = ProbeSpec(block_m=800, fractions=(1.0,))
    results = []
    for values in (true, mixed):
        result = replace(samples, values=values)
        folds = make_folds(result, labels(), plan, spec)
        made = evaluate(problem(result, folds, spec), "embeddings", result.vectors, "linear")
        results.append(made.scores["balanced_accuracy"].value)
    assert results[0] > 0.8
    assert abs(results[1] - 1 / 3) < 0.05


def test_curves_have_the_shares_of_every_class_and_whole_test_parts(plan: Plan) -> None:
    samples = field()
    rare = np.where(np.arange(len(samples)) % 100 == 0, 2.0, samples.values % 2)
    samples = replace(samples, values=rare)
    spec = ProbeSpec(block_m=800, fractions=(0.05, 0.5, 1.0), counts=(100, 10**6))
    folds = make_folds(samples, labels(), plan, spec)
    asked = problem(samples, folds, spec)
    assert curve_sizes(asked) == [(0.05, None), (None, 100), (0.5, None), (1.0, None)]
    train = folds.splits[0][0]
    parts = [
        draw_labels(asked, train, size, np.random.default_rng(4)) for size in curve_sizes(asked)
    ]
    for small, large in pairwise(parts):
        assert set(small.tolist()) < set(large.tolist()) <= set(train.tolist())
    whole = np.bincount(asked.targets[train])
    np.testing.assert_allclose(np.bincount(asked.targets[parts[2]]), whole / 2, atol=0.5)
    tiny = draw_labels(asked, train, (0.001, None), np.random.default_rng(4))
    assert np.bincount(asked.targets[tiny], minlength=3).min() >= 1
    made = evaluate(asked, "embeddings", samples.vectors, "knn")
    assert [point.repeats for point in made.curve] == [3, 3, 3, 1]
    assert made.curve[-1].labels == np.mean([len(part) for part, _ in folds.splits])


@pytest.mark.parametrize(
    ("values", "spec", "match"),
    [
        (np.zeros(1600), ProbeSpec(), "no label other than"),
        (np.arange(1600) % 2, ProbeSpec(block_m=1e6), r"only \d blocks? with 1,600 samples"),
        (
            np.arange(1600) == 0,
            ProbeSpec(block_m=800),
            r"class '?1'? \(1\) lie in one block",
        ),
        (np.arange(1600) % 2, ProbeSpec(block_m=100), "smaller than the 160 m"),
        (
            np.arange(1600),
            ProbeSpec(split="random"),
            "each of its 1,600 labels is a class of its own",
        ),
    ],
)
def test_folds_that_say_nothing_are_refused(
    values: np.ndarray, spec: ProbeSpec, match: str, plan: Plan
) -> None:
    samples = replace(field(), values=values.astype(np.float64))
    with pytest.raises(ConfigError, match=match):
        make_folds(samples, labels(), plan, spec)


def test_numbers_need_no_classes(plan: Plan) -> None:
    samples = field(10)
    few = replace(samples, values=samples.x).take(np.arange(3))
    with pytest.raises(ConfigError, match="labels meet 3 samples"):
        make_folds(few, labels("regression"), plan, ProbeSpec(block_m=800))
    assert len(make_folds(samples, labels("regression"), plan, ProbeSpec(block_m=320)).splits) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"folds": 1},
        {"split": "chessboard"},
        {"block_m": 0},
        {"buffer_m": -1},
        {"fractions": (0.0,)},
        {"counts": (1,)},
        {"min_cover": 1.1},
        {"on": "pixels"},
        {"max_samples": 1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ProbeSpec(**wrong)
