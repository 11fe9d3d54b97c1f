"""LinearSegmentationTask: TorchGeo's segmentation task with a head of 1 x 1."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from packaging.version import Version
from torch import nn
from torchmetrics.classification import MulticlassF1Score

from thor_geo.errors import ConfigError

if TYPE_CHECKING or Version(version("torchgeo")) < Version("0.10"):
    from torchgeo.trainers import SemanticSegmentationTask
else:  # its new name; the old one warns where it is subclassed
    from torchgeo.tasks import SemanticSegmentation as SemanticSegmentationTask


class LinearSegmentationTask(SemanticSegmentationTask):
    """Multinomial logistic regression on every cell of embedding maps, by TorchGeo and Lightning.

    Steps, losses and logged names are those of TorchGeo's SemanticSegmentationTask; its model is
    one convolution of 1 x 1, which begins at zero. It adds the macro F1 score (``test_macro_f1``):
    the score of ``thor-geo probe``. Adam with a cosine schedule over all steps ends near the
    optimum, which does not depend on the seed, as the problem is convex.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        ignore_index: int = 255,
        lr: float = 0.1,
        weight_decay: float = 0.005,
        **kwargs: Any,
    ) -> None:
        """Initialize a new LinearSegmentationTask instance.

        Args:
            in_channels: D, the dimension of the run's embeddings.
            num_classes: Number of classes.
            ignore_index: Value of `mask` in cells that do not count.
            lr: Learning rate at the start; it falls to 0.
            weight_decay: Penalty on the weights. It is 1 / (C n) in the words of scikit-learn, with
                n training cells: 0.005 is C = 0.1 for 2,000.
            **kwargs: What else SemanticSegmentationTask takes, e.g. `loss` and `class_weights`;
                its `model` and what belongs to that are not used.
        """
        # `kwargs` also let LightningCLI see the arguments of the base class. It saves those that it
        # sees as hyperparameters, and the base class looks its own up there.
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            ignore_index=ignore_index,
            lr=lr,
            **kwargs,
        )

    def configure_models(self) -> None:
        """Make the head."""
        self.model = nn.Conv2d(self.hparams["in_channels"], self.hparams["num_classes"], 1)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)

    def configure_metrics(self) -> None:
        """Add the macro F1 score to TorchGeo's metrics."""
        super().configure_metrics()
        for metrics in (self.train_metrics, self.val_metrics, self.test_metrics):
            score = MulticlassF1Score(
                self.hparams["num_classes"],
                average="macro",
                ignore_index=self.hparams["ignore_index"],
            )
            metrics.add_metrics({"macro_f1": score})

    def configure_optimizers(self) -> Any:
        """Return Adam, which penalises the weights and not the biases, and a cosine schedule.

        Raises:
            ConfigError: If training has no end.
        """
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ConfigError(
                "trainer.max_epochs",
                self.trainer.max_epochs,
                "the learning rate falls to 0 over all steps, and there is no last one",
                "Give a number, e.g. 50.",
            )
        groups = [
            {"params": [self.model.weight], "weight_decay": self.hparams["weight_decay"]},
            {"params": [self.model.bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.Adam(groups, lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, int(steps)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
