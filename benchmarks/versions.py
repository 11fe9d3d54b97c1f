"""Whether what depends on versions works with those that no locked environment has.

Claim (docs/lightning.md, "TorchGeo"): datasets, samplers and splits work with torchgeo 0.10, which
TerraTorch does not take yet, and the rest of the package beside it, on Python 3.12 to 3.14.

    python -m benchmarks.versions python3.13 python3.14   # minutes each, 5 GB each for a while
    python -m benchmarks.versions --installed PYTHON ...  # environments that are there already

Makes an environment for each Python with the newest releases of everything and torchgeo 0.10, and
runs in it the tests of what reads and writes through other packages, and the quickstart.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time

from benchmarks.support.report import ROOT, Report, Row, parser

TORCHGEO = "torchgeo>=0.10,<0.11"
NEEDED = ("pytest", "pytest-timeout", "hypothesis", "duckdb", "odc-stac", "rioxarray")
TESTS = (
    "datasets",
    "datamodules",
    "sources/stac",
    "runs/test_grid_store.py",
    "runs/test_pooled.py",
    "tasks/test_writer.py",
)
PACKAGES = ("torchgeo", "torch", "numpy", "pandas", "rasterio", "zarr")

_VERSIONS = """
import platform, sys
from importlib.metadata import version
print(platform.python_version(), *map(version, sys.argv[1:]))
"""


def installed(python: str, folder: str) -> str:
    """Make an environment of a Python, and return its interpreter."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = f"{folder}/bin/python"
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-e", f"{ROOT}[stac]", TORCHGEO, *NEEDED], check=True)
    return own


def tried(python: str) -> tuple[Row, list[str]]:
    """Run the tests and the quickstart in an environment; return a row, and what failed."""
    ask = subprocess.run(
        [python, "-c", _VERSIONS, *PACKAGES], capture_output=True, text=True, check=True
    )
    versions = dict(zip(("python", *PACKAGES), ask.stdout.split(), strict=True))
    began = time.monotonic()
    tests = [f"tests/unit/{path}" for path in TESTS]
    command = [python, "-m", "pytest", "-q", "--disable-warnings", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *tests], cwd=ROOT, capture_output=True, text=True, check=False)
    summary = done.stdout.strip().splitlines()[-1]
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped)", summary)}
    faults = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 0 and not faults:
        faults = [f"pytest: exit code {done.returncode}, {summary}"]
    # In the checkout, where an interpreter that sees only that finds it.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".venv-quickstart-") as folder:
        run = [python, "-m", "thor_geo", "predict", "-c", "configs/quickstart.yaml"]
        quick = subprocess.run(
            [*run, f"--output.dir={folder}/run", f"--data.cache_dir={folder}/cache"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if quick.returncode != 0:
        faults.append(f"quickstart: exit code {quick.returncode}: {quick.stderr[-200:]}")
    row: Row = {
        **versions,
        **{kind: counts.get(kind, 0) for kind in ("passed", "failed", "skipped")},
        "quickstart": "whole" if quick.returncode == 0 else "failed",
        "seconds": round(time.monotonic() - began),
    }
    return row, [f"Python {versions['python']}: {fault}" for fault in faults]


def main() -> int:
    """Try the Pythons that are named; return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--installed", action="store_true", help="of environments: install none")
    arguments.add_argument("pythons", nargs="+", help="interpreters")
    given = arguments.parse_args()
    report = Report(
        name="versions",
        claim="What depends on versions passes its tests with torchgeo 0.10 and the newest "
        "releases of everything, and the quickstart is whole.",
        command="python -m benchmarks.versions python3.14",
    )
    for python in given.pythons:
        with tempfile.TemporaryDirectory(prefix="thor-geo-versions-") as folder:
            row, faults = tried(python if given.installed else installed(python, f"{folder}/venv"))
        report.add(row, faults)
    report.notes.append(
        "Tests of " + ", ".join(TESTS) + " in tests/unit; TerraTorch is not installed, because it "
        "takes torchgeo 0.9 alone."
    )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
