"""If this fails, what the notebook shows is not what a reader gets who runs it."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"


def printed(notebook: NotebookNode) -> str:
    """Return what all cells print, to either stream."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.text for output in outputs if output.output_type == "stream")


def pictures(notebook: NotebookNode) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NotebookNode:
    """The notebook, executed with this checkout's code; its files are under tmp_path."""
    settings = {
        "TMPDIR": tmp_path,
        "IPYTHONDIR": tmp_path / "ipython",
        "JUPYTER_RUNTIME_DIR": tmp_path / "runtime",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=500,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()  # raises where a cell does
    return notebook


def test_it_runs_and_finds_what_it_tells(executed: NotebookNode, tmp_path: Path) -> None:
    text = printed(executed)
    assert "12 tiles of 192 dimensions" in text
    assert "24 of 24 (12 in each of 2 windows)" in text
    assert "1,000 cells of 160 m, 5 folds" in text
    (folder,) = tmp_path.glob("thor-geo-*")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert {"look.png", "similar.png", "change/change.png", "probe/probe.json"} <= found
    # What is stored shows the same pictures, and as many.
    assert pictures(executed) == pictures(nbformat.read(NOTEBOOK, as_version=4)) == 5


def test_it_is_stored_executed_and_small() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = code(notebook)
    assert len(cells) <= 15
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "random weights" in printed(notebook)
    assert NOTEBOOK.stat().st_size < 1_500_000
