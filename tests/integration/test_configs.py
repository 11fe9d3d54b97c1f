from __future__ import annotations

import re
from pathlib import Path

import pytest
from lightning.pytorch.cli import LightningCLI
from torchgeo.datamodules import BaseDataModule
from torchgeo.trainers import BaseTask

from tests.support.config_comments import commented, documented, entries
from thor_geo.cli.predict import make_cli
from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.models.extrapolation import extrapolations
from thor_geo.probe import ProbeDataModule
from thor_geo.specs.sentinel1 import channels_of
from thor_geo.tasks import LinearSegmentationTask, RunWriter, THOREmbeddingTask

CONFIGS = Path(__file__).parent.parent.parent / "configs"
RUNS = sorted(CONFIGS.glob("*.yaml"))
COMPOSITES = [path for path in RUNS if path.stem not in ("folder", "linear_probe")]
FRAGMENTS = sorted(CONFIGS.glob("trainer/*.yaml"))
TERRATORCH = sorted(CONFIGS.glob("terratorch/*.yaml"))
# A GPU or several processes cannot be asked for on every machine.
ANY_MACHINE = ["--trainer.accelerator=cpu", "--trainer.strategy=auto", "--trainer.devices=1"]


def test_the_folder_holds_what_the_readme_names() -> None:
    assert [path.name for path in RUNS] == [
        "folder.yaml",
        "gee.yaml",
        "gee_pooled.yaml",
        "linear_probe.yaml",
        "places.yaml",
        "quickstart.yaml",
        "quickstart_places.yaml",
        "quickstart_s1s2.yaml",
        "seasons.yaml",
        "stac.yaml",
    ]
    assert [path.name for path in FRAGMENTS] == ["cpu.yaml", "ddp.yaml", "ddp_cpu.yaml", "gpu.yaml"]
    assert [path.name for path in TERRATORCH] == ["embeddings.yaml", "segmentation.yaml"]


@pytest.mark.parametrize("path", COMPOSITES, ids=lambda path: path.stem)
def test_every_run_parses_and_instantiates_without_weights_or_a_login(path: Path) -> None:
    cli = make_cli(["-c", str(path), *ANY_MACHINE], run=False)
    assert isinstance(cli.model, THOREmbeddingTask)
    assert isinstance(cli.datamodule, CompositeDataModule)
    assert cli.model.thor is None
    assert cli.model.image_size == cli.datamodule.lattice.tile_size
    assert cli.model.bands == tuple(channels_of(cli.datamodule.sensors.by_kind.values()))
    assert any(isinstance(callback, RunWriter) for callback in cli.trainer.callbacks)


def test_the_seasons_are_four_and_leave_no_gap() -> None:
    cli = make_cli(["-c", str(CONFIGS / "seasons.yaml"), *ANY_MACHINE], run=False)
    windows = cli.datamodule.windows
    assert (windows.listed, len(windows)) == (True, 4)
    assert [one.end for one in windows][:-1] == [one.start for one in windows][1:]


def test_a_folder_parses_without_the_folder_and_gives_the_model_its_channels() -> None:
    """Otherwise the shipped config works on the machine only where its files are."""
    cli = make_cli(["-c", str(CONFIGS / "folder.yaml"), *ANY_MACHINE], run=False)
    assert isinstance(cli.datamodule, FolderDataModule)
    assert cli.model.thor is None
    assert (cli.model.image_size, cli.model.ground_cover) == (192, 192 * 240)
    assert cli.model.bands == tuple(f"S3:Oa{k:02d}_reflectance" for k in range(1, 22))
    assert extrapolations(cli.model.layout) == ()


def test_the_linear_probe_instantiates_by_torchgeos_command_without_a_run() -> None:
    """With the base classes that TorchGeo's own command asks for."""
    cli = LightningCLI(
        BaseTask,
        BaseDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        run=False,
        args=["-c", str(CONFIGS / "linear_probe.yaml"), *ANY_MACHINE],
    )
    assert isinstance(cli.model, LinearSegmentationTask)
    assert isinstance(cli.datamodule, ProbeDataModule)
    assert cli.model.model.weight.shape == (3, 192, 1, 1)
    assert cli.model.hparams["ignore_index"] == cli.datamodule.ignore_index


