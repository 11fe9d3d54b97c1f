"""If this fails, the benchmark of whole runs compares other things than it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.pipeline import largest_difference
from benchmarks.support.free import MAP, TOKENS, FreeEncoder
from benchmarks.support.ground import TILE, Ground
from benchmarks.support.predicting import Settings
from benchmarks.support.timing import compare
from thor_geo.ground.lattice import blocks_meeting


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(folder=tmp_path, across=1, down=1)


def test_the_ground_is_whole_shards(tmp_path: Path) -> None:
    ground = Ground(folder=tmp_path, across=2, down=3)
    plan = ground.plan
    assert len(plan) == ground.tiles == 6 * 64
    assert [len(shard) for shard in plan.shards] == [64] * 6
    assert set(ground.part(1, 1).plan.tiles(range(64))) <= set(plan.tiles(range(len(plan))))


def test_every_tile_is_cached_and_no_two_are_alike(ground: Ground) -> None:
    ground.fill()
    images = ground.images()
    assert {image.shape for image in images} == {(10, TILE, TILE)}
    assert len({image.tobytes() for image in images}) == 64
    store = ground.store
    tiles = ground.plan.tiles(range(64))
    assert all(store.get(block) for tile in tiles for block in blocks_meeting(tile, 576))


def test_the_encoder_that_costs_nothing() -> None:
    image = torch.zeros(3, 10, TILE, TILE)
    assert FreeEncoder(TOKENS, batch_size=4)(image).shape == (3, *TOKENS) == (3, 405, 768)
    assert FreeEncoder(MAP, batch_size=4)(image).shape == (3, *MAP) == (3, 768, 18, 18)
    assert torch.equal(FreeEncoder()(image), FreeEncoder()(image))


def test_settings_are_arguments_of_the_command(ground: Ground) -> None:
    from thor_geo.cli.arguments import with_whole_areas
    from thor_geo.cli.predict import make_cli
    from thor_geo.tasks import BackboneEmbeddingTask

    for model_key in (None, "thor_v1_tiny"):
        settings = Settings(ground=ground, model_key=model_key, pooled=False)
        arguments = settings.arguments(ground.folder / "run")[1:]
        cli = make_cli(with_whole_areas(arguments), run=False)
        assert isinstance(cli.model, BackboneEmbeddingTask) == (model_key is None)
        assert cli.writer.settings()["grid"] is True


def test_turns_and_differences() -> None:
    seconds = iter([3.0, 1.0, 5.0])
    calls = {"a": lambda: next(seconds), "b": lambda: 2.0}
    times = compare(calls, repeats={"a": 3, "b": 1}, warm_up=0)
    assert times["a"].seconds == (3.0, 1.0, 5.0)
    assert times["b"].seconds == (2.0,)
    vectors = {"x": np.array([1.0, 2.0])}
    assert largest_difference(vectors, {"x": np.array([1.0, 2.5])}) == 0.5
    assert largest_difference(vectors, {"y": np.array([1.0, 2.0])}) == float("inf")
