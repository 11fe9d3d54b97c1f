"""If one of these fails, a script of the documentation dies, at least from Python 3.14 on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import geopandas as gpd
import pytest

from benchmarks.support.object_store import ObjectStore, new_bucket
from tests.support.survey import DAYS, POINTS

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROOT = Path(__file__).parents[2]
FORKSERVER = ROOT / "tests" / "support" / "forkserver"

# What no test has: an account, weights, and places on the other side of the Earth. The archive of
# these tests lies around 12 E, 60 N.
REPLACED: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r'backend="gee",\s*', ""),
    (r'project="my-cloud-project"', 'backend="emulator", pretrained=False'),
    (r'"thor_1_0_base"|"thor_v1_base"', '"thor_v1_tiny"'),
    (r"pretrained=True", "pretrained=False"),
    (r'THOREmbeddingTask\("thor_v1_tiny"\)', 'THOREmbeddingTask("thor_v1_tiny", pretrained=False)'),
    (r"\b121\.\d+", lambda lon: f"{12 + (float(lon[0]) - 121.5) / 10:.4f}"),
    (r"\b31\.\d+", lambda lat: f"{60 + (float(lat[0]) - 31.2) / 10:.4f}"),
    (r"\(10\.6, 59\.8, 10\.9, 60\.0\)", "(11.98, 59.985, 12.02, 60.005)"),
    (r"\(10\.75, 59\.91\), buffer_m=5000", "(12.03, 60.0), buffer_m=1500"),
    (r'earthengine=\{"project": "my-cloud-project"\}', 'emulator={"archive": ARCHIVE}'),
    (
        r'SessionSpec\(backend="emulator", pretrained=False\)',
        'SessionSpec(credentials="anonymous", url=EMULATOR)',
    ),
    (
        r'"labels\.tif"',
        'str(next(__import__("pathlib").Path(ARCHIVE).glob("20220605*T32VPM_SCL.tif")))',
    ),
    (r'"http://127\.0\.0\.1:8765"', "EMULATOR"),
    (r"~/\.cache/thor-geo", "cache"),
    (r'"https://data\.example\.org/oslo"', 'f"{STORE}/my-bucket/oslo"'),
    (r'"https://minio\.example\.org"', "STORE"),
]

#: Blocks that are no script: what they do needs something that the page only describes.
FRAGMENTS = {
    "docs/composites.md": "reads a run with windows, as results.md reads one without",
    "docs/probe.md": "takes labels and vectors of the reader's own",
    "docs/comparing.md": "takes files of other packages; test_beside_tables.py makes one of them",
}


def scripts(page: Path) -> list[str]:
    """Return the blocks of a page that stand by themselves or on those before them."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    if page.name == "python.md":  # the others are calls with pixels of the reader's own
        return [block for block in blocks if "my-cloud-project" in block]
    if page.name == "results.md":  # the other is for a run with dtype int8
        return [block for block in blocks if "scale" not in block]
    return blocks


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_SCRIPTS = [
    page for page in PAGES if scripts(page) and page.relative_to(ROOT).as_posix() not in FRAGMENTS
]


def prepared(block: str, archive: Path, emulator: str, store: str = "") -> str:
    """Return a script that needs no account."""
    for pattern, new in REPLACED:
        block = re.sub(pattern, new, block)
    names = {"ARCHIVE": str(archive), "EMULATOR": emulator, "STORE": store}
    return "".join(f"{name} = {value!r}\n" for name, value in names.items()) + block


def run(
    folder: Path, *command: object, emulator: str, more: Mapping[str, str] | None = None
) -> None:
    environment = (
        os.environ
        | dict(more or {})
        | {
            "PYTHONPATH": os.pathsep.join([str(FORKSERVER), str(ROOT)]),
            "THOR_GEO_EMULATOR_URL": emulator,
            "THOR_GEO_CACHE": str(folder / "cache"),
        }
    )
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]


@pytest.fixture
def folder(quick_run: Path, survey_run: Path, thor_geo: Run, tmp_path: Path) -> Path:
    """Return a folder with a table, and the runs of one and of the quickstart, as pages have it."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "quickstart").symlink_to(quick_run / "run")
    shutil.copytree(survey_run / "run", out / "survey")
    merged = thor_geo("merge", out / "survey")
    assert merged.returncode == 0, merged.stderr
    columns = {"plot": ["a", "b"], "surveyed": [DAYS[1]] * 2, "crop": ["wheat", "barley"]}
    points = gpd.GeoSeries.from_xy(*zip(*POINTS[:2], strict=True), crs="EPSG:4326")
    gpd.GeoDataFrame(columns, geometry=points).to_file(tmp_path / "survey.gpkg")
    return tmp_path


def test_the_script_that_starts_processes(
    folder: Path, archive: Path, emulator_url: str, root: Path
) -> None:
    """In a file of its own, which its DataLoader workers import."""
    (block,) = (b for b in scripts(root / "docs" / "lightning.md") if "__main__" in b)
    script = folder / "predict.py"
    script.write_text(prepared(block, archive, emulator_url))
    run(folder, script, emulator=emulator_url)
    assert (folder / "out" / "oslo" / "run.json").is_file()


@pytest.fixture
def my_bucket(s3_endpoint: str, quick_run: Path) -> ObjectStore:
    """Return a public bucket that holds the run of the quickstart, as pages have it."""
    made = new_bucket(s3_endpoint, "my-bucket")
    made.upload(quick_run / "run", "oslo", public=True)
    return made


def test_the_other_scripts(
    folder: Path, archive: Path, emulator_url: str, my_bucket: ObjectStore
) -> None:
    """In one process, page by page: what is imported once need not be so again."""
    names = []
    for page in WITH_SCRIPTS:
        blocks = [block for block in scripts(page) if "__main__" not in block]
        path = folder / f"page_{page.stem}.py"
        path.write_text(prepared("\n".join(blocks), archive, emulator_url, my_bucket.endpoint))
        names.append(path.name)
    assert {"page_README.py", "page_python.py", "page_sensors.py"} <= set(names)
    every = "import runpy, sys\nfor name in sys.argv[1:]: runpy.run_path(name, run_name='__main__')"
    run(folder, "-c", every, *names, emulator=emulator_url, more=my_bucket.environment)
