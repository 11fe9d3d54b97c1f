"""If this fails, a run imports what it has no use for, and every start of the command is slower."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from thor_geo.cli.help import page
from thor_geo.cli.main import COMMANDS
from thor_geo.cli.settings import CLASSES, section_settings

_RUN = """
import json, sys
from thor_geo.cli.main import main
target, arguments = sys.argv[1], sys.argv[2:]  # a run sets its own
try:
    code = main(arguments)
except SystemExit as exit:  # argparse ends the process after the help
    code = exit.code
with open(target, "w") as file:
    json.dump(sorted(sys.modules), file)
sys.exit(code)
"""

#: What one process or another uses, but not the first one of a run.
ELSEWHERE = {
    "ee",
    "googleapiclient",
    "thor_geo.emulator._evaluate",
    "thor_geo.emulator.server",
    "thor_geo.composites.prefetch_process",
}
#: What nothing in a run uses. matplotlib is not here: Lightning's torchmetrics and
#: torchgeo.datasets import it, and they and Lightning much of SciPy and torchvision.
NOWHERE = {
    "IPython",
    "duckdb",
    "kornia",
    "obstore",
    "pandas.plotting._matplotlib",
    "sklearn",
    "tensorboard",
    "terratorch",
    "thor_geo.checks.merge",
    "thor_geo.checks.validate",
    "timm",
    "torchgeo.datamodules",
    "torchgeo.models",
    "transformers",
    "xarray",
}


def loaded(code: str, *arguments: object, root: Path) -> set[str]:
    """Return the modules of a fresh process after some code, which writes them to its argument."""
    subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=root,
        check=True,
        capture_output=True,
        timeout=300,
    )
    return set(json.loads(Path(str(arguments[0])).read_text()))


def test_a_run_imports_nothing_that_it_does_not_use(
    quickstart: list[str], tmp_path: Path, root: Path
) -> None:
    drawing = "--output.quicklook=true"
    found = loaded(_RUN, tmp_path / "modules.json", *quickstart, drawing, root=root)
    assert "lightning.pytorch" in found
    assert not found & (ELSEWHERE | NOWHERE)


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("thor_geo.composites.prefetch_process", {"torch", "lightning", "torchgeo", "pandas"}),
        ("thor_geo.emulator.server", {"torch", "lightning", "torchgeo", "pandas", "ee"}),
        ("thor_geo.cli.predict", {"thor_geo.emulator", *ELSEWHERE, *NOWHERE}),
        ("thor_geo.checks.tally", {"torch", "lightning", "torchgeo", "ee", "zarr", "pyarrow"}),
    ],
)
def test_each_process_imports_little(
    module: str, unused: set[str], tmp_path: Path, root: Path
) -> None:
    code = f"import json, sys, {module}\njson.dump(sorted(sys.modules), open(sys.argv[1], 'w'))"
    assert not loaded(code, tmp_path / "modules.json", root=root) & unused


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"emulator"}))
def test_help_loads_nothing_heavy(command: str, tmp_path: Path, root: Path) -> None:
    found = loaded(_RUN, tmp_path / "modules.json", command, "--help", root=root)
    assert not found & {"torch", "lightning", "numpy", "yaml", "rasterio", "obstore"}


def test_the_page_has_the_keys_of_the_classes() -> None:
    """That these are the classes' keys is tested with `thor_geo.cli.settings`."""
    shown = page(width=100)
    rows = [row for section in CLASSES for row in section_settings(section)]
    assert len(rows) > 50
    assert all(f"  {row.name} " in shown for row in rows)
