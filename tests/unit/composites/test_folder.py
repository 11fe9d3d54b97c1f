"""Caches that are full, read-only or littered: what is said, and what is never served."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.composites import (
    BlockStore,
    DirectSource,
    Pinned,
    Prefetcher,
    PrefetchSpec,
    StoredBlock,
    _folder,
)
from thor_geo.composites._records import write_record
from thor_geo.composites.state import StateDir
from thor_geo.errors import CacheError, PrefetchError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import RetryPolicy, Scene, SessionSpec
from thor_geo.support.files import temporary_name

Put = Callable[..., StoredBlock]
HOUR = 3600.0

NUMBERS = {
    errno.ENOSPC: "no room for another block",
    errno.EDQUOT: "no room for another block",
    errno.EROFS: "permission to read and write",
    errno.EACCES: "permission to read and write",
    errno.EIO: "Check that disk or mount",
    errno.ESTALE: "Check that disk or mount",
}


def raising(number: int) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_what_cannot_be_written_is_said_and_leaves_nothing(
    store: BlockStore,
    block: Block,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
) -> None:
    store.prepare()
    before = sorted(store.root.rglob("*"))
    with monkeypatch.context() as patch:
        if call == "replace":
            patch.setattr(Path, "replace", raising(number))
            patch.setattr(os, "link", raising(number))
        else:
            patch.setattr(os, call, raising(number))
        with pytest.raises(CacheError, match=NUMBERS[number]) as caught:
            put(store, block)
        assert f"`data.cache_dir={str(store.root)!r}`" in str(caught.value)
    assert [path for path in store.root.rglob("*") if path.is_file()] == [
        path for path in before if path.is_file()
    ]
    assert store.get(block) is None
    # With room again, all is as it should be.
    stored = put(store, block)
    again = store.get(block)
    assert again is not None
    np.testing.assert_array_equal(again.read()[0], stored.read()[0])


def test_a_full_disk_says_how_much_one_more_block_needs(
    store: BlockStore, block: Block, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, block, seed=1)
    monkeypatch.setattr(os, "fsync", raising(errno.ENOSPC))
    with pytest.raises(CacheError, match=r"MB are free, 0\.0 MB are needed for one more block"):
        put(store, block, seed=1)


def test_a_cache_that_cannot_be_read_is_named(
    store: BlockStore, block: Block, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, block)
    monkeypatch.setattr(Path, "stat", raising(errno.EIO))
    with pytest.raises(CacheError, match="Check that disk"):
        store.get(block)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system, on Linux")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount a small file system")
    yield folder
    # Lazily: this process keeps files open that it has read.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_disk_that_fills_up_all_that_is_there_is_whole(
    small_disk: Path, store: BlockStore, block_at: Callable[[int], Block], put: Put
) -> None:
    store.root = small_disk / "cache"
    store.prepare()
    stored: list[StoredBlock] = []

    def fill() -> None:
        for k in range(100):
            stored.append(put(store, block_at(k), seed=k))  # noqa: PERF401 (it stops in between)

    with pytest.raises(CacheError, match="no room for another block"):
        fill()
    assert stored
    for one in stored:
        found = store.get(one.block)
        assert found is not None
        np.testing.assert_array_equal(found.read()[0], one.read()[0])
    assert store.get(block_at(len(stored))) is None
    assert not list(store.root.rglob("*.tmp"))


@pytest.fixture
def spec(store: BlockStore, session: SessionSpec, tmp_path: Path) -> PrefetchSpec:
    return PrefetchSpec(
        root=store.root,
        session=session,
        sensor=store.sensor,
        window=store.window,
        concurrency=2,
        ahead=None,
        retry=RetryPolicy(base_s=0.001),
        state_dir=tmp_path / "state",
    )


def until_it_ends(prefetcher: Prefetcher) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        prefetcher.check()
        time.sleep(0.02)


def test_a_full_cache_ends_the_run_as_what_it_is(
    small_disk: Path, spec: PrefetchSpec, block_at: Callable[[int], Block]
) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 100_000)
    blocks = [block_at(k) for k in range(6)]
    with Prefetcher(replace(spec, root=small_disk / "cache"), blocks) as prefetcher:
        source = prefetcher.source()
        with pytest.raises(CacheError, match=r"data\.cache_dir.*set `data\.cache_dir` to a larger"):
            until_it_ends(prefetcher)
        with pytest.raises(CacheError, match="run again"):
            source.get(block_at(7))
    assert not list(small_disk.rglob("*.tmp"))
    (small_disk / "ballast").unlink()
    with Prefetcher(replace(spec, root=small_disk / "cache"), blocks[:2]) as prefetcher:
        assert prefetcher.source().get(blocks[0]).read()[0][0, 0, 0] == 1


def test_a_full_folder_for_temporary_files_is_named(
    small_disk: Path, spec: PrefetchSpec, block_at: Callable[[int], Block]
) -> None:
    with Prefetcher(replace(spec, state_dir=small_disk / "state")) as prefetcher:
        source = prefetcher.source()
        with (small_disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 512)
            except OSError:
                pass
        with pytest.raises(PrefetchError, match="TMPDIR"):
            until_it_ends(prefetcher)
        with pytest.raises(PrefetchError, match="TMPDIR"):
            source.get(block_at(0))


def test_a_process_that_ends_leaves_no_block_half_stored(
    store: BlockStore, block_at: Callable[[int], Block], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_folder, "_ending", threading.Event())
    fsync, begun, go_on = os.fsync, threading.Event(), threading.Event()
    pinned: list[int] = []

    def slow(descriptor: int) -> None:
        if pinned:  # the list of scenes is there; these are the pixels
            begun.set()
            go_on.wait(20)
        pinned.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writer = threading.Thread(target=put, args=(store, block_at(0)))
    writer.start()
    assert begun.wait(20)
    _folder.end_writing(0.05)
    assert not list(store.root.rglob("*.tif"))  # it did not wait for ever
    waiting = threading.Thread(target=_folder.end_writing, args=(20,))
    waiting.start()
    with pytest.raises(CacheError, match="is ending"):
        put(store, block_at(1))
    go_on.set()
    waiting.join()
    # It was waited for: pixels and sidecar are there.
    assert store.get(block_at(0)) is not None
    writer.join()


def test_no_name_from_a_file_becomes_a_path(
    store: BlockStore, block: Block, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    store.pin(block, Pinned(scenes=(scene,), block_key="ab" * 32))
    path = next((store.root / "scenes").rglob("*.json"))
    for name in ("../../../etc/passwd", "AB" * 32, "ab" * 33, 7, None, ["ab" * 32]):
        write_record(
            path,
            {"query_key": path.stem, "block_key": name, "scenes": [scene.to_dict()]},
        )
        assert store.pinned(block) is None
        assert "is not the key of a block" in caplog.text
        assert not path.exists()
        caplog.clear()


def test_a_sidecar_of_another_block_does_not_count(
    store: BlockStore, block_at: Callable[[int], Block], put: Put
) -> None:
    one, other = (put(store, block_at(k), seed=k) for k in (1, 2))
    assert one.path is not None
    assert other.path is not None
    for suffix in (".tif", ".json"):
        one.path.with_suffix(suffix).write_bytes(other.path.with_suffix(suffix).read_bytes())
    assert store.get(block_at(1)) is None
    assert not one.path.exists()
    assert store.get(block_at(2)) is not None


def test_the_first_of_two_lists_of_scenes_wins(
    store: BlockStore, block: Block, scene: Scene
) -> None:
    later = replace(scene, index="s2")
    first = Pinned(scenes=(scene,), block_key="ab" * 32)
    assert store.pin(block, first) == first
    assert store.pin(block, Pinned(scenes=(scene, later), block_key="cd" * 32)) == first
    assert store.pin(block, Pinned(scenes=(), block_key=None)) == first
    assert store.pinned(block) == first
    # The same scenes under the key of another release of the client.
    renamed = replace(first, block_key="ef" * 32)
    assert store.pin(block, renamed) == renamed
    assert store.pinned(block) == renamed


def test_two_processes_that_are_told_different_scenes_make_the_same_pixels(
    store: BlockStore,
    session: SessionSpec,
    block: Block,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = DirectSource(store, session)
    wanted = source.get(block)
    assert [one.index for one in wanted.scenes] == ["one"]
    # Another process pins the list in between: this one finds nothing, asks, and is told more.
    other = BlockStore(store.root.with_name("other"), sensor=store.sensor, window=store.window)
    pinned = store.pinned(block)
    assert pinned is not None
    listed = (*wanted.scenes, replace(scene, index="late"))

    def late(*_: Any, **__: Any) -> tuple[Scene, ...]:
        assert pinned is not None
        other.pin(block, pinned)
        return listed

    monkeypatch.setattr("thor_geo.sources.earthengine.service.fetch_scenes", late)
    found = DirectSource(other, session).get(block)
    assert found.scenes == wanted.scenes
    np.testing.assert_array_equal(found.read()[0], wanted.read()[0])


def aged(path: Path, seconds: float, content: str = "") -> Path:
    if path.suffix == ".tmp":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_killed_writers_left_is_removed_once_they_are_certainly_dead(
    store: BlockStore,
) -> None:
    writing = store.root / "writing"
    mine, dead = os.getpid(), dead_pid()
    name = temporary_name("a.tif")
    assert f".{mine}." in name
    gone = name.replace(f".{mine}.", f".{dead}.")
    elsewhere = ".a.tif.no-such-node.1.abcdef12.tmp"
    kept = [
        aged(writing / name, 2 * HOUR),  # its process runs
        aged(writing / gone.replace("a.tif", "b.tif"), HOUR / 2),  # too young
        aged(writing / elsewhere, 2 * HOUR),  # nobody here knows that node
        aged(writing / ".somebody.elses.tmp", 99 * HOUR),
    ]
    removed = [
        aged(writing / gone, 2 * HOUR),
        aged(writing / elsewhere.replace("a.tif", "b.tif"), 25 * HOUR),
    ]
    store.prepare()
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in removed)


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_a_crowded_folder_is_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    dead = dead_pid()
    for k in range(10):
        if kind == "files":
            name = temporary_name(f"{k}.tif").replace(f".{os.getpid()}.", f".{dead}.")
            aged(tmp_path / name, 2 * HOUR)
        else:
            path = tmp_path / f"thor-geo-prefetch-{dead}-{k}"
            path.mkdir()
            aged(path, 2 * HOUR)
    monkeypatch.setattr(_folder, "LOOKED_AT", 4)
    removed = [
        len(
            _folder.remove_leftovers(tmp_path, time.time())
            if kind == "files"
            else _folder.remove_dead_states(tmp_path)
        )
        for _ in range(4)
    ]
    assert removed == [4, 4, 2, 0]  # the rest is for later starts


def test_folders_of_killed_runs_are_removed_once_they_are_certainly_dead(tmp_path: Path) -> None:
    dead = dead_pid()
    names = {
        "gone": f"thor-geo-prefetch-{dead}-a",
        "young": f"thor-geo-prefetch-{dead}-b",
        "alive": f"thor-geo-prefetch-{dead}-c",
        "mine": f"thor-geo-prefetch-{os.getpid()}-d",
        "other": "thor-geo-prefetch-of-somebody",
    }
    paths = {kind: tmp_path / name for kind, name in names.items()}
    for path in paths.values():
        StateDir(path).reset()
    # A prefetch process that outlived its parent by a moment still holds its lock.
    code = (
        "import sys, time; from thor_geo.composites.state import StateDir; "
        "StateDir(sys.argv[1]).hold(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(paths["alive"])], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        for kind, path in paths.items():
            aged(path, 0 if kind == "young" else 2 * HOUR)
        assert _folder.remove_dead_states(tmp_path) == [paths["gone"]]
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    assert [kind for kind, path in paths.items() if path.exists()] == [
        "young", "alive", "mine", "other"
    ]  # fmt: skip
