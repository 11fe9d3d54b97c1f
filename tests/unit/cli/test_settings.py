"""If one of these fails, help, reference and configs explain other settings than there are."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from typing import Any, get_args, get_type_hints

import docstring_parser
import pytest

from thor_geo.cli.settings import CLASSES, section_settings, settings_of

PATHS = (*CLASSES.values(), "thor_geo.datamodules.FolderDataModule")


def loaded(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def groups(kind: type) -> dict[str, Any]:
    """Return the dataclasses among a constructor's arguments."""
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    return {
        name: part
        for name, hint in hints.items()
        for part in (hint, *get_args(hint))
        if dataclasses.is_dataclass(part)
    }


@pytest.mark.parametrize("path", PATHS)
def test_what_is_read_are_the_keys_that_the_classes_take(path: str) -> None:
    kind = loaded(path)
    expected = [*inspect.signature(kind).parameters]
    for name, group in groups(kind).items():
        place = expected.index(name) + 1
        expected[place:place] = [f"{name}.{field.name}" for field in dataclasses.fields(group)]
    assert [row.key for row in settings_of(path)] == expected


@pytest.mark.parametrize("path", PATHS)
def test_texts_and_defaults_are_those_of_the_classes(path: str) -> None:
    kind = loaded(path)
    rows = {row.key: row for row in settings_of(path)}
    for prefix, owner in (("", kind), *((f"{n}.", g) for n, g in groups(kind).items())):
        parameters = inspect.signature(owner).parameters
        documented = docstring_parser.parse(
            inspect.getdoc(owner if prefix else owner.__init__) or ""
        ).params
        assert [item.arg_name for item in documented] == list(parameters)
        for item in documented:
            row, default = rows[prefix + item.arg_name], parameters[item.arg_name].default
            words = (item.description or "").replace("`", "").split()
            assert row.text.split()[: len(words) // 2] == [
                {"None": "null", "True": "true", "False": "false"}.get(word, word)
                for word in words[: len(words) // 2]
            ]
            assert (row.default is None) == (default is inspect.Parameter.empty)
            if default is None or isinstance(default, bool):
                assert row.default == {None: "null", True: "true", False: "false"}[default]
            elif isinstance(default, int | str):
                assert row.default == str(default)


def test_every_text_is_a_sentence() -> None:
    for section in CLASSES:
        for row in section_settings(section):
            assert row.text.endswith(".")
            assert row.text[0].isupper() or row.text.startswith(("null", "{}")), row
            assert row.summary.count(".") >= 1


def test_settings_that_follow_others_are_left_out() -> None:
    assert "image_size" not in {row.key for row in section_settings("model")}
