"""A representative part of the campaigns in benchmarks/chaos: one trouble after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.chaos.kill import Kill, Moment, strike
from benchmarks.support.commands import emulator
from benchmarks.support.runs import Workspace, differences, markers, states, wrongly_served
from benchmarks.support.small_disk import SmallDisk, pages
from thor_geo.emulator import EmulatorProcess, FaultPlan

ENOUGH = 1 << 28
# Who is killed, after how many shards, and what the command calls that.
TROUBLE = (("worker", 2, "WorkerError"), ("prefetch", 3, "PrefetchError"))


@pytest.fixture
def place(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Six shards, from a service so slow that the prefetch process is needed to the end."""
    with EmulatorProcess(archive, faults=FaultPlan(latency_s=0.3)) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        yield Workspace(
            folder=tmp_path,
            outputs_in=tmp_path / "outputs",
            settings={
                **emulator(archive),
                "data.area.bbox": "[11.98,59.985,12.02,60.005]",
                "data.concurrency": 1,
                "data.num_workers": 1,
                "model.patch_size": 16,
                "output.quicklook": "false",
            },
        )


def size_before_a_marker(run: Path, number: int) -> int:
    """What a run takes on the disk when the marker of shard *number* is to be written, bytes."""
    shards = [
        (sum(pages(output["size"]) for output in json.loads(file.read_bytes())["outputs"].values()),
         pages(file.stat().st_size))
        for file in sorted(markers(run), key=lambda file: file.stat().st_mtime_ns)
    ]  # fmt: skip
    everything = sum(
        pages(file.stat().st_size)
        for file in run.rglob("*")
        if file.is_file() and not {"preview", "c"} <= set(file.parts)  # drawn when the run ends
    )
    return everything - sum(map(sum, shards[number:])) + shards[number][0]


def killed(place: Workspace, victim: str, shards: int) -> Kill:
    """Kill a process of a run that has done some shards."""
    done = strike(
        place.start(), place, Moment(victim=victim, share=0.0, shards=shards, seconds=0.0)
    )
    assert done is not None, f"it ended before its {victim} could be killed"
    return done


@pytest.mark.long
def test_a_full_disk_and_killed_children_cost_nothing_that_was_done(place: Workspace) -> None:
    place.run.parent.mkdir()
    undisturbed = place.finish()
    assert undisturbed.code == 0, undisturbed.output
    assert len(markers(place.run)) == 6
    size = size_before_a_marker(place.run, 1)
    reference = place.keep("reference")
    place.clear()

    with ExitStack() as stack:
        # Without the right to mount, the children are killed on the disk there is.
        problem = SmallDisk.problem(place.folder / "probe")
        if not problem:
            disk = stack.enter_context(SmallDisk(place.run.parent, size))
            full = place.finish()
            assert full.code == 2, full.output
            assert "thor-geo: RunDirectoryError: " in full.output
            assert "No space left on device" in full.output
            assert "Traceback" not in full.output
            assert len(markers(place.run)) == 1, "the second marker did not fit"
            assert not wrongly_served(place.run, reference)
            disk.grow(ENOUGH)
        done = states(place.run)

        for victim, shards, error in (
            ("worker", 2, "WorkerError"),
            ("prefetch", 3, "PrefetchError"),
        ):
            kill = killed(place, victim, shards)
            assert kill.code == 75, kill.message
            assert f"thor-geo: {error}: " in kill.message
            assert "run" in kill.message.split("kept")[-1], "it says how to go on"
            assert "[with a traceback]" not in kill.message
            assert not kill.orphans
            assert {name: kill.done.get(name) for name in done} == done, "nothing is made again"
            done = kill.done
            assert len(done) < 6, "there must be something left to do"

        resumed = place.finish()
        assert resumed.code == 0, resumed.output
        after = states(place.run)
        assert {name: after[name] for name in done} == done
        assert differences(place.run, reference) == []
    if problem:
        pytest.skip(f"all but the full disk passed: {problem}")
