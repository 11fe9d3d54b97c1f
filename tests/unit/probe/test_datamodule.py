"""If one of these fails, Lightning trains or tests on other cells than `thor-geo probe`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.place_run import write_places
from tests.support.synthetic_run import CELLS, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo.errors import ConfigError
from thor_geo.probe import ProbeDataModule, ProbeSpec, open_labels
from thor_geo.probe.blocks import make_folds
from thor_geo.probe.collect import collect_samples
from thor_geo.runs.opened_run import OpenedRun

Make = Callable[..., ProbeDataModule]
CELL = 2880 / CELLS


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, write_tif: Any) -> Path:
    """Return classes 10, 20 and 30 at random, in pixels of 160 m that divide no cell, with gaps."""
    classes = np.random.default_rng(0).choice([10, 20, 30], (1, 300, 300), p=[0.5, 0.3, 0.2])
    classes[:, :, 250:] = 0
    path = tmp_path_factory.mktemp("labels") / "kind.tif"
    return write_tif(path, classes.astype(np.uint8), (650_000, 6_672_000), 160, nodata=0)


@pytest.fixture
def make(two_zones: OpenedRun, labels: Path) -> Make:
    """Return a function that makes a data module over two zones."""
    run = two_zones.run.path
    return lambda **settings: ProbeDataModule(run, labels, **{"folds": 3, **settings})


def cells_of(data: ProbeDataModule, part: str) -> dict[tuple[float, float], int]:
    """Return the class of every marked cell of a part, by its easting and northing in km."""
    found = {}
    for tile in data._parts[part]:
        for row, col in zip(*np.nonzero(tile["mask"].numpy() != 255), strict=True):
            where = tile["image"][:2, row, col].tolist()
            found[where[0], where[1]] = int(tile["mask"][row, col])
    return found


def test_parts_hold_the_samples_of_the_probes_folds(
    make: Make, two_zones: OpenedRun, labels: Path
) -> None:
    opened = open_labels(labels)
    spec = ProbeSpec(folds=3, on="cells")
    samples = collect_samples(two_zones, opened, spec)
    folds = make_folds(samples, opened, two_zones.plan, spec)
    assert len(np.unique(samples.epsg)) == 2
    for fold, (train, test) in enumerate(folds.splits):
        data = make(fold=fold)
        data.setup("fit")
        assert data.classes == (10, 20, 30)
        for part, chosen in (("train", train), ("test", test)):
            # The first two numbers of an embedding are where it lies, km.
            expected = {
                (float(x), float(y)): int(value) // 10 - 1
                for (x, y), value in zip(
                    samples.vectors[chosen, :2].tolist(), samples.values[chosen], strict=True
                )
            }
            assert cells_of(data, part) == expected
        vectors = samples.vectors[train].astype(np.float64)
        np.testing.assert_allclose(data.mean, vectors.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(data.std, vectors.std(axis=0), rtol=1e-6)


def test_blocks_smaller_than_a_tile_share_it_and_no_cell(make: Make) -> None:
    data = make(block_m=960)
    data.setup("fit")
    train, test = (set(cells_of(data, part)) for part in ("train", "test"))
    assert not train & test
    assert set(data._parts["train"].tiles.tolist()) & set(data._parts["test"].tiles.tolist())


def test_a_validation_fold_is_taken_from_training_with_the_buffer_of_both(make: Make) -> None:
    alone, both = make(buffer_m=1000), make(buffer_m=1000, val_fold=1)
    for data in (alone, both):
        data.setup("fit")
    assert alone.val_dataloader() == []
    parts = {name: np.array(list(cells_of(both, name))) for name in ("train", "val", "test")}
    assert set(cells_of(alone, "test")) == set(cells_of(both, "test"))
    assert set(cells_of(both, "train")) < set(cells_of(alone, "train"))
    west = {name: where[where[:, 0] > 600] for name, where in parts.items()}  # zone 32 alone
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        apart = np.abs(west[a][:, None] - west[b][None]).max(axis=-1)
        assert apart.min() > 0.999


def test_batches_are_standardised_on_the_device_and_masks_stay_integers(make: Make) -> None:
    data = make()
    data.setup("fit")
    data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    batch = next(iter(data.train_dataloader()))
    raw = batch["image"].clone()
    out = data.on_after_batch_transfer(batch, 0)
    assert out["mask"].dtype == torch.int64
    expected = (raw - data.mean[:, None, None]) / data.std[:, None, None]
    torch.testing.assert_close(out["image"], expected)


def test_numbers_that_the_model_and_the_data_do_not_share_are_refused(make: Make) -> None:
    for settings, message in (
        ({"in_channels": 4, "num_classes": 3}, r"`model\.in_channels=4`.*have 5 channels.*Give 5"),
        ({"in_channels": 5, "num_classes": 4}, r"`model\.num_classes=4`.*3 classes.*10, 20, 30"),
        ({"ignore_index": 0}, r"`model\.ignore_index=0`.*Give 255"),
    ):
        data = make()
        module = SimpleNamespace(hparams=settings)
        data.trainer = SimpleNamespace(lightning_module=module)  # type: ignore[assignment]
        with pytest.raises(ConfigError, match=message):
            data.setup("fit")


def test_settings_out_of_range_are_refused_before_a_file_is_read(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"`fold=3`: there are 3 folds\. Give 0 to 2"):
        make(fold=3)
    with pytest.raises(ConfigError, match="`val_fold=0`: this fold is tested"):
        make(val_fold=0)
    with pytest.raises(ConfigError, match="`folds=1`"):
        make(folds=1)


def test_runs_that_have_no_map_of_cells_are_refused(tmp_path: Path, labels: Path) -> None:
    write_places(tmp_path / "places")
    write_run(tmp_path / "vectors", plan_of(), grid=False)
    write_windows(tmp_path / "windows", plan_of())
    for run, message in (
        ("places", "a run of places.*thor-geo probe"),
        ("vectors", r"vectors and no maps.*output\.grid=true"),
        ("windows", "`window=None`.*3 time windows"),
    ):
        with pytest.raises(ConfigError, match=message):
            ProbeDataModule(tmp_path / run, labels).setup("fit")


def test_labels_that_cannot_be_used_are_refused_in_the_words_of_the_config(
    make: Make, tmp_path: Path, write_tif: Any
) -> None:
    far = write_tif(tmp_path / "far.tif", np.ones((1, 9, 9), np.uint8), (300_000, 5_000_000))
    floats = np.random.default_rng(0).random((1, 300, 300)).astype(np.float32)
    numbers = write_tif(tmp_path / "numbers.tif", floats, (650_000, 6_672_000), 160)
    for settings, message in (
        ({"labels": tmp_path / "none.tif"}, "`labels=.*no such file"),
        ({"labels": far}, "`labels=.*no cell of .* has a label: labels lie at"),
        ({"labels": numbers}, "`labels=.*is not a class"),
        ({"ignore": [10, 20]}, "no label other than 30"),
        ({"folds": 200}, "`folds=200`.*smaller blocks with block_m"),
    ):
        data = make(**{k: v for k, v in settings.items() if k != "labels"})
        data.labels = settings.get("labels", data.labels)
        with pytest.raises(ConfigError, match=message) as caught:
            data.setup("fit")
        assert "--" not in str(caught.value)


def test_a_validation_fold_of_which_the_buffer_leaves_nothing_is_refused(
    two_zones: OpenedRun, tmp_path: Path, write_tif: Any
) -> None:
    """Labels of two of the three tiles meet, so the buffer around one's covers the other's."""
    classes = np.zeros((1, 2400, 2400), np.uint8)
    col = (662_400 - 650_000) // 20
    for top in (6_660_000, 6_658_560, 6_652_800):
        row = (6_672_000 - top) // 20
        classes[:, row : row + 72, col : col + 144] = 1
        classes[:, row : row + 72, col : col + 72] = 2
    path = write_tif(tmp_path / "near.tif", classes, (650_000, 6_672_000), 20, nodata=0)
    refused = {}
    for fold, val_fold in permutations(range(3), 2):
        data = ProbeDataModule(
            two_zones.run.path, path, folds=3, fold=fold, val_fold=val_fold, buffer_m=2000
        )
        with pytest.raises(ConfigError) as caught:
            data.setup("fit")
        if caught.value.argument == "val_fold":
            refused[fold, val_fold] = str(caught.value)
    (one, other) = refused
    assert one == other[::-1]
    assert "no sample of it is left" in refused[one]
    assert "a smaller buffer_m" in refused[one]


def test_a_class_without_a_training_sample_is_refused_by_name(
    two_zones: OpenedRun, tmp_path: Path, write_tif: Any
) -> None:
    """Two blocks have the class: one is tested, the other one validated on."""
    plan = two_zones.plan
    classes = np.full((1, 2400, 2400), 1, np.uint8)
    for k, code in enumerate((2, 3, 2, 3, 3, 3)):
        left, _, _, top = plan.tile(k).bounds
        row, col = int((6_672_000 - top) / 20), int((left - 650_000) / 20)
        classes[:, row : row + 144, col : col + 144] = code
    path = write_tif(tmp_path / "rare.tif", classes, (650_000, 6_672_000), 20)
    refused = {}
    for fold, val_fold in permutations(range(3), 2):
        data = ProbeDataModule(two_zones.run.path, path, folds=3, fold=fold, val_fold=val_fold)
        try:
            data.setup("fit")
        except ConfigError as error:
            refused[fold, val_fold] = str(error)
    (one, other) = refused
    assert one == other[::-1]
    assert f"`fold={one[0]}`: nothing to train on of 2" in refused[one]
    assert "ignore: [2]" in refused[one]
