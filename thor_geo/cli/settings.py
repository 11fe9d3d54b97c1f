"""What the settings of a run mean, read from the docstrings of the classes that take them.

The source files are parsed, not imported: that takes milliseconds, where loading Lightning and
PyTorch takes seconds. Help, reference and the comments of shipped configs are made from this.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path

#: The class of `data` unless a config names another.
COMPOSITE = "thor_geo.datamodules.CompositeDataModule"

#: Settings of the model that follow another key, which is the one to set.
LINKED: Mapping[str, str] = {
    "image_size": "data.tile_size",
    "resolution": "data.resolution",
    "bands": "data.sentinel2.bands",
    "pooled": "output.pooled",
    "grid": "output.grid",
    "centre": "output.centre",
}

#: The sections of a run, and the classes that take them unless a config names others.
CLASSES: Mapping[str, str] = {
    "model": "thor_geo.tasks.THOREmbeddingTask",
    "data": COMPOSITE,
    "output": "thor_geo.tasks.RunWriter",
}

_PACKAGE = Path(__file__).parents[1]
_ITEM = re.compile(r"    (\w+): (.*)")
_SENTENCE_END = re.compile(r"(?<!e\.g)\.\s")
_WORDS = {"None": "null", "True": "true", "False": "false"}


@dataclass(frozen=True, kw_only=True)
class SettingDoc:
    """One setting of a class.

    Attributes:
        key: Its name; of a group's member the group's name, a dot, and its own.
        kind: Its type as configs name it.
        default: Its default as YAML, or None where it is required.
        text: What it means.
    """

    key: str
    kind: str
    default: str | None
    text: str

    @property
    def group(self) -> str:
        """The group's name; empty for a setting that is in none."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its name within the group."""
        return self.key.rpartition(".")[2]

    @property
    def summary(self) -> str:
        """The first sentence of the text."""
        return _SENTENCE_END.split(self.text)[0].rstrip(".") + "."


def settings_of(class_path: str, *, hidden: frozenset[str] = frozenset()) -> list[SettingDoc]:
    """Return the settings of a class of this package, those of its groups too.

    Args:
        class_path: Module and name of the class.
        hidden: Settings to leave out.
    """
    module, _, name = class_path.rpartition(".")
    return [row for row in _class_settings(module, name) if row.key not in hidden]


def section_settings(section: str) -> list[SettingDoc]:
    """Return the settings of a section of a run: ``model``, ``data`` or ``output``."""
    hidden = frozenset(LINKED) if section == "model" else frozenset[str]()
    return settings_of(CLASSES[section], hidden=hidden)


def _class_settings(module: str, name: str) -> Iterator[SettingDoc]:
    home, node = _definition(module, name)
    assert isinstance(node, ast.ClassDef)
    init = next(
        (f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None
    )
    texts = _documented(ast.get_docstring(init or node) or "")
    for key, hint, default in _parameters(node if init is None else init):
        choices, groups = _choices(home, hint), _groups(home, hint)
        text = texts[key]
        if any(choice not in text for choice in choices):
            text = f"{text} One of {', '.join(choices)}."
        kind = " | ".join(groups) or _kind(home, hint)
        yield SettingDoc(key=key, kind=kind, default=_default(home, default), text=text)
        for group, home_of_group in groups.items():
            for row in _class_settings(home_of_group, group):
                yield SettingDoc(
                    key=f"{key}.{row.key}", kind=row.kind, default=row.default, text=row.text
                )


def _parameters(
    node: ast.ClassDef | ast.FunctionDef,
) -> Iterator[tuple[str, ast.expr, ast.expr | None]]:
    """Yield name, annotation and default of a constructor's arguments or a dataclass's fields."""
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.target.id, field.annotation, field.value
        return
    arguments = node.args.args[1:]
    padding = [None] * (len(arguments) - len(node.args.defaults))
    for argument, default in zip(arguments, [*padding, *node.args.defaults], strict=True):
        assert argument.annotation is not None
        yield argument.arg, argument.annotation, default


def _documented(docstring: str) -> dict[str, str]:
    """Return the texts of a Google docstring's arguments or attributes, in YAML's words."""
    texts: dict[str, list[str]] = {}
    current: list[str] | None = None
    inside = False
    for line in cleandoc(docstring).splitlines():
        if line and not line.startswith(" "):
            inside = line in ("Args:", "Attributes:")
        elif inside and (item := _ITEM.fullmatch(line)):
            current = texts[item[1]] = [item[2]]
        elif inside and current is not None:
            current.append(line.strip())
    return {name: _in_yaml(" ".join(parts)) for name, parts in texts.items()}


def _in_yaml(text: str) -> str:
    plain = text.replace("``", "").replace("`", "").strip()
    return re.sub(r"\b(None|True|False)\b", lambda word: _WORDS[word[0]], plain)


@cache
def _tree(module: str) -> ast.Module:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _definition(module: str, name: str) -> tuple[str, ast.AST | None]:
    """Return the module that defines a name, and the definition; follows imports.

    None for what another package defines.
    """
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return module, node.value  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom) and any(a.name == name for a in node.names):
            source = node.module or ""
            return _definition(source, name) if source.startswith("thor_geo") else (source, None)
    return module, None


def _names(hint: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(hint) if isinstance(node, ast.Name)]


def _groups(module: str, hint: ast.expr) -> dict[str, str]:
    """Return the dataclasses that an annotation names, and the module of each."""
    groups = {}
    for name in _names(hint):
        home, node = _definition(module, name)
        if isinstance(node, ast.ClassDef):
            groups[name] = home
    return groups


def _choices(module: str, hint: ast.expr) -> list[str]:
    """Return the words of a setting that is one of some words."""
    for name in ["", *_names(hint)]:
        node = _definition(module, name)[1] if name else hint
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            return [str(choice) for choice in ast.literal_eval(node.slice)]
    return []


def _kind(module: str, hint: ast.expr) -> str:
    """Return a type as configs name it."""
    if isinstance(hint, ast.BinOp):
        kinds = [_kind(module, side) for side in (hint.left, hint.right)]
        return " | ".join(kind for kind in kinds if kind != "None")
    if isinstance(hint, ast.Subscript):
        name = ast.unparse(hint.value)
        if name == "Literal":
            return "str"
        if name == "tuple" and isinstance(hint.slice, ast.Tuple):
            parts = [ast.unparse(part) for part in hint.slice.elts]
            if "..." not in parts:
                return f"{len(parts)} {parts[0]}s"
        return "dict" if name in ("Mapping", "dict") else "list"
    if isinstance(hint, ast.Name) and _choices(module, hint):
        return "str"
    name = ast.unparse(hint)
    return "path" if name == "Path" else name


def _default(module: str, node: ast.expr | None) -> str | None:
    """Return a default as YAML; None for what is required."""
    if node is None:
        return None
    if isinstance(node, ast.Name):
        resolved = _definition(module, node.id)[1]
        return _default(module, resolved) if isinstance(resolved, ast.expr) else node.id
    if isinstance(node, ast.Call):  # a group with its defaults, or an empty dict
        return "{}"
    return _yaml(ast.literal_eval(node))


def _yaml(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
