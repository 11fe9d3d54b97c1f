"""If one of these fails, `make` installs other versions than were tested, or in another Python."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def python(path: Path, version: str) -> Path:
    """Write what answers as a Python of a version does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$2" in *print*) echo {version};; esac\n')
    path.chmod(0o755)
    return path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    (folder / "constraints").mkdir(exist_ok=True)
    for lock in ("3.11", "3.13"):
        (folder / "constraints" / f"python{lock}.txt").touch()
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("version", "lock"), [("3.11", "3.11"), ("3.12", "3.13"), ("3.13", "3.13"), ("3.14", "3.13")]
)
def test_each_python_has_its_constraints(tmp_path: Path, version: str, lock: str) -> None:
    chosen = python(tmp_path / "newer" / "python", version)
    done = make(tmp_path, "-n", f"PYTHON={chosen}", "install-test")
    assert f"-c constraints/python{lock}.txt" in done.stdout
    assert (ROOT / "constraints" / f"python{lock}.txt").is_file()


def test_an_environment_of_another_python_is_refused(tmp_path: Path) -> None:
    python(tmp_path / ".venv" / "bin" / "python", "3.11")
    chosen = python(tmp_path / "newer" / "python", "3.13")
    done = make(tmp_path, f"PYTHON={chosen}", "predict")
    assert done.returncode != 0
    assert f".venv is of Python 3.11, {chosen} is 3.13: make clean removes .venv" in done.stdout
    # Even one whose stamps say that all is installed.
    for stamp in (".created", ".installed"):
        (tmp_path / ".venv" / stamp).touch()
    assert "is of Python 3.11" in make(tmp_path, f"PYTHON={chosen}", "predict").stdout
    # The remedies: the Python that it is of, and a name of its own.
    for remedy in ("PYTHON=.venv/bin/python", f"PYTHON={chosen} VENV=.venv-3.13"):
        assert "is of Python" not in make(tmp_path, *remedy.split(), "predict").stdout


def test_an_environment_whose_python_is_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    chosen = python(tmp_path / "newer" / "python", "3.13")
    assert "is of Python (none that runs)" in make(tmp_path, f"PYTHON={chosen}", "predict").stdout


def test_a_python_that_is_not_there_is_called_so(tmp_path: Path) -> None:
    done = make(tmp_path, "PYTHON=/nowhere/python3.13", "predict")
    assert done.returncode != 0
    assert "/nowhere/python3.13 is not a Python that runs here" in done.stdout


def test_a_python_that_pyenv_has_is_found_though_it_is_switched_off(tmp_path: Path) -> None:
    chosen = python(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python", "3.99")
    asked = ("PYTHON=python3.99", f"PYENV_ROOT={tmp_path / 'pyenv'}")
    assert f"{chosen} -m venv .venv" in make(tmp_path, "-n", *asked, "install-test").stdout


@pytest.mark.parametrize("lock", sorted((ROOT / "constraints").glob("*.txt")), ids=lambda p: p.name)
def test_a_lock_names_one_version_of_each_package(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    names = [line.partition("==")[0] for line in lines]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines)
    assert len(names) == len(set(names)) > 200
    assert {"torch", "torchgeo", "terratorch", "numpy", "zarr", "mkdocs"} <= set(names)
