"""If this fails, docs/scale.md promises figures that do not follow from what was measured."""

from __future__ import annotations

import json
import re
import shlex
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import planet
from benchmarks.planet import TABLES, Inputs
from benchmarks.support import cost_model as cost
from benchmarks.support.report import RESULTS, ROOT, renewed, table
from thor_geo.cli.arguments import with_whole_areas
from thor_geo.cli.predict import make_cli
from thor_geo.datamodules import CompositeDataModule
from thor_geo.ground.lattice import Block
from thor_geo.models import build_thor
from thor_geo.sources.earthengine.fetch import fetch_block
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs.read()


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_page_are_the_scripts(inputs: Inputs, name: str) -> None:
    text = planet.DOCS.read_text()
    rows = TABLES[name](inputs)
    content = table(rows)
    assert renewed(text, {name: content}) == text, "run: python -m benchmarks.planet --docs"
    assert json.loads((RESULTS / "planet.json").read_text())["tables"][name] == rows


def test_the_pages_commands_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = re.findall(r"^thor-geo predict (.*)$", planet.DOCS.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        args = with_whole_areas(shlex.split(line.replace("run.yaml", "configs/gee_pooled.yaml")))
        cli = make_cli([*args, "--trainer.accelerator=cpu"], run=False)
        assert isinstance(cli.datamodule, CompositeDataModule)


def test_the_land_is_eighteen_million_tiles() -> None:
    assert cost.tile_km2() == pytest.approx(8.2944)
    # With Antarctica, square kilometres (CIA World Factbook).
    assert 148.94e6 / cost.tile_km2() == pytest.approx(18e6, rel=0.01)


def test_outlines_add_up(inputs: Inputs) -> None:
    for name, outline in inputs.outlines.items():
        squares = outline["squares"]
        assert squares["1"] == outline["tiles"]
        for few, many in ((1, 2), (2, 4), (4, 8)):
            # Four squares at most lie in one of twice the side.
            assert squares[str(few)] / 4 <= squares[str(many)] <= squares[str(few)], name


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


def test_a_block_that_costs_what_is_affordable_uses_up_the_quota() -> None:
    assert cost.eecu_hours(3000, cost.eecu_s_affordable(3000, 150)) == pytest.approx(150)


def test_operations_are_those_that_the_encoder_does() -> None:
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    encoder = build_thor(
        "thor_v1_tiny", bands=channels, image_size=cost.TILE, patch_size=cost.PATCH
    ).encoder
    counter = FlopCounterMode(display=False)
    # in its plain form attention is made of products that the counter knows
    with counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        encoder(torch.zeros(1, len(channels), cost.TILE, cost.TILE))
    assert cost.tile_flops("thor_v1_tiny") == pytest.approx(counter.get_total_flops(), rel=0.01)
