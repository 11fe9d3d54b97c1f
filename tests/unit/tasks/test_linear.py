"""If one of these fails, a linear head is not the logistic regression that it is taken for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader

from thor_geo.errors import ConfigError
from thor_geo.tasks import LinearSegmentationTask

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def maps(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (8, 6, 5, 5) and masks of three classes; a fifth does not count."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, (8, 5, 5))
    images = rng.standard_normal((8, 6, 5, 5)).astype(np.float32)
    images[:, :3] += np.moveaxis(np.eye(3, dtype=np.float32)[classes], -1, 1)
    classes[rng.random((8, 5, 5)) < 0.2] = 255
    return torch.from_numpy(images), torch.from_numpy(classes)


def loader(images: torch.Tensor, masks: torch.Tensor) -> DataLoader[Any]:
    samples: Any = [{"image": i, "mask": m} for i, m in zip(images, masks, strict=True)]
    return DataLoader(samples, batch_size=8)


def test_it_ends_at_scikit_learns_optimum_and_scores_as_it_does() -> None:
    images, masks = maps()
    there = masks != 255
    x, y = images.movedim(1, -1)[there].numpy(), masks[there].numpy()
    decay = 0.01
    task = LinearSegmentationTask(6, 3, weight_decay=decay)
    trainer = Trainer(max_epochs=120, **QUIET)
    trainer.fit(task, loader(images, masks))
    model = LogisticRegression(C=1 / (decay * len(y)), tol=1e-8, max_iter=1000).fit(x, y)
    ours = task.model.weight.detach().numpy()[..., 0, 0]
    # Scores differ by what is the same for all classes.
    ours, theirs = ours - ours.mean(axis=0), model.coef_ - model.coef_.mean(axis=0)
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    (found,) = trainer.test(task, loader(images, masks), verbose=False)
    made = task(images).argmax(dim=1)[there].numpy()
    assert found["test_macro_f1"] == pytest.approx(f1_score(y, made, average="macro"))


def test_a_nan_in_a_cell_that_does_not_count_would_spoil_all_weights() -> None:
    """Why samples of maps have zeros there."""
    images, masks = maps()
    images[0, :, 0, 0], masks[0, 0, 0] = float("nan"), 255
    task = LinearSegmentationTask(6, 3)
    torch.nn.functional.cross_entropy(task(images), masks, ignore_index=255).backward()
    assert torch.isnan(task.model.weight.grad).all()


def test_training_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`trainer\.max_epochs=-1`.*Give a number"):
        Trainer(max_epochs=-1, **QUIET).fit(LinearSegmentationTask(6, 3), loader(*maps()))
