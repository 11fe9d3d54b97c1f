"""If one of these fails, looking at a run is slow, disturbs it, or is disturbed by it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.synthetic_run import batches, plan_of, write_run
from thor_geo.checks.merge import merge_run
from thor_geo.checks.tally import count_markers
from thor_geo.checks.validate import check_run
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.shard import Shapes
from thor_geo.tasks.shard_writer import ShardWriter

HEAVY = {"torch", "lightning", "torchgeo", "ee", "rasterio", "terratorch", "matplotlib"}
SHAPES = Shapes(pooled=(5,), grid=(5, 6, 6))


def heavy_after(code: str) -> set[str]:
    """Return the heavy packages that a fresh process has loaded after some code."""
    report = "import json, sys; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(out.stdout.splitlines()[-1]))


def test_the_commands_load_nothing_of_what_embeds(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(), grid=True).run
    code = "from thor_geo.cli.main import main\n"
    for name in ("status", "validate", "merge"):
        code += f"assert main(['{name}', {str(run.path)!r}]) == 0\n"
    # `if __name__` keeps the processes of `validate` from running it all again.
    assert (
        heavy_after(
            f"if __name__ == '__main__':\n    {code.strip().replace(chr(10), chr(10) + '    ')}"
        )
        == set()
    )


@pytest.mark.parametrize("failing", [False, True])
def test_a_run_can_be_looked_at_while_it_is_written(tmp_path: Path, failing: bool) -> None:
    plan = plan_of((10.60, 59.85, 10.80, 59.97))
    failed = {shard.start: "no such block" for shard in plan.shards} if failing else {}
    # A first run leaves failed tiles in every shard; the second replaces files and markers.
    first = write_run(tmp_path / "run", plan, failed=failed, only=None if failing else 1)
    run = RunDirectory(first.run.path)
    opened = read_run(run.path)
    stop = threading.Event()

    def write() -> None:
        store = GridStore(run.grid, plan, (5, 6, 6))
        while not stop.is_set():
            writer = ShardWriter(run, plan, SHAPES, opened.windows, store)
            for shard in plan.shards:
                for prediction, batch in batches(plan, shard):
                    writer.add(prediction, batch)
            writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2):
            found = count_markers(opened)
            assert found.ok + found.failed + found.left == len(plan)
            kinds = {fault.kind for fault in check_run(opened).faults}
            assert kinds <= {"unfinished", "failed", "failures"}, kinds
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
    assert check_run(opened).faults == []
    assert count_markers(opened).shards_left == 0
    assert merge_run(opened).rows == len(plan)
