"""If this fails, a project with its own folder `datamodules` cannot use thor-geo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datamodules
import thor_geo.datamodules
from thor_geo.datamodules.composite import CompositeDataModule

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def test_both_names_give_the_same_classes() -> None:
    assert set(datamodules.__all__) == set(thor_geo.datamodules.__all__)
    for name in datamodules.__all__:
        assert getattr(datamodules, name) is getattr(thor_geo.datamodules, name)
    assert thor_geo.datamodules.CompositeDataModule is CompositeDataModule


def test_a_projects_own_folder_hides_nothing_that_a_run_needs(tmp_path: Path) -> None:
    own = tmp_path / "datamodules"
    own.mkdir()
    (own / "__init__.py").write_text("class MyDataModule: ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "thor_geo", "predict", "-c", str(QUICKSTART), "--print_config"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "class_path: thor_geo.datamodules.CompositeDataModule" in done.stdout
