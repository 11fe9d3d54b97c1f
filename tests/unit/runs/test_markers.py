"""If these fail, a damaged or forged marker makes a run read, or trust, what is not its own."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from thor_geo.errors import RunDirectoryError
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import _KINDS, Marker


@pytest.fixture
def content(written: RunDirectory) -> dict[str, Any]:
    path = sorted(written.markers.glob("*.json"))[0]
    return dict(json.loads(path.read_bytes()))


def read(folder: Path, content: object) -> Marker | None:
    path = folder / "marker.json"
    path.write_text(json.dumps(content))
    return Marker.read(path)


def test_every_field_has_a_check() -> None:
    assert {str(field.type) for field in fields(Marker)} <= set(_KINDS)


def test_a_marker_that_was_written_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, content) is not None


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../other/pooled/a.parquet",
        "pooled/../../a.parquet",
        "pooled/./a.parquet",
        "pooled//a.parquet",
        "..",
        "",
        "a\0b",
        "a\nb",
        "C:\\a",
        "a/" * 3000 + "a",
        "x" * 300,
    ],
)
def test_outputs_outside_of_the_run_are_refused(
    content: dict[str, Any], tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = next(iter(content["outputs"].values()))
    content["outputs"] = {name: output}
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, content) is None
    assert "is damaged" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"ok": -1},
        {"ok": True},
        {"tiles": 1_000_000},
        {"observations_mean": []},
        {"failed_tiles": ["a", "b", "c", "d", "e"]},
        {"compute_seconds": "1"},
        {"scenes": "S2"},
        {"outputs": {"a": {"sha256": "0", "size": 1}}},
        {"outputs": {"a": {"sha256": "0" * 64, "size": -1}}},
        {"shard_id": None},
        {"fetch": {"requests": "many"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_values_that_cannot_be_are_refused(
    content: dict[str, Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    assert read(tmp_path, content | change) is None


def test_a_folder_in_place_of_a_marker_is_told(tmp_path: Path) -> None:
    (tmp_path / "marker.json").mkdir()
    with pytest.raises(RunDirectoryError, match=r"marker.json.*directory.*remove"):
        Marker.read(tmp_path / "marker.json")
