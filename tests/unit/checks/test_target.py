"""If one of these fails, merging destroys what was there: a run, an earlier merge, another file."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from thor_geo.checks.merge import merge_run
from thor_geo.cli.main import main as command
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.runs import RunDirectory
from thor_geo.runs import target as targets
from thor_geo.runs.opened_run import read_run

OWN = ["run.json", "plan.parquet", "quicklook.png", "colours.json", "markers", "failures"]
OWN += ["overview.parquet", "pooled", "grid.zarr"]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let writing fail, as on a full disk, where a file would be larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_overwritten_unasked(whole: RunDirectory, tmp_path: Path) -> None:
    opened = read_run(whole.path)
    target = tmp_path / "one.parquet"
    target.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        merge_run(opened, to=target)
    assert target.read_bytes() == b"mine"
    merge_run(opened, to=target, overwrite=True)
    assert pq.read_metadata(target).num_rows > 0
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.docx").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="more than an earlier merge"):
        merge_run(opened, to=folder, max_rows=50, overwrite=True)
    with pytest.raises(ConfigError, match="is a folder"):
        merge_run(opened, to=folder, overwrite=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a file"):
        merge_run(opened, to=tmp_path / "pipe", overwrite=True)
    assert (folder / "thesis.docx").read_bytes() == b"mine"


def test_what_came_while_merging_is_not_overwritten(
    whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "one.parquet"
    # Written when the rows are, before the merge takes its name.
    monkeypatch.setattr(targets, "sync", lambda _: target.write_bytes(b"mine"))
    with pytest.raises(ConfigError, match="--overwrite"):
        merge_run(read_run(whole.path), to=target)
    assert contents(tmp_path) == {"one.parquet": b"mine"}


@pytest.mark.parametrize("name", [*OWN, "pooled/x.parquet", "grid.zarr/utm32n/x", ".run.lock"])
@pytest.mark.parametrize("limits", [{}, {"max_rows": 50}])
def test_what_the_run_needs_is_never_a_target(
    run: RunDirectory, name: str, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / ".run.lock").touch()
    before = contents(run.path)
    opened = read_run(run.path)
    link = run.path.parent / "link"
    link.symlink_to(run.path / name)
    around = run.path.parent / "around"
    around.symlink_to(run.path)
    monkeypatch.chdir(run.markers)
    for to in (run.path / name, Path("..", name), link, around / "pooled" / ".." / name):
        with pytest.raises(ConfigError, match="run needs"):
            merge_run(opened, to=to, overwrite=True, **limits)
    assert contents(run.path) == before


def test_a_link_s_own_target_is_replaced(whole: RunDirectory, tmp_path: Path) -> None:
    opened = read_run(whole.path)
    (tmp_path / "scratch").mkdir()
    link = tmp_path / "parts"
    link.symlink_to(tmp_path / "scratch")
    merge_run(opened, to=link, max_rows=50, overwrite=True)
    rows = merge_run(opened, to=link, max_rows=50, overwrite=True).rows
    assert link.is_symlink()
    assert sum(pq.read_metadata(path).num_rows for path in link.iterdir()) == rows
    assert not list(tmp_path.glob(".*"))


def failing_on(call: int, error: BaseException, real: Callable[..., Any]) -> Callable[..., Any]:
    calls: list[int] = []

    def method(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return real(*args)

    return method


@pytest.mark.parametrize(
    ("limits", "method"),
    [({}, "replace"), ({"max_rows": 50}, "rename"), ({"max_rows": 50}, "replace")],
)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EACCES, "Permission denied"), RunDirectoryError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_earlier_merge_stays_where_the_last_step_fails(
    whole: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    method: str,
    error: BaseException,
    expected: type[BaseException],
) -> None:
    opened = read_run(whole.path)
    target = tmp_path / "target"
    merge_run(opened, to=target, **limits)
    before = contents(tmp_path)
    assert before
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, failing_on(1, error, getattr(Path, method)))
        with pytest.raises(expected):
            merge_run(opened, to=target, overwrite=True, **limits)
    assert contents(tmp_path) == before


def test_an_earlier_merge_that_cannot_be_put_back_is_named(
    whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = read_run(whole.path)
    target = tmp_path / "target"
    merge_run(opened, to=target, max_rows=50)
    before = sorted(contents(target).values())
    gone = OSError(errno.EIO, "Input/output error")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing_on(1, gone, Path.replace))
        patch.setattr(Path, "rename", failing_on(2, gone, Path.rename))
        with pytest.raises(RunDirectoryError, match=r"is now `.*\.old`: rename it"):
            merge_run(opened, to=target, max_rows=50, overwrite=True)
    (kept,) = tmp_path.iterdir()
    assert sorted(contents(kept).values()) == before


@pytest.mark.parametrize("limits", [{}, {"max_rows": 50}])
def test_where_the_disk_is_full_the_earlier_merge_stays(
    whole: RunDirectory, tmp_path: Path, limits: dict[str, int]
) -> None:
    opened = read_run(whole.path)
    target = tmp_path / "target"
    with files_of_at_most(1000), pytest.raises(RunDirectoryError, match="cannot be written"):
        merge_run(opened, to=target, **limits)
    assert not list(tmp_path.iterdir())
    merge_run(opened, to=target, **limits)
    before = contents(tmp_path)
    with files_of_at_most(1000), pytest.raises(RunDirectoryError, match="earlier file is kept"):
        merge_run(opened, to=target, overwrite=True, **limits)
    assert contents(tmp_path) == before


def test_a_place_that_cannot_be_written_is_named_with_the_remedy(
    whole: RunDirectory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for to in (tmp_path / "file" / "x.parquet", Path("/proc/x.parquet"), tmp_path / ("x" * 250)):
        assert command(["merge", str(whole.path), "--to", str(to)]) == 2
        err = capfd.readouterr().err
        assert f"`{to}` cannot be written" in err
        assert "where you may write" in err
    assert contents(tmp_path) == {"file": b"mine"}


def test_another_run_s_files_are_not_a_target_either(
    whole: RunDirectory, failing: RunDirectory, tmp_path: Path
) -> None:
    """`view A --png B/run.json --overwrite` would end run B."""
    for target in (failing.run_json, failing.pooled / "some.csv", whole.run_json):
        with pytest.raises(ConfigError, match="would replace a file that a run needs") as told:
            targets.check_target(
                whole, target, folder=False, overwrite=True, argument="--export-csv"
            )
        assert told.value.argument == "--export-csv"
