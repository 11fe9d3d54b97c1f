"""Executes docs/notebooks/quickstart.ipynb anew, and stores its outputs in it.

    python -m benchmarks.notebook

Claims nothing; takes a minute or two. A test executes it the same way, and stores nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from benchmarks.report import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"

#: How long a cell may take, seconds.
TIMEOUT_S = 500


def execute(folder: Path) -> NotebookNode:
    """Return the notebook as it comes out, executed with this checkout's code.

    Raises CellExecutionError where a cell fails. Whatever it writes lies in the folder.
    """
    environment = {
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONPATH": str(ROOT),
    }
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        coalesce_streams=True,  # what a command prints is one output
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    with mock.patch.dict(os.environ, environment):
        client.execute()
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(Path(folder))
    nbformat.write(notebook, NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
