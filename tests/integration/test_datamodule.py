"""The datamodule outside the command: training with labels, other backbones, empty ranks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import LightningModule, Trainer
from rasterio.transform import from_origin
from torch import nn

from tests.support.small_data import small_data as datamodule
from thor_geo.emulator import EmulatorServer, FaultPlan, FaultRule
from thor_geo.emulator._faults import NO_PERMISSION
from thor_geo.errors import (
    AreaError,
    ConfigError,
    InputError,
    ProjectError,
    RunDirectoryError,
)
from thor_geo.tasks import BackboneEmbeddingTask, RunWriter, THOREmbeddingTask


@pytest.fixture
def emulated(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the archive to whatever the test runs."""
    with EmulatorServer(archive) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        yield


def trainer(*callbacks: Any, **kwargs: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"use_distributed_sampler": False, **kwargs},
    )


class Probe(LightningModule):
    """A linear probe on pixels; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(10, 3, 1)
        self.seen: dict[str, set[int]] = {"train": set(), "val": set(), "test": set()}

    def step(self, batch: Any, stage: str) -> torch.Tensor:
        assert batch["image"].dtype == torch.float32
        assert batch["mask"].shape == batch["image"].shape[:1] + batch["image"].shape[2:]
        # normalised: z-scores, not thousands
        assert batch["image"].abs().max() < 50
        self.seen[stage] |= set(batch["tile"].tolist())
        return nn.functional.cross_entropy(self.head(batch["image"]), batch["mask"])

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Write a raster of three classes in zone 32, over part of the area, in 10 m pixels."""
    path = tmp_path / "labels.tif"
    classes = np.random.default_rng(0).integers(0, 3, (400, 400), dtype=np.uint8)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=400,
        height=400,
        count=1,
        dtype="uint8",
        crs="EPSG:32632",
        transform=from_origin(665_000, 6_656_000, 10, 10),
    ) as out:
        out.write(classes, 1)
    return path


@pytest.mark.usefixtures("emulated")
def test_the_same_module_feeds_a_probe(archive: Path, tmp_path: Path, labels: Path) -> None:
    data = datamodule(archive, tmp_path, labels=labels, split=(0.5, 0.25, 0.25), split_side=1)
    model = Probe()
    before = model.head.weight.detach().clone()
    fitting = trainer(max_epochs=1, num_sanity_val_steps=0)
    fitting.fit(model, datamodule=data)
    fitting.test(model, datamodule=data, verbose=False)
    assert not torch.equal(before, model.head.weight)
    assert all(model.seen.values())
    assert not model.seen["train"] & model.seen["val"]
    assert not model.seen["train"] & model.seen["test"]


@pytest.mark.usefixtures("emulated")
def test_labels_are_needed_and_must_meet_the_area(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="labels"):
        trainer().test(Probe(), datamodule=datamodule(archive, tmp_path), verbose=False)
    missing = datamodule(archive, tmp_path, labels=tmp_path / "no.tif")
    with pytest.raises(ConfigError, match="no such file"):
        trainer().test(Probe(), datamodule=missing, verbose=False)


@pytest.mark.usefixtures("emulated")
def test_too_small_an_area_for_a_split_says_so(archive: Path, tmp_path: Path, labels: Path) -> None:
    data = datamodule(archive, tmp_path, labels=labels, split=(1.0, 0.0, 0.0))
    with pytest.raises(AreaError, match="split_side"):
        trainer().test(Probe(), datamodule=data, verbose=False)


class Patchify(nn.Module):
    """A backbone that is not THOR: one token for each 16 x 16 patch, and a class token."""

    def __init__(self, drop: int = 0) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = nn.functional.avg_pool2d(image, 16).flatten(2).transpose(1, 2)
        tokens = tokens[:, self.drop :]
        return torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)


@pytest.mark.usefixtures("emulated")
def test_any_backbone_that_returns_tokens_is_embedded(archive: Path, tmp_path: Path) -> None:
    data = datamodule(archive, tmp_path)
    task = BackboneEmbeddingTask(Patchify(), image_size=96)
    trainer(RunWriter(tmp_path / "run")).predict(task, datamodule=data, return_predictions=False)
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert set(tiles.status) == {"ok"}
    assert {len(vector) for vector in tiles.embedding} == {10}


@pytest.mark.usefixtures("emulated")
def test_tokens_without_a_square_suggest_pooled_output(archive: Path, tmp_path: Path) -> None:
    data = datamodule(archive, tmp_path)
    task = BackboneEmbeddingTask(Patchify(drop=5), image_size=96)
    with pytest.raises(InputError, match=r"output\.grid to false"):
        trainer(RunWriter(tmp_path / "run")).predict(
            task, datamodule=data, return_predictions=False
        )
    pooled = BackboneEmbeddingTask(Patchify(drop=5), image_size=96, grid=False)
    run = RunWriter(tmp_path / "run", grid=False)
    trainer(run).predict(pooled, datamodule=data, return_predictions=False)
    assert len(gpd.read_parquet(tmp_path / "run" / "pooled")) == len(data.load_plan())


