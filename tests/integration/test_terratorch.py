"""THOR inside TerraTorch: the registry, and a decoder trained on a frozen backbone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

terratorch = pytest.importorskip("terratorch", reason="terratorch is not installed")

from terratorch.models import EncoderDecoderFactory  # noqa: E402
from terratorch.registry import (  # noqa: E402
    BACKBONE_REGISTRY,
    TERRATORCH_BACKBONE_REGISTRY,
)
from terratorch.tasks import SemanticSegmentationTask  # noqa: E402

import thor_geo.terratorch  # noqa: E402, F401 (registers)
from thor_geo.errors import BandError, ConfigError, LayoutError  # noqa: E402
from thor_geo.models import VARIANTS, THORBackbone, build_thor  # noqa: E402

BANDS = ["BLUE", "GREEN", "RED", "SWIR_1"]
GEOMETRY = {"ground_covers": [640], "flexivit_patch_size_seqs": [8]}


def build(name: str = "thorgeo_thor_v1_tiny", **kwargs: Any) -> THORBackbone:
    arguments: dict[str, Any] = {"model_bands": BANDS, "input_params": GEOMETRY, **kwargs}
    model = BACKBONE_REGISTRY.build(name, **arguments)
    assert isinstance(model, THORBackbone)
    return model


def image() -> torch.Tensor:
    return torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))


def test_all_names_are_registered() -> None:
    for row in VARIANTS.values():
        for name in (row.model_key, row.long_name):
            assert f"thorgeo_{name}" in BACKBONE_REGISTRY
            assert name in BACKBONE_REGISTRY
            assert f"thorgeo_{name}" in list(BACKBONE_REGISTRY)


@pytest.mark.parametrize("prefix", ["thorgeo_", ""])
@pytest.mark.parametrize("name", ["thor_v1_tiny", VARIANTS["thor_v1_tiny"].long_name])
def test_built_by_name_it_is_the_model_built_directly(prefix: str, name: str) -> None:
    backbone = build(prefix + name, out_indices=[-1])
    direct = build_thor("thor_v1_tiny", bands=BANDS, image_size=64, patch_size=8)
    with torch.no_grad():
        assert torch.equal(backbone(image())[0], direct.embed(image()).tokens)


@pytest.fixture
def official() -> Iterator[str]:
    """Register a stand-in where the official extension registers: in TerraTorch's own source."""
    name = "thor_v1_small"

    def thor_v1_small(**kwargs: Any) -> str:
        return "the official extension"

    TERRATORCH_BACKBONE_REGISTRY.register(thor_v1_small)
    yield name
    del TERRATORCH_BACKBONE_REGISTRY._registry[name]


def test_plain_names_go_to_the_official_extension_where_it_is(official: str) -> None:
    assert BACKBONE_REGISTRY.build(official) == "the official extension"
    assert build(f"thorgeo_{official}").model_key == official


def test_official_defaults() -> None:
    layout = BACKBONE_REGISTRY.build("thorgeo_thor_v1_tiny").layout
    assert (layout.ground_cover, layout.groups[0].patch_size) == (2880, 8)
    assert layout.n_channels == 14
    assert [band.channel for band in layout.selection.bands][-2:] == ["S1:IW-VV", "S1:IW-VH"]


