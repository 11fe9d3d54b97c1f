"""Folds of places: nothing near a test place is trained on, whatever divides them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyproj import Geod
from scipy.sparse.csgraph import connected_components

from thor_geo.errors import ConfigError
from thor_geo.ground.area import transformer
from thor_geo.probe import ProbeSpec
from thor_geo.probe.compared import compare_sides
from thor_geo.probe.curve import Contender, Problem
from thor_geo.probe.folds import Folds, geocentric
from thor_geo.probe.growing import evaluate
from thor_geo.probe.metrics import block_scores, json_scores
from thor_geo.probe.models import fit_linear
from thor_geo.probe.place_blocks import clusters, place_blocks
from thor_geo.probe.place_folds import place_folds
from thor_geo.probe.samples import Counts, PlaceSamples
from thor_geo.probe.spec import Task

COUNTS = Counts(labelled=0, unlabelled=0, thin=0, without_embedding=0, thinned=0)
DAY = 86_400_000_000
#: Of chips of 2,880 m.
REACH = 4101.0


def survey(
    lon: Any, lat: Any, *, values: Any = None, days: Any = 0, length: int = 90, group: Any = None
) -> PlaceSamples:
    """Return places with vectors that know their labels, in windows that begin on some days."""
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    n, rng = len(lon), np.random.default_rng(3)
    epsg = 32601 + np.floor((lon + 180) / 6).astype(np.int64)
    x, y = np.empty(n), np.empty(n)
    for code in np.unique(epsg).tolist():
        chosen = epsg == code
        change = transformer("OGC:CRS84", f"EPSG:{code}").transform
        x[chosen], y[chosen] = change(lon[chosen], lat[chosen])
    codes = np.arange(n) % 3 if values is None else np.asarray(values)
    vectors = rng.normal(size=(n, 8))
    vectors[:, 0] += 3 * codes
    starts = np.broadcast_to(np.asarray(days, dtype=np.int64) * DAY, n).copy()
    return PlaceSamples(
        unit="places",
        kind="pooled",
        side=2880.0,
        reach_m=REACH,
        vectors=vectors.astype(np.float32),
        values=codes.astype(np.float64),
        tile=np.arange(n),
        epsg=epsg,
        x=x,
        y=y,
        lon=lon,
        lat=lat,
        place=np.arange(n),
        starts=starts,
        ends=starts + length * DAY,
        group=None if group is None else np.array(group, dtype=object),
        tied=np.zeros(n, dtype=np.bool_),
        counts=COUNTS,
    )


def scattered(n: int = 300, seed: int = 0, side: float = 6.0, **options: Any) -> PlaceSamples:
    """Return places at random over some degrees on both sides of a zone's edge at 12 E."""
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(12 - side / 2, 12 + side / 2, n), rng.uniform(50, 50 + side / 2, n)
    return survey(lon, lat, **options)


def labels(task: Task = "classification") -> Any:
    return SimpleNamespace(task=task, name="kind", names={}, class_of=lambda code: f"c{code:g}")


def metres(samples: PlaceSamples, a: Any, b: Any) -> np.ndarray:
    """Return the geodesic distances between two lists of places, (len(a), len(b))."""
    a, b = np.meshgrid(a, b, indexing="ij")
    lon, lat = samples.lon, samples.lat
    return np.asarray(Geod(ellps="WGS84").inv(lon[a], lat[a], lon[b], lat[b])[2])


def nearest(samples: PlaceSamples, folds: Folds) -> float:
    """Return the least distance of a training place from a test place of the same fold."""
    return min(float(metres(samples, train, test).min()) for train, test in folds.splits)


def problem(samples: PlaceSamples, folds: Folds, spec: ProbeSpec) -> Problem:
    targets = samples.values.astype(np.int64)
    return Problem(
        task="classification",
        targets=targets,
        classes=int(targets.max()) + 1,
        folds=folds,
        spec=spec,
    )


