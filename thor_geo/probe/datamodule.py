"""ProbeDataModule: labelled cells of a run, divided as ``thor-geo probe`` divides them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import BaseDataModule

from thor_geo.datasets import EmbeddingDataset
from thor_geo.errors import ConfigError
from thor_geo.probe.blocks import make_folds
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.fold_tiles import FoldTiles
from thor_geo.probe.folds import Folds
from thor_geo.probe.joining import Labels
from thor_geo.probe.labels import open_labels
from thor_geo.probe.samples import Samples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.support.arrays import Float32Array, Int64Array
from thor_geo.support.words import counted

_log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


class ProbeDataModule(BaseDataModule):
    """Cells of a run's maps with a class each, of one fold of the probe's cross-validation.

    Samples, classes and folds are those of ``thor-geo probe --no-baseline`` with the same settings:
    a cell has the most frequent class of its ground, and blocks of ground are not divided. Batches
    hold ``image`` (B, D, h, w) float32, tiles of the map, standardised by the training samples on
    the device as in TorchGeo's data modules (`mean`, `std`); and ``mask`` (B, h, w) int64, indices
    of classes in ascending order of the labels, `ignore_index` in cells that do not count.

    Attributes:
        classes: The classes, once `setup` has run.
    """

    def __init__(
        self,
        run: Path,
        labels: Path,
        target: str | None = None,
        nodata: float | None = None,
        ignore: Sequence[int | str] = (),
        fold: int = 0,
        folds: int = 5,
        val_fold: int | None = None,
        block_m: float | None = None,
        buffer_m: float | None = None,
        min_cover: float = 0.5,
        max_samples: int = 10_000,
        seed: int = 0,
        window: int | None = None,
        ignore_index: int = 255,
        batch_size: int = 2,
        num_workers: int = 0,
    ) -> None:
        """Initialize a new ProbeDataModule instance; no file is looked at yet.

        Args:
            run: Directory of a run of an area, with maps.
            labels: Raster of classes, or polygons or points, in any CRS.
            target: Column of a vector file, or description of a raster's band.
            nodata: Value of a raster for no label, besides its own nodata value.
            ignore: Labels to leave out.
            fold: Which fold is tested, 0 for the first; the others are trained on.
            folds: Number of folds.
            val_fold: A fold to validate on, which is then not trained on; None for no validation,
                as the probe has none.
            block_m: Side in metres of the squares of ground that are not divided; None for a tile.
            buffer_m: Training samples nearer to a test sample than this are left out, metres; None
                for 0.
            min_cover: Least share of a cell that must be labelled.
            max_samples: Most samples to use; from more, this many are picked at random.
            seed: Seed of the folds.
            window: Which time window, 0 for the first, of a run with several.
            ignore_index: Value of the mask in cells that do not count.
            batch_size: Tiles per batch.
            num_workers: Processes that read the maps.

        Raises:
            ConfigError: If a setting is out of range.
        """
        super().__init__(EmbeddingDataset, batch_size=batch_size, num_workers=num_workers)
        self.run, self.labels, self.target, self.nodata = Path(run), Path(labels), target, nodata
        self.spec = ProbeSpec(
            task="classification",
            on="cells",
            folds=folds,
            block_m=block_m,
            buffer_m=buffer_m,
            min_cover=min_cover,
            max_samples=max_samples,
            seed=seed,
            window=window,
            ignore=tuple(map(str, ignore)),
            baseline=False,
        )
        self.fold, self.val_fold, self.ignore_index = fold, val_fold, ignore_index
        for name, number in (("fold", fold), ("val_fold", val_fold)):
            if number is not None and not 0 <= number < folds:
                raise ConfigError(
                    name, number, f"there are {folds} folds", f"Give 0 to {folds - 1}."
                )
        if fold == val_fold:
            raise ConfigError("val_fold", val_fold, "this fold is tested", "Choose another one.")
        self.classes: tuple[str | int, ...] = ()
        self._parts: dict[str, FoldTiles] = {}

    def setup(self, stage: str) -> None:
        """Join labels to cells, and divide them; what cannot be trained on is refused here.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            ConfigError: If the run, the labels or the folds cannot be used, a class has nothing to
                train on, or the model has other numbers of channels or classes.
            RunDirectoryError: If a file of the run cannot be read.
        """
        if self._parts:
            return
        opened = read_run(self.run)
        self._check(opened)
        with _own_words():
            labels = open_labels(
                self.labels,
                self.target,
                task="classification",
                nodata=self.nodata,
                ignore=self.spec.ignore,
            )
            samples = collect_samples(opened, labels, self.spec)
            codes, targets = np.unique(samples.values, return_inverse=True)
            self.classes = tuple(labels.class_of(code) for code in codes.tolist())
            parts = self._divide(make_folds(samples, labels, opened.plan, self.spec))
        self._check_classes(labels, targets, parts)
        self._check_model(samples.vectors.shape[1])
        self._standardise(samples.vectors[parts["train"]])
        zones = {
            epsg: EmbeddingDataset(opened, zone=epsg, window=self.spec.window)
            for epsg in np.unique(samples.epsg).tolist()
        }
        self._parts = {
            name: FoldTiles(
                zones, opened.plan, samples, targets, chosen, ignore_index=self.ignore_index
            )
            for name, chosen in parts.items()
            if len(chosen)
        }
        self._describe(samples, parts)

    def _check(self, opened: OpenedRun) -> None:
        if opened.places:
            raise ConfigError(
                "run",
                str(self.run),
                "a run of places, which has no map",
                "Use thor-geo probe, or a run of an area.",
            )
        if not opened.grid:
            raise ConfigError(
                "run",
                str(self.run),
                "it has vectors and no maps",
                "Use thor-geo probe, or run it again into another directory with "
                "--output.grid=true.",
            )
        if self.spec.window is None and len(opened.windows) > 1:
            raise ConfigError(
                "window",
                None,
                f"`{self.run}` has {len(opened.windows)} time windows",
                f"Give 0 to {len(opened.windows) - 1}.",
            )

    def _divide(self, folds: Folds) -> dict[str, Int64Array]:
        """Return the samples of each part; blocks of the validation fold are not trained on."""
        train, test = folds.splits[self.fold]
        parts = {"train": train, "val": train[:0], "test": test}
        if self.val_fold is not None:
            others, val = folds.splits[self.val_fold]
            # Both sides keep the buffer to the test samples, and training keeps that to validation.
            parts["train"], parts["val"] = np.intersect1d(train, others), np.intersect1d(train, val)
        return parts

    def _check_classes(
        self, labels: Labels, targets: Int64Array, parts: dict[str, Int64Array]
    ) -> None:
        """Refuse classes without a training sample, and name those without a test sample.

        Raises:
            ConfigError: Also if nothing is left of a validation fold that was asked for.
        """
        if self.val_fold is not None and not len(parts["val"]):
            raise ConfigError(
                "val_fold",
                self.val_fold,
                f"no sample of it is left: all are nearer than buffer_m to samples of fold "
                f"{self.fold}, which is tested",
                "Choose another fold, a smaller buffer_m, or smaller blocks (block_m).",
            )
        for part in ("train", "test"):
            present = set(targets[parts[part]].tolist())
            gone = [str(name) for k, name in enumerate(self.classes) if k not in present]
            if gone and part == "train":
                raise ConfigError(
                    "fold",
                    self.fold,
                    f"nothing to train on of {', '.join(gone)} of `{labels.source}`",
                    f"Choose another fold, smaller blocks (block_m), or leave them out "
                    f"(ignore: [{', '.join(gone)}]).",
                )
            if gone:
                _log.warning(
                    "Fold %d has nothing to test on of %s: where they are predicted, the macro F1 "
                    "score counts them as 0.",
                    self.fold,
                    ", ".join(gone),
                )

    def _check_model(self, dimension: int) -> None:
        """Refuse a model with other channels, classes or ignored value than the data has."""
        if self.trainer is None or self.trainer.lightning_module is None:
            return
        settings = self.trainer.lightning_module.hparams
        names = ", ".join(map(str, self.classes))
        for name, number, why in (
            ("in_channels", dimension, f"the embeddings of `{self.run}` have {dimension} channels"),
            (
                "num_classes",
                len(self.classes),
                f"`{self.labels}` has {counted(len(self.classes), 'class', 'classes')} on this "
                f"ground: {names}",
            ),
            ("ignore_index", self.ignore_index, f"the data marks cells by {self.ignore_index}"),
        ):
            if settings.get(name, number) != number:
                raise ConfigError(f"model.{name}", settings[name], why, f"Give {number}.")

    def _standardise(self, vectors: Float32Array) -> None:
        """Set what TorchGeo's data modules normalise by, from training samples alone."""
        import kornia.augmentation as K

        spread = vectors.std(axis=0, dtype=np.float64)
        self.mean = torch.from_numpy(vectors.mean(axis=0, dtype=np.float64)).float()
        self.std = torch.from_numpy(np.where(spread > 0, spread, 1)).float()
        self.aug = K.AugmentationSequential(
            K.Normalize(self.mean, self.std), data_keys=None, keepdim=True
        )

    def _describe(self, samples: Samples, parts: dict[str, Int64Array]) -> None:
        sizes = ", ".join(f"{len(chosen):,} {name}" for name, chosen in parts.items())
        _log.info("%s cells of %s: %s", f"{len(samples):,}", self.run, sizes)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training tiles, in another order in each epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Return the validation tiles; nothing without `val_fold`."""
        return self._loader("val") if "val" in self._parts else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test tiles."""
        return self._loader("test")

    def _loader(self, part: str, *, shuffle: bool = False) -> DataLoader[Batch]:
        return DataLoader(
            self._parts[part],
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )


@contextmanager
def _own_words() -> Iterator[None]:
    """Let errors of the probe name arguments of the data module in place of options."""

    def plain(text: str) -> str:
        return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda option: option[1].replace("-", "_"), text)

    try:
        yield
    except ConfigError as error:
        # In place, so that the traceback shows one message and not two.
        argument, value = plain(error.argument), error.value
        ConfigError.__init__(error, argument, value, plain(error.problem), plain(error.remedy))
        raise