@torch.no_grad()
def test_arguments_of_the_official_builder() -> None:
    tokens, params = build(out_indices=[2, -1], return_channel_params=True)(image())
    assert [tuple(t.shape) for t in tokens] == [(2, 80, 192)] * 2
    assert params["S2:SWIR1"] == {"GSD": 20, "num_patch": 4, "patch_size": 8}
    concat = build(out_indices=[-1], merge_method="concat")
    assert concat.out_channels == [384]
    assert concat(image())[0].shape == (2, 384, 8, 8)
    options = {
        **GEOMETRY,
        "flexivit_patch_size_seqs": [8, 16],
        "select_patch_strategy": "equal-min",
        "flexivit_ref_patch_size": 8,
    }
    layout = build(input_params=options).layout
    assert [(group.patch_size, group.n) for group in layout.groups] == [(16, 4), (8, 4)]
    assert layout.ref_patch_size == 8
    assert options["flexivit_patch_size_seqs"] == [8, 16]  # not changed by the builder


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model_bands": ["RED", "CIRRUS"]}, BandError, "B10"),
        ({"model_bands": ["VV", "ASC_VV"]}, BandError, "named twice"),
        ({"input_params": {"patch_sizes": 8}}, ConfigError, r"unknown option.*ground_covers"),
        ({"input_params": {"ground_covers": [2880, 960]}}, LayoutError, "one ground cover"),
        ({"input_params": {"ground_covers": 2880}}, LayoutError, "one ground cover"),
        ({"input_params": {"ground_covers": [2880.0]}}, LayoutError, r"2880\.0.*whole number"),
        ({"input_params": {"flexivit_patch_size_seqs": 8}}, LayoutError, "not a list"),
        ({"input_params": {"flexivit_patch_size_seqs": {"S2": 8}}}, LayoutError, "not a list"),
        ({"input_params": {"select_patch_strategy": "mid"}}, ConfigError, r"mid.*equal-min"),
        ({"input_params": {"ground_covers": [1440], "flexivit_patch_size_seqs": [16]}},
         LayoutError, "16 x 20 = 320"),
        ({"merge_method": "median"}, ConfigError, "median"),
        ({"out_indices": [12]}, ConfigError, "out_indices"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_at_construction(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build(**arguments)


def segmentation(**kwargs: Any) -> Any:
    return EncoderDecoderFactory().build_model(
        task="segmentation",
        backbone="thorgeo_thor_v1_tiny",
        backbone_model_bands=BANDS,
        backbone_input_params=GEOMETRY,
        backbone_out_indices=[-1],
        backbone_merge_method="mean",
        decoder="FCNDecoder",
        decoder_channels=16,
        decoder_num_convs=2,
        num_classes=3,
        **kwargs,
    )


def test_segmentation_with_a_frozen_backbone() -> None:
    model = segmentation()
    model.freeze_encoder()
    model.train()
    backbone = model.encoder
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    constants = backbone.encoder.constants()
    for _ in range(2):
        optimizer.zero_grad()
        output = model(image()).output
        assert output.shape == (2, 3, 64, 64)
        torch.nn.functional.cross_entropy(
            output, torch.ones(2, 64, 64, dtype=torch.long)
        ).backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.decoder.parameters())
    assert all(p.grad is None for p in backbone.parameters())
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert backbone.encoder.constants().bias is constants.bias
    assert backbone.encoder.constants().kernels[0].weight is constants.kernels[0].weight


def test_fine_tuning_reaches_the_patch_embedding() -> None:
    model = segmentation()
    model.train()
    model(image()).output.square().mean().backward()
    weight = model.encoder.encoder.get_parameter("ind_patch_embed.patch_embed.S2:Red.weight")
    assert float(weight.grad.abs().max()) > 0


def test_terratorch_does_not_pad_what_it_hands_over() -> None:
    # It pads images to twice the `patch_size` that it finds on any module; 3 x 3 patches of 16 px
    # would become 4 x 4, over another ground cover.
    model = EncoderDecoderFactory().build_model(
        task="segmentation",
        backbone="thorgeo_thor_v1_tiny",
        backbone_model_bands=["RED"],
        backbone_input_params={"ground_covers": [480], "flexivit_patch_size_seqs": [16]},
        backbone_merge_method="mean",
        decoder="FCNDecoder",
        num_classes=2,
    )
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 48, 48)).output.shape == (1, 2, 48, 48)


def test_segmentation_task() -> None:
    task = SemanticSegmentationTask(
        model_factory="EncoderDecoderFactory",
        model_args={
            "backbone": "thorgeo_thor_v1_tiny",
            "backbone_model_bands": BANDS,
            "backbone_input_params": GEOMETRY,
            "backbone_merge_method": "concat",
            "backbone_out_indices": [-1],
            "decoder": "FCNDecoder",
            "decoder_channels": 16,
            "decoder_num_convs": 2,
            "num_classes": 3,
        },
        freeze_backbone=True,
        loss="ce",
        ignore_index=-1,
    )
    batch = {"image": image(), "mask": torch.ones(2, 64, 64, dtype=torch.long)}
    loss = task.training_step(batch, 0)
    loss.backward()
    assert all(p.grad is None for p in task.model.encoder.parameters())
    assert all(p.grad is not None for p in task.model.decoder.parameters())


def test_missing_terratorch_is_told() -> None:
    code = (
        "import sys\n"
        "sys.modules['terratorch'] = None\n"
        "from thor_geo.errors import DependencyError\n"
        "try:\n"
        "    import thor_geo.terratorch\n"
        "except DependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'thor-geo[terratorch]'" in done.stdout