def test_clusters_are_the_connected_parts_of_the_graph_of_near_places() -> None:
    samples = scattered(200, side=2.0)
    found = clusters(geocentric(samples.lon, samples.lat), 9_000)
    everyone = np.arange(200)
    _, expected = connected_components(metres(samples, everyone, everyone) < 9_000)
    assert 5 < found.max() + 1 < 150
    assert len({*zip(found.tolist(), expected.tolist(), strict=True)}) == found.max() + 1
    assert found.max() == expected.max()


def test_scattered_places_nearer_than_10_km_are_never_in_different_folds() -> None:
    """The promise of the report; 10 km also hold across the zone's edge at 12 E."""
    samples = scattered()
    folds = place_folds(samples, labels(), ProbeSpec())
    tested = np.concatenate([test for _, test in folds.splits])
    assert sorted(tested.tolist()) == list(range(len(samples)))
    assert folds.buffered == 0
    assert sum(map(len, folds.splits[0])) == len(samples)
    assert 10_000 <= nearest(samples, folds) < 12_000
    assert len(folds.splits) == 5
    words = f"5 folds of {folds.blocks} clusters of places at least 10 km apart"
    assert (folds.words, folds.detail, folds.block_m) == (words, "", 10_000)
    assert place_folds(samples, labels(), ProbeSpec(block_m=30_000)).block_m == 30_000


def test_places_that_chain_together_are_divided_by_squares_and_a_buffer() -> None:
    """Single linkage alone would put a dense survey into one block."""
    rng = np.random.default_rng(1)
    samples = survey(rng.uniform(11, 13, 3000), rng.uniform(50, 51.3, 3000))
    folds = place_folds(samples, labels(), ProbeSpec())
    assert folds.drawn == "squares"
    assert "squares of 20 km, 10 km kept" in folds.words
    assert "the largest with 100% of all" in folds.detail
    assert 10_000 <= nearest(samples, folds) < 11_000
    assert folds.buffered > 0
    assert min(len(train) for train, _ in folds.splits) > 0.25 * len(samples)


def test_places_of_one_valley_are_divided_at_a_distance_without_common_pixels() -> None:
    """10 km would leave nothing to test; the report says what it is instead."""
    samples = scattered(60, side=0.7)
    folds = place_folds(samples, labels(), ProbeSpec())
    assert folds.block_m == REACH
    assert nearest(samples, folds) >= REACH
    assert "4.1 km" in folds.words
    assert folds.detail.startswith("tried first, too few or too uneven: ")
    assert "10 km apart" in folds.detail


def test_a_distance_that_was_asked_for_is_not_replaced() -> None:
    samples = scattered(60, side=0.7)
    with pytest.raises(ConfigError, match=r"block_m|--block-m") as caught:
        place_folds(samples, labels(), ProbeSpec(block_m=20_000))
    message = str(caught.value)
    assert "60 places make too few blocks for 5 folds" in message
    assert "1 cluster of places at least 20 km apart, the largest with 100%" in message
    assert "--group COLUMN" in message


def test_one_place_in_two_years_is_in_one_block() -> None:
    samples = scattered(100)
    twice = survey(np.tile(samples.lon, 2), np.tile(samples.lat, 2), days=np.repeat([0, 400], 100))
    block = place_blocks(twice, ProbeSpec()).block
    np.testing.assert_array_equal(block[:100], block[100:])


