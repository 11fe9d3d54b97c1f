"""The emulator as a process: it answers, says how to connect, and does not outlive its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ee
import pytest

from thor_geo.emulator import ArchiveError, EmulatorProcess, FaultPlan, FaultRule, main
from thor_geo.support.processes import child_environment

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"


@pytest.fixture
def folder(tmp_path: Path, write_scenes: Any, stack: Any) -> Path:
    written: Path = write_scenes(tmp_path / "archive", stack(2)[0])
    return written


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that has ended stays a zombie where nothing collects it.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.is_file() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_a_child_serves_and_ends(folder: Path, connect: Any) -> None:
    with EmulatorProcess(folder) as emulator:
        pid = emulator.pid
        assert pid is not None
        connect(emulator.url)
        assert ee.ImageCollection(COLLECTION).size().getInfo() == 2
    assert not _running(pid)
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.url


def test_a_child_takes_collection_and_faults(folder: Path, connect: Any) -> None:
    rule = FaultRule(kind="value:compute", status=400, message="Computation timed out.", times=1)
    plan = FaultPlan(rules=(rule,))
    with EmulatorProcess(folder, faults=plan, collection="mine/own") as emulator:
        connect(emulator.url)
        with pytest.raises(ee.EEException, match="Computation timed out"):
            ee.ImageCollection("mine/own").size().getInfo()
        assert ee.ImageCollection("mine/own").size().getInfo() == 2


def test_a_folder_with_sentinel_1_in_it_is_served_as_two_collections(
    folder: Path, tmp_path: Path, write_scenes: Any, stack: Any, connect: Any
) -> None:
    write_scenes(folder / "S1_GRD", stack(3)[0])
    radar = "COPERNICUS/S1_GRD"
    with EmulatorProcess(folder) as emulator:
        connect(emulator.url)
        assert ee.ImageCollection(COLLECTION).size().getInfo() == 2
        assert ee.ImageCollection(radar).size().getInfo() == 3
    with EmulatorProcess({radar: folder, COLLECTION: folder / "S1_GRD"}) as emulator:
        connect(emulator.url)
        assert ee.ImageCollection(radar).size().getInfo() == 2
        assert ee.ImageCollection(COLLECTION).size().getInfo() == 3


def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such folder"):
        EmulatorProcess(tmp_path / "nowhere").start()


def test_the_child_dies_with_a_killed_parent(folder: Path) -> None:
    code = (
        "import sys, time; from thor_geo.emulator import EmulatorProcess\n"
        "print(EmulatorProcess(sys.argv[1]).start().pid, flush=True); time.sleep(60)"
    )
    environment = child_environment()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True,
        env=environment,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _running(child)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _running(child)


def test_the_command_line_prints_how_to_connect_and_stops_cleanly(
    folder: Path, connect: Any
) -> None:
    command = [sys.executable, "-m", "thor_geo.emulator", "--scenes", str(folder), "--port", "0"]
    environment = child_environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(7)]
        snippet = "".join(line.strip() + "\n" for line in lines if line.startswith("    "))
        assert snippet.count("\n") == 3
        exec(snippet, {})
        assert ee.ImageCollection(COLLECTION).size().getInfo() == 2
        process.send_signal(signal.SIGINT)
        assert "Stopped after" in process.stdout.read()
        assert process.wait(timeout=10) == 0


def test_the_command_line_refuses_what_it_cannot_do(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--scenes", str(tmp_path / "nowhere")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["--scenes", str(folder), "--scenes", str(folder)]) == 1
    assert "its own collection id" in capsys.readouterr().err
    assert main(["--scenes", str(folder), "--faults", str(tmp_path / "none.json")]) == 1
    assert "not a valid fault plan" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
