"""Fills the page of settings with tables of what the docstrings say about each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from thor_geo.cli.settings import CLASSES, SettingDoc, section_settings, settings_of

PAGE = "reference/settings.md"
FOLDER = "thor_geo.datamodules.FolderDataModule"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the tables."""
    if page.file.src_uri != PAGE:
        return markdown
    return "\n\n".join([markdown, *tables()])


def tables() -> Iterator[str]:
    """Yield a heading and a table for each section, and for each group of settings in it."""
    for section, path in CLASSES.items():
        yield from _section(section, path.rpartition(".")[2], section_settings(section))
    yield f"## Data from a folder\n\n`data.class_path: {FOLDER}` takes these instead."
    yield _table("data", settings_of(FOLDER))


def _section(section: str, kind: str, rows: Sequence[SettingDoc]) -> Iterator[str]:
    yield f"## {section}\n\nThe settings of `{kind}`."
    yield _table(section, [row for row in rows if not row.group])
    for group in dict.fromkeys(row.group for row in rows if row.group):
        kind = next(row.kind for row in rows if row.key == group)
        yield f"### {section}.{group}\n\nA `{kind}`."
        yield _table(section, [row for row in rows if row.group == group])


def _table(section: str, rows: Sequence[SettingDoc]) -> str:
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for row in rows:
        default = "required" if row.default is None else f"`{row.default}`"
        cells = (f"`{section}.{row.key}`", row.kind, default, row.text)
        lines.append(f"| {' | '.join(cell.replace('|', 'or') for cell in cells)} |")
    return "\n".join(lines)
