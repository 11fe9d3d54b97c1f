"""The comments of configs, from the docstrings that explain the settings.

A comment begins with the setting's first sentence, its type and default; what follows the bracket
is the config's own: ``# Side of a tile in pixels. [int, default 288] Small, for a quick look.``

    python -m tests.support.config_comments configs/*.yaml configs/*/*.yaml
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from thor_geo.cli.settings import CLASSES, SettingDoc, settings_of

WIDTH = 100
KEY = re.compile(r"( *)(\w+):( .*)?")


@dataclass
class Entry:
    """A key of a config: its line, its path without `init_args`, and the comment above it."""

    line: int
    indent: int
    path: str
    comment: str
    first: int

    @property
    def own(self) -> str:
        """What the config itself says, which holds no brackets."""
        return self.comment.rpartition("]")[2].strip()


def entries(text: str) -> Iterator[Entry]:
    """Yield the keys of a config that stand on lines of their own."""
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.strip().startswith("#"):
            comment.append(line.strip().lstrip("# "))
            continue
        if match := KEY.fullmatch(line):
            indent = len(match[1])
            stack = [item for item in stack if item[0] < indent] + [(indent, match[2])]
            path = ".".join(name for _, name in stack if name != "init_args")
            yield Entry(number, indent, path, " ".join(comment), number - len(comment))
        comment = []


def documented(text: str) -> dict[str, SettingDoc]:
    """Return the settings that a config may have, by their path."""
    config = yaml.safe_load(text)
    found = {}
    for section, kind in CLASSES.items():
        named = config.get(section)
        path = named.get("class_path", kind) if isinstance(named, dict) else kind
        if path.startswith("thor_geo."):
            found |= {f"{section}.{row.key}": row for row in settings_of(path)}
    return found


def beginning(row: SettingDoc) -> str:
    """Return what the comment of a setting begins with."""
    default = "required" if row.default is None else f"default {row.default}"
    return f"{row.summary} [{row.kind}, {default}]"


def commented(text: str) -> str:
    """Return a config with the comments that the docstrings say."""
    rows, lines = documented(text), text.splitlines()
    for entry in reversed([*entries(text)]):
        if entry.path in rows:
            whole = f"{beginning(rows[entry.path])} {entry.own}".strip()
            lead = f"{' ' * entry.indent}# "
            lines[entry.first : entry.line] = textwrap.wrap(
                whole,
                WIDTH,
                initial_indent=lead,
                subsequent_indent=lead,
                break_on_hyphens=False,
                break_long_words=False,
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(commented(path.read_text(encoding="utf-8")), encoding="utf-8")
