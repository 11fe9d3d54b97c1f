"""If this fails, docs/scale.md promises figures that do not follow from what was measured."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _costmodel as cost
from benchmarks import planet
from benchmarks._planet_tables import TABLES, Inputs
from benchmarks.preemption import (
    Fleet,
    exponential,
    replayed,
    shard_times,
    simulate,
    tiles_of_shards,
    traced,
)
from benchmarks.report import RESULTS, ROOT, renewed, table
from thor_geo.cli.arguments import with_whole_areas
from thor_geo.cli.predict import make_cli
from thor_geo.datamodules import CompositeDataModule
from thor_geo.ground.lattice import Block
from thor_geo.models import build_thor
from thor_geo.sources.earthengine.fetch import fetch_block
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee


@pytest.fixture(scope="module")
def given() -> Inputs:
    return Inputs.read()


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_page_are_the_scripts(given: Inputs, name: str) -> None:
    text = planet.DOCS.read_text()
    rows = TABLES[name](given)
    content = table(rows)
    assert renewed(text, {name: content}) == text, "run: python -m benchmarks.planet --docs"
    assert json.loads((RESULTS / "planet.json").read_text())["tables"][name] == rows


def test_the_pages_commands_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = re.findall(r"^thor-geo predict (.*)$", planet.DOCS.read_text(), re.MULTILINE)
    assert found
    for line in found:
        args = with_whole_areas(shlex.split(line.replace("run.yaml", "configs/gee_pooled.yaml")))
        cli = make_cli([*args, "--trainer.accelerator=cpu"], run=False)
        assert isinstance(cli.datamodule, CompositeDataModule)


def test_the_land_is_eighteen_million_tiles() -> None:
    assert cost.tile_km2() == pytest.approx(8.2944)
    assert cost.LAND_KM2 / cost.tile_km2() == pytest.approx(18e6, rel=0.01)


def test_outlines_add_up(given: Inputs) -> None:
    for name, found in given.outlines.items():
        assert found["squares"]["1"] == found["tiles"]
        for side, by_tiles in found["squares_by_tiles"].items():
            assert len(by_tiles) == int(side) ** 2
            assert sum(by_tiles) == found["squares"][side]
            tiles = sum(k * n for k, n in enumerate(by_tiles, start=1))
            assert tiles == found["tiles"], (name, side)


@pytest.mark.parametrize("side", [576, 1152, 1440, 2592])
def test_the_requests_of_a_block_are_those_that_fetching_makes(side: int) -> None:
    asked: list[str] = []

    def call(make: Any, what: str, stats: Any, order: int) -> int:
        asked.append(what)
        return 0

    sizes = SimpleNamespace(allows=lambda window: True, answered=lambda: None)
    client: Any = SimpleNamespace(sizes=sizes, call=call)
    block = Block(epsg=32632, resolution=10, size=side, left=0, top=side)
    fetch_block(client, block, None, [f"b{k}" for k in range(cost.PLANES)])
    assert len(asked) == cost.pixel_requests(side)


def test_the_largest_block_is_one_request_and_the_next_is_not() -> None:
    side = cost.largest_block()
    assert cost.pixel_requests(side) == 1 < cost.pixel_requests(side + cost.TILE)


def test_requests_take_as_long_as_their_slots() -> None:
    # 4,000 blocks, 0.5 s for the list and 1.5 s for the pixels: 8,000 s in 40 slots
    assert cost.fetch_seconds(4000, 576, 1.5, 0.5) == pytest.approx(200)
    # however fast the service answers, it takes 100 requests a second
    assert cost.fetch_seconds(5000, 576, 0.01, 0.01) == pytest.approx(100)


def test_quota_and_requests_are_used_up_together_where_the_page_says() -> None:
    eecu = cost.quota_binds_above(latency_s=5.0, tier=1000)
    blocks = 30 * 86_400 * 40 / 5.0
    assert cost.eecu_hours(round(blocks), eecu) == pytest.approx(1000)


def test_operations_are_those_that_the_encoder_does() -> None:
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    encoder = build_thor(
        "thor_v1_tiny", bands=channels, image_size=cost.TILE, patch_size=cost.PATCH
    ).encoder
    counter = FlopCounterMode(display=False)
    # in its plain form attention is made of products that the counter knows
    with counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        encoder(torch.zeros(1, len(channels), cost.TILE, cost.TILE))
    assert cost.encoder_flops("thor_v1_tiny") == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_an_undisturbed_run_takes_the_sum_of_its_shards() -> None:
    fleet = Fleet(nodes=1, jobs=1, tiles_per_s=2.0, batch_size=4, batch_s=1.0)
    times = shard_times(np.array([4, 5]), fleet)
    assert times.tolist() == [2 + 1, 2.5 + 2]
    outcome = simulate(times, fleet, exponential(math.inf, 0))
    assert outcome.wall_s == outcome.kept_s == outcome.busy_s == pytest.approx(7.5)
    assert (outcome.lost_s, outcome.interruptions) == (0, 0)


def test_a_shard_takes_as_long_as_the_slower_of_computing_and_writing() -> None:
    fleet = Fleet(nodes=1, jobs=1, tiles_per_s=1.0, write_shard_s=10.0, write_tile_s=0.5)
    assert shard_times(np.array([4, 64]), fleet).tolist() == [12, 64]


def test_interruptions_cost_what_theory_says() -> None:
    # A launch of length w survives with exp(-w / m); until one does, each costs its uptime and the
    # restart: (m + d) (exp(w / m) - 1) in the mean.
    mean, restart, start, shard = 100.0, 10.0, 5.0, 60.0
    jobs = 4000
    fleet = Fleet(nodes=1, jobs=jobs, tiles_per_s=1.0, start_s=start, restart_s=restart)
    outcome = simulate(np.full(jobs, shard), fleet, exponential(mean, 0))
    expected = (mean + restart) * (math.exp((start + shard) / mean) - 1)
    assert outcome.wall_s / jobs == pytest.approx(expected, rel=0.05)


def test_all_time_is_accounted_for() -> None:
    fleet = Fleet(nodes=1, jobs=7, tiles_per_s=1.0, start_s=2.0, restart_s=30.0)
    times = np.random.default_rng(0).uniform(5, 40, 500)
    outcome = simulate(times, fleet, traced([50.0, 300.0, 900.0], 0))
    assert outcome.interruptions > 0
    waiting = fleet.restart_s * outcome.interruptions
    assert outcome.wall_s == pytest.approx(outcome.busy_s + waiting)
    assert outcome.kept_s == pytest.approx(times.sum())


def test_smaller_shards_lose_less(given: Inputs) -> None:
    fleet = Fleet(nodes=8, jobs=64, tiles_per_s=2.0, start_s=20.0)
    lost = []
    for side in (2, 8, 16):
        tiles = tiles_of_shards(given.outlines["country"]["squares_by_tiles"][str(side)], 0)
        lost.append(simulate(shard_times(tiles, fleet), fleet, exponential(1800.0, 0)).lost_s)
    assert lost == sorted(lost)


def test_shard_times_can_be_those_of_a_run(tmp_path: Path) -> None:
    fleet = Fleet(nodes=1, jobs=1, tiles_per_s=1000.0)
    with pytest.raises(ValueError, match="no markers"):
        replayed(tmp_path)
    (tmp_path / "markers").mkdir()
    for k, seconds in enumerate((8.0, 12.0)):
        marker = {"compute_seconds": seconds, "tiles": 4}
        (tmp_path / "markers" / f"{k}.json").write_text(json.dumps(marker))
    times = shard_times(np.full(100, 64), fleet, replayed(tmp_path))
    assert set(times.tolist()) == {64 * 2.0, 64 * 3.0}


def test_a_run_that_cannot_end_is_refused() -> None:
    fleet = Fleet(nodes=1, jobs=1, tiles_per_s=1.0)
    with pytest.raises(ValueError, match="no headway"):
        simulate(np.array([60.0]), fleet, traced([30.0], 0))
    with pytest.raises(ValueError, match="some would have none"):
        simulate(np.array([60.0]), Fleet(nodes=2, jobs=1, tiles_per_s=1.0), traced([30.0], 0))