class AnyModule(LightningModule):
    """A module that knows nothing of this project, but the dict."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def predict_step(self, batch: Any, batch_idx: int = 0) -> Any:
        grid = nn.functional.avg_pool2d(batch["image"], 16) * self.scale
        seen = batch["observations"].float()
        return {
            "tile": batch["tile"],
            "pooled": grid.mean(dim=(2, 3)),
            "grid": grid,
            "valid_fraction": (seen > 0).float().mean(dim=(1, 2, 3)),
            "observations_mean": seen.mean(dim=(1, 2, 3)),
        }


class NoDict(LightningModule):
    def predict_step(self, batch: Any, batch_idx: int = 0) -> Any:
        return batch["image"]


@pytest.mark.usefixtures("emulated")
def test_any_module_that_returns_the_same_dict_is_written_and_told_apart(
    archive: Path, tmp_path: Path
) -> None:
    data = datamodule(archive, tmp_path)
    trainer(RunWriter(tmp_path / "run")).predict(
        AnyModule(), datamodule=data, return_predictions=False
    )
    assert set(gpd.read_parquet(tmp_path / "run" / "pooled").status) == {"ok"}
    with pytest.raises(RunDirectoryError, match="attributes_sha256"):
        trainer(RunWriter(tmp_path / "run")).predict(
            AnyModule(scale=2.0), datamodule=data, return_predictions=False
        )
    with pytest.raises(ConfigError, match="valid_fraction"):
        trainer(RunWriter(tmp_path / "other")).predict(
            NoDict(), datamodule=data, return_predictions=False
        )


def test_two_archives_never_mix(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brighter = tmp_path / "brighter"
    shutil.copytree(archive, brighter)
    for path in brighter.rglob("*_10m.tif"):
        with rasterio.open(path, "r+") as raster:
            raster.write(np.clip(raster.read().astype(int) + 2000, 0, 60_000).astype("uint16"))
    first = datamodule(archive, tmp_path)
    second = datamodule(brighter, tmp_path)
    means = []
    try:
        for data in (first, second):
            data.setup("predict")  # the second finds the first's emulator in the environment
            (batch, *_) = data.predict_dataloader()
            means.append(float(batch["image"][:, 2].float().mean()))
    finally:
        second.teardown("predict")
        first.teardown("predict")
    assert means[1] > means[0] + 1000
    assert "THOR_GEO_EMULATOR_URL" not in os.environ


class Breaks(Patchify):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.any():
            raise RuntimeError("out of memory, say")
        return super().forward(image)


def test_an_error_ends_what_was_started(archive: Path, tmp_path: Path) -> None:
    data = datamodule(archive, tmp_path)
    task = BackboneEmbeddingTask(Breaks(), image_size=96)
    with pytest.raises(RuntimeError, match="out of memory, say"):
        trainer(RunWriter(tmp_path / "run")).predict(
            task, datamodule=data, return_predictions=False
        )
    assert data.feed.prefetcher is None
    assert data.feed.connection is None
    assert "THOR_GEO_EMULATOR_URL" not in os.environ


def test_a_worker_hands_over_what_must_stop_the_run_as_it_was(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = FaultRule(kind="image:computePixels", status=403, message=NO_PERMISSION)
    with EmulatorServer(archive, faults=FaultPlan(rules=(refusal,))) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        data = datamodule(archive, tmp_path, num_workers=1)
        task = THOREmbeddingTask("thor_v1_tiny", pretrained=False, image_size=96)
        with pytest.raises(ProjectError) as caught:
            trainer(RunWriter(tmp_path / "run")).predict(
                task, datamodule=data, return_predictions=False
            )
    assert "Traceback" not in str(caught.value)
    assert "serviceUsageConsumer" in str(caught.value) or "permission" in str(caught.value)


@pytest.mark.usefixtures("emulated")
def test_lightnings_own_sampler_is_refused(archive: Path, tmp_path: Path) -> None:
    data = datamodule(archive, tmp_path)
    task = THOREmbeddingTask("thor_v1_tiny", pretrained=False, image_size=96)
    with pytest.raises(ConfigError, match="use_distributed_sampler"):
        trainer(use_distributed_sampler=True).predict(task, datamodule=data)


@pytest.mark.usefixtures("emulated")
def test_another_normalisation_gives_other_numbers_and_another_run(
    archive: Path, tmp_path: Path
) -> None:
    vectors = []
    for name in ("thor_stats", "unit_scale"):
        data = datamodule(archive, tmp_path, normalize=name)
        task = THOREmbeddingTask("thor_v1_tiny", pretrained=False, image_size=96, grid=False)
        writer = RunWriter(tmp_path / name, grid=False)
        trainer(writer).predict(task, datamodule=data, return_predictions=False)
        vectors.append(np.stack(gpd.read_parquet(tmp_path / name / "pooled").embedding))
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"num_workers": -1}, "num_workers"),
        ({"block_size": 10}, "block_size"),
        ({"normalize": "minmax"}, "minmax"),
        ({"emulator": None}, "no source.*earthengine, data.emulator and data.stac"),
        ({"earthengine": {}}, "set together with data.emulator"),
        ({"stac": {"uri": "x"}}, "no such field: uri.*url, collection"),
        ({"split": (0.5, 0.6, 0.2)}, "split"),
        ({"end": "2022-05-01"}, "not after"),
        ({"sentinel2": {"bands": ["B2", "B10"]}}, "B10"),
    ],
)
def test_bad_settings_fail_in_the_constructor(
    archive: Path, tmp_path: Path, kwargs: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        datamodule(archive, tmp_path, **kwargs)
