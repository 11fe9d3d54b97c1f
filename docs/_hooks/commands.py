"""Fills the page of commands with what each prints for ``--help``."""

from __future__ import annotations

import contextlib
import io
import os
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from thor_geo.cli.main import COMMANDS, main

PAGE = "reference/commands.md"

# Columns that a block of code shows without scrolling.
_COLUMNS = "90"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the help texts."""
    if page.file.src_uri != PAGE:
        return markdown
    parts = [_block()]
    parts += [f"## thor-geo {command}\n\n{_block(command)}" for command in COMMANDS]
    return "\n\n".join([markdown, *parts])


def help_text(*command: str) -> str:
    """Return what ``thor-geo COMMAND --help`` prints.

    Args:
        command: The command; none for ``thor-geo --help``.
    """
    out = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": _COLUMNS}),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),  # argparse ends the process after printing
    ):
        main([*command, "--help"])
    return out.getvalue()


def _block(*command: str) -> str:
    return f"```text\n{help_text(*command)}```"