def test_each_group_is_tested_by_a_probe_that_never_saw_it() -> None:
    country = np.array(["AT", "DE", "CZ"])[np.arange(300) * 7 // 700 % 3].tolist()
    country = [("AT", "DE", "CZ")[k // 7 % 3] for k in range(300)]
    samples = scattered(group=country)
    folds = place_folds(samples, labels(), ProbeSpec(group="country"))
    assert [set(samples.group[test]) for _, test in folds.splits] == [{"AT"}, {"CZ"}, {"DE"}]
    assert folds.words == "3 folds, one for each country"
    assert folds.drawn == "groups by country"
    for train, test in folds.splits:
        assert not set(samples.group[train]) & set(samples.group[test])
    farms = scattered(group=[f"farm {k % 40}" for k in range(300)])
    several = place_folds(farms, labels(), ProbeSpec(group="farm", folds=4))
    assert len(several.splits) == 4
    assert several.blocks == 40
    for train, test in several.splits:
        assert not set(farms.group[train]) & set(farms.group[test])


def test_groups_that_share_pixels_are_kept_apart_unless_they_were_seen_at_other_times() -> None:
    """Fields on both sides of a border lie in one chip; the next year's composite is another."""
    samples = scattered(200, side=1.5, group=[str(k % 2) for k in range(200)])
    spec = ProbeSpec(group="side")
    folds = place_folds(samples, labels(), spec)
    assert folds.buffered > 0
    assert nearest(samples, folds) >= REACH
    assert "pixels" in folds.buffer_words
    years = replace(
        samples,
        starts=np.where(np.arange(200) % 2, 365 * DAY, 0),
        ends=np.where(np.arange(200) % 2, 730 * DAY, 365 * DAY),
    )
    assert place_folds(years, labels(), spec).buffered == 0
    assert nearest(years, place_folds(years, labels(), spec)) < REACH
    asked = place_folds(years, labels(), ProbeSpec(group="side", buffer_m=6_000))
    assert nearest(years, asked) >= 6_000
    assert place_folds(samples, labels(), ProbeSpec(group="side", buffer_m=0)).buffered == 0


def test_later_places_are_tested_by_what_was_known_before() -> None:
    rng = np.random.default_rng(5)
    days = rng.integers(0, 900, 300)
    samples = scattered(days=days, length=91)
    spec = ProbeSpec(split_date=dt.date(1971, 1, 1), fractions=(1.0,))
    folds = place_folds(samples, labels(), spec)
    ((train, test),) = folds.splits
    middle = days + 45.5
    np.testing.assert_array_equal(test, np.flatnonzero(middle >= 365))
    assert set(train.tolist()) <= set(np.flatnonzero(middle < 365).tolist())
    assert folds.buffered == (middle < 365).sum() - len(train)
    assert folds.words == f"trained before 1971-01-01, tested on {len(test)} places from then on"
    # The scores are those of the test places alone.
    made = evaluate(problem(samples, folds, spec), "embeddings", samples.vectors, "linear")
    linear = fit_linear(
        samples.vectors[train],
        samples.values[train].astype(np.int64),
        folds.block[train],
        "classification",
        0,
    )
    right = linear.scores(samples.vectors[test]).argmax(axis=1) == samples.values[test]
    assert made.scores["accuracy"].value == pytest.approx(right.mean())
    assert made.scores["accuracy"].value > 0.8
    np.testing.assert_array_equal(folds.tested, test)


def test_one_test_block_cannot_tell_a_difference() -> None:
    """Every draw of it is the same, so that low = high = the difference seemed certain."""
    rng = np.random.default_rng(1)
    lon = np.concatenate([rng.uniform(9, 15, 90), np.full(30, 17.0)])
    lat = np.concatenate([rng.uniform(50, 53, 90), np.full(30, 51.0)])
    samples = survey(lon, lat, days=np.where(np.arange(120) < 90, 0, 400))
    spec = ProbeSpec(split_date=dt.date(1971, 1, 1), fractions=(1.0,), neighbours=3)
    folds = place_folds(samples, labels(), spec)
    assert set(folds.tested_block) == {0}
    noise = rng.normal(size=samples.vectors.shape)
    contenders = [
        Contender(name="embeddings", features=samples.vectors, model="linear"),
        Contender(name="bands", features=noise, model="linear"),
        Contender(name="none", features=np.zeros((120, 1)), model="chance"),
    ]
    asked = problem(samples, folds, spec)
    made = [evaluate(asked, each.name, each.features, each.model) for each in contenders]
    found = compare_sides("crop", asked, contenders, made, ())
    gained = found.differences[0].scores["macro_f1"]
    assert gained.value > 0.3
    assert json_scores({"macro_f1": gained}) == {"macro_f1": [gained.value, None, None]}
    assert found.finding.startswith(
        "Whether THOR tells crop from 1971-01-01 on better than chance, this 1 cluster of places "
        f"cannot tell: macro F1 {made[0].scores['macro_f1'].value:.2f}, chance 0."
    )
    assert "; raw bands 0." in found.finding
    assert found.finding.endswith(": too few clusters of places to tell a difference.")


def test_a_class_that_only_trains_has_no_part_in_the_scores() -> None:
    truth = np.array([0, 0, 1, 1])
    scores = block_scores("classification", truth, np.array([0, 0, 1, 2]), np.arange(4), classes=3)
    assert scores["macro_f1"].value == pytest.approx((1 + 2 / 3) / 2)
    assert scores["balanced_accuracy"].value == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("spec", "options", "match"),
    [
        (
            ProbeSpec(split_date=dt.date(2031, 1, 1)),
            {},
            r"split.date.*300 places have their middles before it \(1970-02-15 to 1970-02-15",
        ),
        (ProbeSpec(split_date=dt.date(1960, 1, 1)), {}, "on or after it"),
        (ProbeSpec(group="country"), {"group": ["AT"] * 300}, "all 300 places have 'AT'"),
        (
            ProbeSpec(group="country"),
            {"group": [f"{k % 3}" for k in range(300)]},
            r"class 'c0' \(100\) \(and those of 2 other classes\).*--ignore c0,c1,c2",
        ),
        (ProbeSpec(), {"values": np.zeros(300)}, "no label other than 'c0'"),
        (ProbeSpec(folds=200), {}, "no class has more than 100 samples"),
        (ProbeSpec(), {"values": np.arange(300)}, "--target.*300 labels is a class of its own"),
        (
            ProbeSpec(split_date=dt.date(1970, 3, 1)),
            {"values": np.arange(300) >= 150, "days": np.where(np.arange(300) < 150, 0, 30)},
            "--split-date='1970-03-01'.*141 samples left to train on, all with the same label",
        ),
    ],
)
def test_divisions_that_say_nothing_are_refused(
    spec: ProbeSpec, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        place_folds(scattered(**options), labels(), spec)


def test_numbers_taken_for_classes_are_told_how_to_be_regressed() -> None:
    heights = labels()
    heights.class_of = int
    with pytest.raises(ConfigError, match="or --task regression if they are numbers"):
        place_folds(scattered(20, values=np.arange(20) // 2), heights, ProbeSpec())


def test_one_way_to_divide_places_at_a_time() -> None:
    for options in ({"group": "a", "split": "random"}, {"split_date": dt.date(2021, 1, 1)}):
        with pytest.raises(ConfigError, match="divide samples in different ways"):
            ProbeSpec(**{"group": "a", **options})


def test_settings_that_a_division_has_no_use_for_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`block_m=500`: group is given too.* Leave it out"):
        ProbeSpec(group="a", block_m=500)
    with pytest.raises(ConfigError, match=r"`folds=3`: split_date is given too.* Leave it out"):
        ProbeSpec(split_date=dt.date(2021, 1, 1), folds=3)


def test_random_folds_leave_nothing_out_and_draw_blocks_for_intervals() -> None:
    samples = scattered(200, side=1.5)
    folds = place_folds(samples, labels(), ProbeSpec(split="random"))
    assert (folds.buffered, folds.words) == (0, "5 random folds")
    assert 1 < folds.blocks < 200
    alone = survey([11.0] * 50, [50.0] * 50)
    assert place_folds(alone, labels(), ProbeSpec(split="random")).drawn == "places"


def test_a_planted_signal_is_found_and_shuffled_labels_are_at_chance() -> None:
    samples, spec = scattered(), ProbeSpec(fractions=(1.0,))
    mixed = replace(samples, values=np.random.default_rng(0).permutation(samples.values))
    found = []
    for each in (samples, mixed):
        folds = place_folds(each, labels(), spec)
        made = evaluate(problem(each, folds, spec), "embeddings", each.vectors, "linear")
        found.append(made.scores["balanced_accuracy"].value)
    assert found[0] > 0.85
    assert abs(found[1] - 1 / 3) < 0.1
