"""Makes the keys of the help page: ``python -m thor_geo.cli.making`` writes `_keys.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser

from thor_geo.cli.arguments import LINKED
from thor_geo.datamodules import CompositeDataModule
from thor_geo.tasks import RunWriter, THOREmbeddingTask

#: The sections of a run, and the classes they configure unless another is named.
CLASSES: Mapping[str, type] = {
    "model": THOREmbeddingTask,
    "data": CompositeDataModule,
    "output": RunWriter,
}

#: What `source` belongs into.
TARGET = Path(__file__).with_name("_keys.py")

# Where a sentence ends that is not the last one.
_FIRST = re.compile(r"(?<!e\.g)\.\s")

# Longer defaults go into the text, so that the column stays narrow.
_LONG = 16


def source() -> str:
    """Return the text of `_keys.py`."""
    lines = [
        '"""Made by ``python -m thor_geo.cli.making``; do not edit."""',
        "",
        "# ruff: noqa: E501",
        "",
        "#: Class, and (key, type and default, meaning) of each key, by section.",
        "KEYS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {",
    ]
    for section, kind in CLASSES.items():
        lines += [f"    {_quoted(section)}: (", f"        {_quoted(kind.__name__)},", "        ("]
        for row in _rows(section, kind):
            lines += ["            (", *(f"                {_quoted(one)}," for one in row)]
            lines.append("            ),")
        lines += ["        ),", "    ),"]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _rows(section: str, kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield key, type with default, and meaning of every key that can be set."""
    init = inspect.getattr_static(kind, "__init__")
    hints = get_type_hints(init)
    parsed = docstring_parser.parse(inspect.getdoc(init) or "").params
    docs = {param.arg_name: param.description or "" for param in parsed}
    for name, parameter in inspect.signature(init).parameters.items():
        if name == "self" or (section == "model" and name in LINKED):
            continue
        hint, doc, default = hints[name], _plain(docs[name]), parameter.default
        if any(choice not in doc for choice in _choices(hint)):
            doc = f"{doc} One of {', '.join(_choices(hint))}."
        what = " required" if default is parameter.empty else f" = {_yaml(default)}"
        if len(what) > _LONG:
            what, doc = "", f"{doc} Default {_yaml(default)}."
        yield name, f"{_type(hint)}{what}", doc
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type):
                yield from _members(name, part)


def _members(name: str, kind: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the same of the fields of a key that is a dataclass."""
    types, defaults = get_type_hints(kind), {field.name: field.default for field in fields(kind)}
    for member in docstring_parser.parse(inspect.getdoc(kind) or "").params:
        # One sentence: the class's docstring and the README say more.
        key, doc = member.arg_name, _FIRST.split(_plain(member.description or ""))[0].rstrip(".")
        doc += "."
        what = _type(types[key])
        if defaults[key] is not None:
            what = f"{what} = {_yaml(defaults[key])}"
        if len(what) > _LONG + 4:
            what, doc = _type(types[key]), f"{doc} Default {_yaml(defaults[key])}."
        yield f"{name}.{key}", what, doc


def _plain(doc: str) -> str:
    """Return a docstring's text on one line, and null as YAML calls it."""
    return re.sub(r"\bNone\b", "null", " ".join(doc.split()).replace("``", "").replace("`", ""))


def _choices(hint: Any) -> list[str]:
    return [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []


def _type(hint: Any) -> str:
    """Return a type as the configs name it."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Literal:
        return "str"
    if NoneType in get_args(hint):
        return " | ".join(_type(part) for part in parts)
    if get_origin(hint) is tuple and Ellipsis not in parts:
        return f"{len(parts)} {_type(parts[0])}s"
    if get_origin(hint) is not None:
        return "dict" if get_origin(hint) is Mapping else "list"
    return "path" if hint is Path else str(hint.__name__)


def _yaml(value: object) -> str:
    """Return a default as YAML has it."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
