"""Makes pages of sections of the README, so that they stand in one place only."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: The page of each section, and its title, by the section's heading.
PAGES = {
    "Knobs": ("reference/settings.md", "Settings"),
    "Troubleshooting": ("troubleshooting.md", "Troubleshooting"),
}

_SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_RELATIVE = re.compile(r"\]\((?!\w+:|#)([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    text = (Path(config.docs_dir).parent / "README.md").read_text(encoding="utf-8")
    sections = dict(_SECTION.findall(text))
    for name, (page, title) in PAGES.items():
        content = f"# {title}\n{moved(sections[name], page)}"
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links to these sections lead to their pages."""
    folder = posixpath.dirname(page.file.src_uri) or "."
    for name, (target, _) in PAGES.items():
        link = re.compile(rf"\]\((\.\./)+README\.md#{name.lower()}\)")
        markdown = link.sub(f"]({posixpath.relpath(target, folder)})", markdown)
    return markdown


def moved(text: str, page: str) -> str:
    """Return a text of the project's root with its links as a page of docs/ needs them.

    Args:
        text: Markdown.
        page: The page, relative to docs/.
    """
    folder = posixpath.dirname(f"docs/{page}")
    return _RELATIVE.sub(lambda m: f"]({posixpath.relpath(m[1], folder)})", text)
