"""If one of these fails, copies of a cache stay on a machine, or go while ranks still read them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from thor_geo.composites import _folder
from thor_geo.composites.copies import FOLDER, Copies
from thor_geo.errors import CacheError
from thor_geo.storage import StoreAddress, StoreOptions, StorePath

CHILD = (
    "import os, sys; from thor_geo.composites.copies import Copies; copies = Copies.open(); "
    "print(copies.folder, flush=True); {}; copies.close()"
)


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    # Set, then removed: what a test leaves in the environment is undone.
    monkeypatch.setenv(FOLDER, "")
    monkeypatch.delenv(FOLDER)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def child(deed: str = "pass") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD.format(deed)], capture_output=True, text=True, check=False
    )


def test_launched_processes_share_the_folder_and_only_its_maker_removes_it(
    temporary: Path,
) -> None:
    copies = Copies.open()
    assert Path(child().stdout.strip()) == copies.folder
    assert copies.folder.is_dir()
    copies.close()
    assert not list(temporary.iterdir())
    assert FOLDER not in os.environ
    # What names a folder that is gone, or is on another machine, is not joined.
    os.environ[FOLDER] = str(copies.folder)
    other = Copies.open()
    assert other.folder != copies.folder
    other.close()


def test_two_of_one_process_are_apart_whichever_is_closed_first() -> None:
    first, second = Copies.open(), Copies.open()
    assert first.folder != second.folder
    first.close()
    assert second.folder.is_dir()
    second.close()
    third = Copies.open()
    third.close()
    assert FOLDER not in os.environ or not Path(os.environ[FOLDER]).exists()


def test_what_a_killed_run_left_is_removed_by_later_ones(temporary: Path) -> None:
    killed = child("os.kill(os.getpid(), 9)")
    (left,) = temporary.iterdir()
    assert Path(killed.stdout.strip()) == left
    assert not _folder.remove_dead_states(temporary), "it may have been a moment ago"
    os.utime(left, (0, 0))
    assert _folder.remove_dead_states(temporary) == [left]


def test_a_command_that_ends_early_leaves_none_and_a_fork_of_it_removes_none(
    temporary: Path,
) -> None:
    assert child("sys.exit()").returncode == 0
    assert not list(temporary.iterdir())
    forked = child("os.fork() or sys.exit(); os.wait(); assert copies.folder.is_dir()")
    assert forked.returncode == 0, forked.stderr
    assert not list(temporary.iterdir())


def test_caches_never_share_copies() -> None:
    copies = Copies.open()
    places = [
        StorePath(StoreAddress.parse(url, StoreOptions(endpoint=endpoint)))
        for url in ("s3://bucket/a", "s3://bucket/b", "gs://bucket/a")
        for endpoint in (None, "https://minio.example.org")
    ]
    assert len({copies.of(place) for place in places}) == len(places)
    copies.close()


def test_a_folder_that_cannot_be_made_names_the_remedy(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(CacheError, match="TMPDIR"):
        Copies.open()


def test_a_full_disk_of_copies_names_the_remedy(temporary: Path) -> None:
    copies = Copies.open()
    with (
        pytest.raises(CacheError, match=r"copies of composites.*TMPDIR"),
        _folder.explained(copies.folder / "cache"),
    ):
        raise OSError(28, "No space left on device")
    copies.close()
