"""The maps of a run under TorchGeo and Lightning: its own task, and the shipped linear probe."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler, PreChippedGeoSampler, RandomGeoSampler
from torchgeo.trainers import SemanticSegmentationTask

from thor_geo.datasets import EmbeddingDataset
from thor_geo.errors import ConfigError
from thor_geo.probe import ProbeSpec, open_labels, probe_run
from thor_geo.runs.opened_run import read_run
from thor_geo.support.processes import child_environment

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# All scene classes but vegetation, bare ground and water.
IGNORED = [0, 1, 2, 3, 7, 8, 9, 10, 11]


class SceneClasses(RasterDataset):
    is_image = False


@pytest.fixture(scope="module")
def scene_classes(small_archive: Path) -> Path:
    """Return the scene classification of the clearest scene."""
    return next(small_archive.glob("20220605*T32VPM_SCL.tif"))


@pytest.mark.parametrize("model", ["unet", "fcn"])
def test_torchgeos_own_task_trains_on_a_run_and_labels_by_all_three_samplers(
    quick_run: Path, scene_classes: Path, model: str
) -> None:
    embeddings = EmbeddingDataset(quick_run / "run", zone="utm32n")
    embeddings.res = 40.0  # a cell is 160 m: as many pixels as a U-Net wants
    pairs = embeddings & SceneClasses(str(scene_classes))
    samplers = [
        RandomGeoSampler(pairs, size=32, length=4),
        GridGeoSampler(pairs, size=32),
        PreChippedGeoSampler(pairs),
    ]
    task = SemanticSegmentationTask(
        model=model,
        backbone="resnet18",
        in_channels=embeddings.dimension,
        num_classes=12,
        num_filters=8,
        ignore_index=0,
    )
    before = [weight.clone() for weight in task.parameters()]
    # A whole map is no multiple of 32, which the U-Net's own layers want.
    for sampler in samplers[: 2 if model == "unet" else 3]:
        # A batch of one has too few pixels for the U-Net's normalisation.
        loader: Any = DataLoader(
            pairs, sampler=sampler, batch_size=2, collate_fn=_tensors, drop_last=model == "unet"
        )
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, loader, loader)
        assert trainer.global_step == len(loader)
        assert np.isfinite(float(trainer.callback_metrics["val_loss"]))
    after = list(task.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.ndim > 1)


def _tensors(samples: Any) -> dict[str, Any]:
    """Collate without what TorchGeo's rasters say of themselves, as its data modules do."""
    batch = stack_samples(samples)
    return {key: batch[key] for key in ("image", "mask")}


@pytest.fixture
def torchgeo(root: Path) -> Iterator[Callable[..., None]]:
    """Return a function that runs `torchgeo` with the shipped config in this process."""
    from torchgeo.main import main

    def run(stage: str, data: Path, labels: Path, folder: Path, *more: str) -> None:
        main([stage, *arguments(root, data, labels, folder), *more])

    # It sets variables of GDAL for the whole process.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        yield run


def arguments(root: Path, data: Path, labels: Path, folder: Path) -> list[str]:
    """Return the arguments that point the shipped config at another run and folder."""
    return [
        f"--config={root / 'configs' / 'linear_probe.yaml'}",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        f"--trainer.default_root_dir={folder}",
        f"--trainer.logger.init_args.save_dir={folder}",
        f"--trainer.callbacks.dirpath={folder}",
        f"--data.init_args.run={data}",
        f"--data.init_args.labels={labels}",
    ]


def logged(folder: Path, version: int) -> list[dict[str, str]]:
    """Return the rows of the table that Lightning's CSV logger wrote."""
    text = (folder / "logs" / f"version_{version}" / "metrics.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def test_the_shipped_config_trains_and_tests(
    torchgeo: Callable[..., None], quick_run: Path, scene_classes: Path, tmp_path: Path
) -> None:
    run = quick_run / "run"
    torchgeo("fit", run, scene_classes, tmp_path, "--trainer.max_epochs=10")
    losses = [float(row["train_loss"]) for row in logged(tmp_path, 0)]
    assert losses[-1] < losses[0]
    torchgeo("test", run, scene_classes, tmp_path, f"--ckpt_path={tmp_path / 'last.ckpt'}")
    (tested,) = logged(tmp_path, 1)
    assert 0.4 < float(tested["test_macro_f1"]) <= 1


def test_a_wrong_number_of_classes_is_refused_before_training(
    torchgeo: Callable[..., None], quick_run: Path, scene_classes: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"`model\.num_classes=7`.*3 classes.*4, 5, 6.*Give 3"):
        torchgeo(
            "fit", quick_run / "run", scene_classes, tmp_path, "--model.init_args.num_classes=7"
        )
    assert not (tmp_path / "last.ckpt").exists()


@pytest.fixture(scope="module")
def quickstart_run(thor_geo_process: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the quickstart as it is shipped: ``cache`` and ``run``."""
    folder = tmp_path_factory.mktemp("quickstart")
    done = thor_geo_process(
        "predict",
        "--config=configs/quickstart.yaml",
        f"--data.cache_dir={folder / 'cache'}",
        f"--output.dir={folder / 'run'}",
        "--output.quicklook=false",
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 2])
def test_the_shipped_config_reaches_the_score_of_the_probe(
    quickstart_run: Path, root: Path, tmp_path: Path, devices: int
) -> None:
    """On the same fold: the probe's own linear model, and the head on one process and on two."""
    run = quickstart_run / "run"
    (labels,) = (quickstart_run / "cache" / "emulator-archive").glob("20220720*T32VPM_SCL.tif")
    given = arguments(root, run, labels, tmp_path)
    for stage, more in (
        ("fit", [f"--trainer.devices={devices}"]),
        ("test", [f"--ckpt_path={tmp_path / 'last.ckpt'}"]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "torchgeo", stage, *given, *more],
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=550,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    (tested,) = logged(tmp_path, 1)
    classes = open_labels(labels, ignore=tuple(map(str, IGNORED)))
    spec = ProbeSpec(on="cells", fractions=(1.0,), baseline=False)
    probed = probe_run(read_run(run), classes, spec)
    test = probed.folds.splits[0][1]
    truth, made = probed.targets[test], probed.evaluations[0].predictions[test]
    score = f1_score(truth, made, average="macro")
    print(f"probe {score:.4f}, {devices} processes {float(tested['test_macro_f1']):.4f}")
    assert float(tested["test_macro_f1"]) == pytest.approx(score, abs=0.02)
