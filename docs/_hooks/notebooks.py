"""Makes a page of each notebook in docs/notebooks, with the outputs that are stored in it.

Nothing is executed here. tests/integration/test_notebook.py does that, and `make notebook` renews
the stored outputs.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

#: The folder of notebooks, relative to docs/.
FOLDER = "notebooks"

_LINK = re.compile(r"(\]\((?!\w+:)[^)#\s]*)\.ipynb([)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace each notebook by a page of the same name and its pictures."""
    for path in sorted((Path(config.docs_dir) / FOLDER).glob("*.ipynb")):
        notebook = files.get_file_from_path(f"{FOLDER}/{path.name}")
        if notebook is not None:
            files.remove(notebook)
        text, pictures = convert(path)
        files.append(File.generated(config, f"{FOLDER}/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"{FOLDER}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to notebooks at their pages."""
    return _LINK.sub(r"\1.md\2", markdown)


def convert(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by their names relative to the page.

    Args:
        path: The notebook.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("%%bash\n"):
            cell.metadata["magics_language"] = "bash"
    folder = f"{path.stem}_files"
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, resources={"output_files_dir": folder, "unique_key": path.stem}
    )
    pictures = {posixpath.normpath(name): data for name, data in resources["outputs"].items()}
    return text, pictures
