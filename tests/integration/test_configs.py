from __future__ import annotations

import re
from pathlib import Path

import pytest

from datamodules import CompositeDataModule
from thor_geo.predict import make_cli
from thor_geo.tasks import THOREmbeddingTask
from thor_geo.writers import RunWriter

CONFIGS = Path(__file__).parent.parent.parent / "configs"
RUNS = sorted(CONFIGS.glob("*.yaml"))
FRAGMENTS = sorted(CONFIGS.glob("trainer/*.yaml"))
# A GPU or several processes cannot be asked for on every machine.
ANY_MACHINE = ["--trainer.accelerator=cpu", "--trainer.strategy=auto", "--trainer.devices=1"]


def test_the_folder_holds_what_the_readme_names() -> None:
    assert [path.name for path in RUNS] == ["gee.yaml", "gee_pooled.yaml", "quickstart.yaml"]
    assert [path.name for path in FRAGMENTS] == ["cpu.yaml", "ddp.yaml", "gpu.yaml"]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_run_parses_and_instantiates_without_weights_or_a_login(path: Path) -> None:
    cli = make_cli(["-c", str(path), *ANY_MACHINE], run=False)
    assert isinstance(cli.model, THOREmbeddingTask)
    assert isinstance(cli.datamodule, CompositeDataModule)
    assert cli.model.thor is None
    assert cli.model.image_size == cli.datamodule.lattice.tile_size
    assert cli.model.bands == tuple(band.channel for band in cli.datamodule.sensor.thor_bands)
    assert any(isinstance(callback, RunWriter) for callback in cli.trainer.callbacks)


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_every_trainer_fragment_goes_on_top_of_a_run(path: Path) -> None:
    args = ["-c", str(CONFIGS / "gee.yaml"), "-c", str(path)]
    # bf16 asks for a device that has it
    cli = make_cli([*args, *ANY_MACHINE, "--trainer.precision=32-true"], run=False)
    assert isinstance(cli.datamodule, CompositeDataModule)


@pytest.mark.parametrize("path", [*RUNS, *FRAGMENTS], ids=lambda path: path.stem)
def test_every_key_has_a_comment_above_it_or_beside_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    bare = [
        line.strip()
        for above, line in zip(["", *lines], lines, strict=False)
        # sections (`trainer:`) hold keys, and explain themselves by them
        if re.match(r"\s*\w+: *[^#\s]", line)
        and not line.lstrip().startswith("#")
        and not above.lstrip().startswith("#")
    ]
    assert bare == []


def test_links_follow_the_command_line() -> None:
    args = ["-c", str(CONFIGS / "quickstart.yaml"), "--data.tile_size=96", "--output.grid=false"]
    cli = make_cli([*args, "--data.bands=[B4,B3,B2]", "--model.patch_size=8"], run=False)
    assert (cli.model.image_size, cli.model.grid, cli.model.pooled) == (96, False, True)
    assert cli.model.bands == ("S2:Red", "S2:Green", "S2:Blue")
