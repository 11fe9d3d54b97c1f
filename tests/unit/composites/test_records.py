from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from thor_geo.composites._records import DamagedError, read_record, write_record
from thor_geo.support.files import write_atomic


def test_a_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_record(path, {"x": [1, None, "é"], "y": 1.5})
    assert read_record(path) == {"x": [1, None, "é"], "y": 1.5}
    assert [item.name for item in path.parent.iterdir()] == ["b.json"]


def test_no_record_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path / "none.json") is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"x": 1}', '{"record_sha256": 3}'])
def test_a_damaged_record_is_never_returned(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(damage)
    with pytest.raises(DamagedError):
        read_record(path)


def test_one_changed_digit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_record(path, {"count": 17})
    path.write_text(path.read_text().replace("17", "71"))
    with pytest.raises(DamagedError, match="checksum"):
        read_record(path)


@pytest.mark.parametrize("call", ["write", "fsync", "close"])
@pytest.mark.parametrize("scratch", [None, "writing"])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, scratch: str | None
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    original = getattr(os, call)

    def fail(*arguments: Any) -> None:
        if call == "close":
            original(*arguments)
        elif call == "write":
            original(arguments[0], b"half of the n")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space"):
            write_atomic(path, b"new", scratch=scratch and tmp_path / scratch)
    assert path.read_text() == "old"
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == [path]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[:3]))
    write_atomic(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("links", [True, False])
def test_of_several_writers_the_first_wins_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_link(*arguments: Any) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    assert write_atomic(tmp_path / "a", b"1", replace=False)
    assert not write_atomic(tmp_path / "a", b"2", replace=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert write_atomic(tmp_path / "a", b"3")
    assert (tmp_path / "a").read_bytes() == b"3"
    assert len(list(tmp_path.iterdir())) == 1
