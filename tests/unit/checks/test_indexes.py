"""validate knows an index: damage is a fault, an index of an earlier state is a note."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.damage import damage_of
from thor_geo.checks.validate import check_run
from thor_geo.cli.validate import findings_json, findings_text
from thor_geo.results.index_build import build_index
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

pytest.importorskip("faiss", reason="pip install 'thor-geo[index]'")


@pytest.fixture
def indexed(written: RunDirectory, tmp_path: Path) -> RunDirectory:
    """Return a copy of the run that all share, with an index of its tiles."""
    shutil.copytree(written.path, tmp_path / "run")
    opened = read_run(tmp_path / "run")
    build_index(opened, "tiles", progress=False)
    return opened.run


def test_an_index_is_no_stray_file(indexed: RunDirectory) -> None:
    assert damage_of(indexed) == []
    assert check_run(read_run(indexed.path)).outdated == []


@pytest.mark.parametrize("name", ["rows.bin", "lists.npz", "index.json"])
def test_damage_to_an_index_is_a_fault_with_a_remedy(indexed: RunDirectory, name: str) -> None:
    """Of rows.bin, the size stays."""
    path = indexed.index / "tiles" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    findings = check_run(read_run(indexed.path))
    (fault,) = (fault for fault in findings.faults if fault.kind != "failed")
    assert fault.kind == "index"
    assert fault.file.startswith("index/tiles")
    assert "`thor-geo index` builds it again" in findings_text(indexed.path, findings)


def test_an_index_of_an_earlier_state_is_a_note(indexed: RunDirectory) -> None:
    """The run itself is whole."""
    opened = read_run(indexed.path)
    marker = indexed.marker_path(opened.plan.shards[0])
    indexed.index.joinpath("tiles", "index.json").write_text(
        indexed.index.joinpath("tiles", "index.json")
        .read_text()
        .replace('"digest": "', '"digest": "0')
    )
    assert marker.exists()
    findings = check_run(opened)
    assert [fault.kind for fault in findings.faults] == ["failed"]
    assert findings.outdated == ["index/tiles"]
    assert findings_json(indexed.path, findings)["outdated_indexes"] == ["index/tiles"]
    assert "index/tiles: made before" in findings_text(indexed.path, findings)


def test_what_is_no_index_is_told(indexed: RunDirectory) -> None:
    (indexed.index / "stray").mkdir()
    left = indexed.index / ".cells.node.1.aa.tmp"
    left.mkdir()
    (left / "rows.bin").write_bytes(b"half")
    findings = check_run(read_run(indexed.path))
    assert [fault.file for fault in findings.faults if fault.kind == "stray"] == ["index/stray"]
    assert findings.temporaries.paths == ["index/.cells.node.1.aa.tmp"]
    assert findings.temporaries.bytes >= 4
