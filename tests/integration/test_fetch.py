"""If one of these fails, what a CPU node fetches is not read, or it looks done early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule


def fetching(arguments: list[str]) -> list[str]:
    return ["fetch", *arguments[1:]]


def test_what_fetch_leaves_is_what_predict_reads(
    thor_geo: Any, quickstart: list[str], archive: Path, tmp_path: Path
) -> None:
    # The config of a GPU node, and one of two jobs; the other fetches the rest.
    first = thor_geo(*fetching(quickstart), "--trainer.accelerator=gpu", "--job", "1/2")
    assert first.returncode == 0, first.stderr
    assert "Fetched 3 blocks" in first.stdout, "a block is a shard here"
    assert not (tmp_path / "run").exists()

    with EmulatorProcess(archive, faults=_no_pixels(after=2)) as emulator:
        env = {"THOR_GEO_EMULATOR_URL": emulator.url}
        broken = thor_geo(*fetching(quickstart), env=env)
    assert broken.returncode == 3, broken.stdout + broken.stderr
    assert "Fetched 2 blocks" in broken.stdout
    assert "3 were in the cache; 1 failed" in broken.stdout
    assert "Out of memory" in broken.stdout

    rest = thor_geo(*fetching(quickstart))
    assert rest.returncode == 0, rest.stderr
    assert "Fetched 1 blocks" in rest.stdout

    with EmulatorProcess(archive, faults=_no_pixels(after=0)) as emulator:
        run = thor_geo(*quickstart, env={"THOR_GEO_EMULATOR_URL": emulator.url})
    assert run.returncode == 0, run.stderr
    assert "requests" not in run.stdout, "nothing was fetched"


def test_what_fetch_leaves_of_places_is_what_predict_reads(
    thor_geo: Any, survey_arguments: Any, archive: Path, tmp_path: Path
) -> None:
    predict = survey_arguments(tmp_path)
    for job in ("1/2", "2/2", "1/1"):
        done = thor_geo(*fetching(predict), "--job", job)
        assert done.returncode == 0, done.stderr
    assert "Fetched 0 blocks" in done.stdout
    with EmulatorProcess(archive, faults=_no_pixels(after=0)) as emulator:
        run = thor_geo(*predict, env={"THOR_GEO_EMULATOR_URL": emulator.url})
    assert run.returncode == 0, run.stderr
    assert "requests" not in run.stdout, "nothing was fetched"


def _no_pixels(after: int) -> FaultPlan:
    refused = tuple(range(after + 1, 100))
    rule = FaultRule(kind="image:computePixels", nth=refused, status=400, message="Out of memory.")
    return FaultPlan(rules=(rule,))


def test_help_needs_no_config(thor_geo: Any) -> None:
    done = thor_geo("fetch", "--help")
    assert done.returncode == 0
    assert "usage: thor-geo fetch -c CONFIG" in done.stdout
