"""If these fail, a killed reader shows a traceback, or a progress bar cannot be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ProgressBar

from thor_geo.cli.predict import make_cli
from thor_geo.cli.trouble import is_dead_worker

KILLED = RuntimeError("DataLoader worker (pid 14815) is killed by signal: Killed.")


@pytest.mark.parametrize(
    ("error", "finished", "dead"),
    [
        (KILLED, False, True),
        # It may be killed while it is being ended.
        (KILLED, True, True),
        (ConnectionResetError(104, "Connection reset by peer"), False, True),
        (EOFError(), False, True),
        (BrokenPipeError(32, "Broken pipe"), True, False),
        (RuntimeError("shapes cannot be multiplied"), False, False),
    ],
)
def test_a_dead_worker_is_told_from_a_closed_output(
    error: Exception, finished: bool, dead: bool
) -> None:
    assert is_dead_worker(error, finished=finished) == dead


@pytest.mark.parametrize(
    ("args", "bars"),
    [
        ([], ["TileProgressBar"]),
        (["--trainer.enable_progress_bar=false"], []),
        (["--trainer.enable_progress_bar=true"], ["TileProgressBar"]),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.TQDMProgressBar"], ["TQDMProgressBar"]),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.RichProgressBar"], ["RichProgressBar"]),
        (
            ["--trainer.callbacks+=lightning.pytorch.callbacks.ModelSummary"],
            ["TileProgressBar"],
        ),
        (["--trainer.callbacks=null"], ["TileProgressBar"]),
        (
            [
                "--trainer.enable_progress_bar=false",
                "--trainer.callbacks+=lightning.pytorch.callbacks.ModelSummary",
            ],
            [],
        ),
    ],
)
def test_a_bar_of_ones_own_or_none_takes_the_place_of_the_runs(
    tmp_path: Path, args: list[str], bars: list[str]
) -> None:
    config = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
    base = [f"--config={config}", "--trainer.accelerator=cpu", f"--output.dir={tmp_path}"]
    trainer = make_cli([*base, *args], run=False).trainer
    found = [each for each in trainer.callbacks if isinstance(each, ProgressBar)]
    assert [type(each).__name__ for each in found] == bars
    assert "RunWriter" in [type(each).__name__ for each in trainer.callbacks]
