"""If this fails, `thor-geo predict ... | head` reports a trouble that is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_whoever_closes_the_output_of_a_run_is_told_of_no_dead_worker(
    root: Path, quickstart: list[str], tmp_path: Path
) -> None:
    one_tile = "--data.area.bbox=[12.003,59.99,12.004,59.991]"
    quick = ("--data.num_workers=2", one_tile)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "thor_geo", *quickstart, *quick],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        process.stdout.close()  # as `head` does when it has enough
        code = process.wait(timeout=300)
    said = (tmp_path / "log").read_text()
    assert code == 141, said
    assert "WorkerError" not in said
    assert list((tmp_path / "run" / "markers").glob("*.json"))
