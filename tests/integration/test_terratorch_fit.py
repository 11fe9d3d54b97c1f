"""`terratorch fit` with the shipped config: THOR frozen, a head trained on our datamodule."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

from thor_geo.support.processes import child_environment

pytest.importorskip(
    "terratorch", reason="terratorch is not installed: pip install 'thor-geo[terratorch]'"
)

CONFIG = "configs/terratorch/segmentation.yaml"

# What `terratorch fit` does, and then a look at what it trained.
_FIT = """
import json, sys
import torch
from terratorch.cli_tools import build_lightning_cli
from terratorch.registry import BACKBONE_REGISTRY

sys.argv[0] = "terratorch"
cli = build_lightning_cli()
backbone, head = cli.model.model.encoder, cli.model.model.decoder
# Random weights depend on nothing but their seed.
fresh = BACKBONE_REGISTRY.build("thorgeo_thor_v1_tiny").state_dict()
state = cli.trainer.optimizers[0].state
print(json.dumps({
    "steps": cli.trainer.global_step,
    "backbone": type(backbone).__module__ + "." + type(backbone).__name__,
    "frozen": not any(p.requires_grad for p in backbone.parameters()),
    "unchanged": all(torch.equal(v, fresh[k]) for k, v in backbone.state_dict().items()),
    "head_steps": sorted({int(state[p]["step"]) for p in head.parameters()}),
    "loss": float(cli.trainer.callback_metrics["val/loss"]),
}))
"""


@pytest.fixture
def config(archive: Path, tmp_path: Path, root: Path) -> Path:
    """Write the shipped config for a small area and model; everything else is as shipped."""
    labels = tmp_path / "labels.tif"
    classes = np.random.default_rng(0).integers(0, 5, (400, 400), dtype=np.uint8)
    classes[:5] = 255  # ignored
    with rasterio.open(
        labels, "w", driver="GTiff", width=400, height=400, count=1, dtype="uint8",
        crs="EPSG:32632", transform=from_origin(665_000, 6_656_000, 10, 10),
    ) as out:  # fmt: skip
        out.write(classes, 1)
    content = yaml.safe_load((root / CONFIG).read_text())
    content["trainer"] |= {
        "accelerator": "cpu",
        "max_steps": 2,
        "val_check_interval": 1,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 0,
        "default_root_dir": str(tmp_path / "logs"),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
    }
    content["model"]["init_args"]["model_args"] |= {
        "backbone": "thorgeo_thor_v1_tiny",
        "backbone_pretrained": False,
        "backbone_input_params": {"ground_covers": [960], "flexivit_patch_size_seqs": [16]},
        "decoder_channels": 16,
        "decoder_num_convs": 2,
    }
    del content["data"]["init_args"]["earthengine"]
    content["data"]["init_args"] |= {
        "emulator": {"archive": str(archive)},
        "cache_dir": str(tmp_path / "cache"),
        "area": {"bbox": [11.98, 59.985, 12.02, 60.005]},
        "sentinel2": {"cloudy_pct": 60},
        "labels": str(labels),
        "split": [0.5, 0.25, 0.25],
        "split_side": 1,
        "tile_size": 96,
        "block_size": 192,
        "batch_size": 2,
        "num_workers": 0,
    }
    path = tmp_path / "segmentation.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def fit(root: Path, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _FIT, *map(str, args)],
        cwd=root,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.long
def test_two_steps_train_the_head_and_leave_thor_as_it_was(config: Path, root: Path) -> None:
    done = fit(root, "fit", "-c", config)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] == 2
    assert found["backbone"] == "thor_geo.models.backbone.THORBackbone"
    assert found["frozen"]
    assert found["unchanged"]
    assert found["head_steps"] == [2]
    assert 0 < found["loss"] < 10


@pytest.mark.long
def test_the_shipped_config_itself_parses(root: Path) -> None:
    done = fit(root, "fit", "-c", CONFIG, "--print_config")
    assert done.returncode == 0, done.stderr[-3000:]
    shown = yaml.safe_load(done.stdout)
    assert shown["data"]["class_path"] == "thor_geo.datamodules.CompositeDataModule"
    assert shown["data"]["init_args"]["tile_size"] == 288
    arguments = shown["model"]["init_args"]["model_args"]
    assert arguments["backbone"] == "thorgeo_thor_v1_base"
    cover = arguments["backbone_input_params"]["ground_covers"]
    assert cover == [shown["data"]["init_args"]["tile_size"] * 10]


def test_the_bands_of_model_and_data_are_the_same(root: Path) -> None:
    from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee, select_bands

    content = yaml.safe_load((root / CONFIG).read_text())
    names = content["model"]["init_args"]["model_args"]["backbone_model_bands"]
    assert select_bands(names).bands == bands_from_ee(S2_DEFAULT_BANDS)
    assert "sentinel2" not in content["data"]["init_args"]
