from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from thor_geo.cli.predict import make_cli
from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.models.extrapolation import extrapolations
from thor_geo.specs.sentinel1 import channels_of
from thor_geo.tasks import RunWriter, THOREmbeddingTask

CONFIGS = Path(__file__).parent.parent.parent / "configs"
RUNS = sorted(CONFIGS.glob("*.yaml"))
COMPOSITES = [path for path in RUNS if path.stem != "folder"]
FRAGMENTS = sorted(CONFIGS.glob("trainer/*.yaml"))
TERRATORCH = sorted(CONFIGS.glob("terratorch/*.yaml"))
# A GPU or several processes cannot be asked for on every machine.
ANY_MACHINE = ["--trainer.accelerator=cpu", "--trainer.strategy=auto", "--trainer.devices=1"]


def test_the_folder_holds_what_the_readme_names() -> None:
    assert [path.name for path in RUNS] == [
        "folder.yaml",
        "gee.yaml",
        "gee_pooled.yaml",
        "quickstart.yaml",
        "quickstart_s1s2.yaml",
        "seasons.yaml",
        "stac.yaml",
    ]
    assert [path.name for path in FRAGMENTS] == ["cpu.yaml", "ddp.yaml", "gpu.yaml"]
    assert [path.name for path in TERRATORCH] == ["segmentation.yaml"]


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
    assert (cli.model.image_size, cli.model.resolution) == (192, 240)
    assert cli.model.bands == tuple(f"S3:Oa{k:02d}_reflectance" for k in range(1, 22))
    assert extrapolations(cli.model.layout) == ()


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


# The comment above a key begins with its type, and says its default or that it has none.
COMMENT = re.compile(r"[\w |()-]+, (required|default [^.,]+)[.:,]? ?")


@pytest.mark.parametrize("path", [*RUNS, *FRAGMENTS, *TERRATORCH], ids=lambda path: path.stem)
def test_every_key_has_a_comment_with_its_type_and_default(path: Path) -> None:
    wrong, comment = [], ""
    for line in map(str.strip, path.read_text().splitlines()):
        if line.startswith("#"):
            comment = f"{comment} {line.lstrip('# ')}".strip()
            continue
        # sections (`trainer:`) hold keys, and explain themselves by them
        if re.match(r"\w+: *[^#\s]", line) and not COMMENT.match(comment):
            wrong.append(line)
        comment = ""
    assert wrong == []


def key_of(line: str, path: Path, section: str) -> re.Match[str] | None:
    # Those of a class that is named stand below `init_args`.
    deeper = path.stem == "folder" and section == "data"
    return re.match(r"    (\w+):" if deeper else r"  (\w+): ", line)


@pytest.mark.parametrize("path", [*RUNS, *FRAGMENTS], ids=lambda path: path.stem)
def test_the_defaults_in_the_comments_are_the_signatures(path: Path) -> None:
    data = FolderDataModule if path.stem == "folder" else CompositeDataModule
    signatures = {
        "model": inspect.signature(THOREmbeddingTask),
        "data": inspect.signature(data),
        "output": inspect.signature(RunWriter),
    }
    section, comment, checked = "", "", 0
    for line in path.read_text().splitlines():
        if line.strip().startswith("#"):
            comment = f"{comment} {line.strip().lstrip('# ')}".strip()
            continue
        if found := re.match(r"(\w+):", line):
            section = found[1]
        elif (found := key_of(line, path, section)) and section in signatures:
            parameter, stated = signatures[section].parameters[found[1]], COMMENT.match(comment)
            assert stated is not None, line
            if parameter.default is inspect.Parameter.empty:
                assert stated[1] == "required", line
            else:
                default = yaml.safe_load(stated[1].removeprefix("default ").split(" (")[0])
                assert default == parameter.default, line
            checked += 1
        comment = ""
    assert checked or path in FRAGMENTS


def test_links_follow_the_command_line() -> None:
    args = ["-c", str(CONFIGS / "quickstart.yaml"), "--data.tile_size=96", "--output.grid=false"]
    cli = make_cli([*args, "--data.bands=[B4,B3,B2]", "--model.patch_size=8"], run=False)
    assert (cli.model.image_size, cli.model.grid, cli.model.pooled) == (96, False, True)
    assert cli.model.bands == ("S2:Red", "S2:Green", "S2:Blue")
