"""If this fails, what the notebook shows is not what a reader gets who runs it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from benchmarks.notebook import NOTEBOOK, execute


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook: NotebookNode) -> str:
    """Return what all cells print, to either stream."""
    return "".join(one.text for one in outputs(notebook) if one.output_type == "stream")


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in one.get("data", {}) for one in outputs(notebook))


@pytest.mark.long
def test_it_runs_and_finds_what_it_tells(tmp_path: Path, root: Path) -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    # As on Python 3.14; a process that is forked asks less of a script.
    executed = execute(tmp_path, root / "tests" / "support" / "forkserver")
    for told in (
        "12 tiles of 192 dimensions",
        "24 of 24 (12 in each of 2 windows)",
        "1,000 cells of 160 m, 5 folds",
        "60 of 60: 60 ok",
        "centre: 60 places",
    ):
        assert told in printed(executed)
        assert told in printed(stored)
    assert pictures(executed) == pictures(stored) == 5
    shown = "".join(one.get("data", {}).get("text/html", "") for one in outputs(executed))
    assert "<iframe" in shown
    assert "12 ok; complete" in shown
    (folder,) = tmp_path.glob("thor-geo-*")
    assert (folder / "probe" / "probe.json").exists()


def test_it_is_stored_executed_and_small() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) <= 19
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "random weights" in printed(notebook)
    # Neither a page that has ended, nor a path of who stored it.
    stored = NOTEBOOK.read_text()
    for gone in ("<iframe", "127.0.0.1", "thor-geo-explorer", "/tmp/"):
        assert gone not in stored
    assert "data:image/jpeg;base64" in stored
    assert NOTEBOOK.stat().st_size < 1_500_000
