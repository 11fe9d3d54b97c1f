from __future__ import annotations

from pathlib import Path

import pytest

from thor_geo.composites._records import DamagedError, read_record, write_atomic, write_record


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


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
