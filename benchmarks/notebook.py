"""Executes docs/notebooks/quickstart.ipynb and stores its outputs in it.

    python -m benchmarks.notebook    # a minute or two

Claims that the notebook runs; a test executes it the same way, and stores nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from benchmarks.support.report import ROOT, parser

NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"

#: How long a cell may take, seconds.
TIMEOUT_S = 500


def execute(folder: Path, *paths: Path) -> NotebookNode:
    """Execute the notebook with this checkout's code, and return it with its outputs.

    Raises CellExecutionError if a cell fails. The notebook writes into the folder only, and its
    processes import from further paths, too.
    """
    environment = {
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths))),
    }
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        coalesce_streams=True,  # one output for all that a command prints
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    with mock.patch.dict(os.environ, environment):
        client.execute()
    return notebook


def close_pages(notebook: NotebookNode) -> None:
    """Put a line in the place of each page of the explorer: it has ended with the kernel."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "<iframe" in data.get("text/html", ""):
                data["text/html"] = "<p>The explorer is closed: run.explore() opens it.</p>"
                data["text/plain"] = "<explorer: closed>"


def main() -> int:
    """Execute the notebook in place."""
    parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(Path(folder))
    close_pages(notebook)
    nbformat.write(notebook, NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
