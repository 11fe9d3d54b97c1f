"""If one of these fails, what `publish` writes and says of a real run is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np

import thor_geo as package
from tests.support.file_server import serve_folder
from tests.support.stac_files import read_collection, validate_core

Run = Callable[..., "CompletedProcess[str]"]


def test_a_published_quickstart_is_read_over_http_and_stays_whole(
    quick_run: Path, thor_geo: Run, tmp_path: Path
) -> None:
    run = shutil.copytree(quick_run / "run", tmp_path / "quickstart")
    with serve_folder(run) as server:
        done = thor_geo("publish", run, "--licence", "CC-BY-4.0", "--url", server.url)
        assert done.returncode == 0, done.stdout + done.stderr
        there, here = package.open_run(server.url), package.open_run(run)
        np.testing.assert_array_equal(there.X, here.X)
    found = read_collection(run)
    items = list(found.get_items())
    assert [item.id for item in items] == ["utm32n", "utm33n"]
    for path in (run / "collection.json", *(run / "items").iterdir()):
        validate_core(path)
    assert "emulator" not in found.description
    assert "Copernicus Sentinel data" not in found.description  # generated scenes
    # Every tile's centre lies in the footprint of its zone.
    vectors = here.vectors()
    west, south, east, north = vectors.total_bounds
    box = found.extent.spatial.bboxes[0]
    np.testing.assert_allclose(box, (west, south, east, north), atol=2e-5)
    checked = thor_geo("validate", run)
    assert checked.returncode == 0, checked.stdout
    again = thor_geo("publish", run, "--licence", "CC-BY-4.0", "--url", server.url)
    assert again.returncode == 1  # nobody answers there any more
    assert "written" not in again.stdout
