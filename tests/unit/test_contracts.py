"""If one of these fails, a stranger looks for something in the wrong room."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = [name for name in ("thor_geo", "datamodules") if (ROOT / name).is_dir()]
MODULES = {
    path.relative_to(ROOT): ast.parse(path.read_text())
    for name in PACKAGES
    for path in sorted((ROOT / name).rglob("*.py"))
}
ROOMS = {
    f"thor_geo.{path.stem}"
    for path in (ROOT / "thor_geo").iterdir()
    if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
}


def imported(tree: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """Return line and parts of every name of this project that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name.split(".")) for name in names)


def test_no_name_with_an_underscore_is_imported_from_another_package() -> None:
    offenders = []
    for path, tree in MODULES.items():
        package = list(path.parent.parts)
        for line, parts in imported(tree):
            if parts[0] not in PACKAGES:
                continue
            for depth, part in enumerate(parts):
                private = part.startswith("_") and not part.startswith("__")
                module = ROOT.joinpath(*parts[:depth]).with_suffix(".py").is_file()
                owner = parts[: depth - 1] if module else parts[:depth]
                # A package inside the owner belongs to it.
                if private and package[: len(owner)] != owner:
                    offenders.append(f"{path}:{line}: {'.'.join(parts)}")
    assert offenders == []


def test_the_root_of_the_package_holds_rooms_and_little_else() -> None:
    folder = ROOT / "thor_geo"
    modules = {path.name for path in folder.iterdir() if path.is_file()}
    expected = {"__init__.py", "__main__.py", "errors.py", "terratorch.py", "py.typed"}
    assert modules == expected
    folders = [path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert [path.name for path in folders if not (path / "__init__.py").is_file()] == []


def alias_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Return name and line of the module's own type aliases: in CamelCase, set to an expression."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and re.fullmatch(r"_?[A-Z]\w*[a-z]\w*", target.id):
                yield target.id, node.lineno


def test_no_two_classes_or_type_aliases_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in MODULES.items():
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        for name, line in [*((node.name, node.lineno) for node in classes), *alias_names(tree)]:
            places[name].append(f"{path}:{line}")
    assert {name: lines for name, lines in places.items() if len(lines) > 1} == {}


def test_every_room_has_a_floor() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [
        rule["layers"]
        for rule in settings["contracts"]
        if rule["type"] == "layers" and "containers" not in rule
    ]
    listed = [room.strip() for floor in layers for room in floor.split("|")]
    assert len(listed) == len(set(listed))
    assert set(listed) == ROOMS | set(PACKAGES) - {"thor_geo"}