def test_the_environments_threads_mean_nothing_to_a_folder_and_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder fetches nothing; what else the environment sets holds for it, too."""
    monkeypatch.setenv("RS_EMBED_THOR_FETCH_WORKERS", "3")
    monkeypatch.setenv("RS_EMBED_THOR_NORMALIZE", "none")
    monkeypatch.setenv("RS_EMBED_THOR_PATCH_SIZE", "8")
    args = ["--data.class_path=thor_geo.datamodules.FolderDataModule", "--data.paths=tif"]
    window = ["--data.start=2022-06-01", "--data.end=2022-06-02", "--data.bands=[RED]"]
    cli = make_cli([*args, *window, "--output.dir=out/run", *ANY_MACHINE], run=False)
    assert isinstance(cli.datamodule, FolderDataModule)
    assert not hasattr(cli.datamodule, "fetch_workers")
    assert (cli.datamodule.normalize.mode, cli.model.patch_size) == ("none", 8)
    assert "fetch_workers" not in caplog.text


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_every_trainer_fragment_goes_on_top_of_a_run(path: Path) -> None:
    args = ["-c", str(CONFIGS / "gee.yaml"), "-c", str(path)]
    # bf16 asks for a device that has it
    cli = make_cli([*args, *ANY_MACHINE, "--trainer.precision=32-true"], run=False)
    assert isinstance(cli.datamodule, CompositeDataModule)


# The comment above a key has a sentence, and then its type and default, or that it has none.
COMMENT = re.compile(r"\w.*[.>] \[[\w |():-]+, (required|default .+)\].*")


@pytest.mark.parametrize("path", [*RUNS, *FRAGMENTS, *TERRATORCH], ids=lambda path: path.stem)
def test_every_key_has_a_comment_with_its_type_and_default(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    wrong = [
        lines[entry.line]
        for entry in entries(text)
        # sections (`trainer:`) hold keys, and explain themselves by them
        if re.search(r": *[^#\s]", lines[entry.line]) and not COMMENT.fullmatch(entry.comment)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [*RUNS, *FRAGMENTS, *TERRATORCH], ids=lambda path: path.stem)
def test_the_comments_say_what_the_docstrings_say(path: Path) -> None:
    """Otherwise: python -m tests.support.config_comments configs/*.yaml configs/*/*.yaml"""
    text = path.read_text()
    assert commented(text) == text
    explained = [entry for entry in entries(text) if entry.path in documented(text)]
    assert explained or path in FRAGMENTS
    # Keys of our own sections that no docstring explains.
    ours = [entry for entry in entries(text) if re.match(r"(data|output)\.", entry.path)]
    assert [e.path for e in ours if e not in explained] == (
        ["data.class_path"] if "class_path" in text.partition("\ndata:")[2] else []
    )


def test_a_changed_docstring_changes_the_comment() -> None:
    text = (CONFIGS / "quickstart.yaml").read_text()
    old = "    # Folder of scenes; null generates a landscape across 12 E. [path, default null]\n"
    assert old in text
    changed = text.replace(old, "    # Something else. [int, default 3] Mine.\n")
    assert commented(changed) == text.replace(old, f"{old[:-1]} Mine.\n")


def test_links_follow_the_command_line() -> None:
    args = ["-c", str(CONFIGS / "quickstart.yaml"), "--data.tile_size=96", "--output.grid=false"]
    cli = make_cli([*args, "--data.sentinel2.bands=[B4,B3,B2]", "--model.patch_size=8"], run=False)
    assert (cli.model.image_size, cli.model.grid, cli.model.pooled) == (96, False, True)
    assert cli.model.bands == ("S2:Red", "S2:Green", "S2:Blue")
