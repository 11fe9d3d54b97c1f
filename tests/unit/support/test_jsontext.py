"""If these fail, a file that Python's JSON parser takes in good faith breaks what reads it."""

from __future__ import annotations

import pytest

from thor_geo.support.jsontext import DEEPEST, fits, parse_json


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "not a number"),
        ('{"a": -Infinity}', "not a number"),
        ("[1e999]", "not JSON compliant"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' comes twice"),
        ("[" * 100_000 + "]" * 100_000, "levels deep"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "levels deep"),
        ('{"a": "\\ud800"}', "surrogates"),
        ("9" * 5000, "limit"),
        (b"\xff\xfe\x00", "codec"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_what_is_not_json_of_ours_is_refused(text: str | bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json(text)


def test_everything_else_is_as_pythons_parser_reads_it() -> None:
    text = '{"a": [1, 2.5, null, true, "\\u00e9 \\ud83d\\ude00"], "b": {"c": []}, "d": -3e-5}'
    expected = {"a": [1, 2.5, None, True, "é \N{GRINNING FACE}"], "b": {"c": []}, "d": -3e-5}
    assert parse_json(text) == expected
    assert parse_json(text.encode("utf-16")) == expected
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert str(parse_json(deep)) == deep


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", 3, True),
        ("int | None", None, 3.0),
        ("float", 3, "3"),
        ("bool", False, 0),
        ("str", "", None),
        ("tuple[int, ...]", (1, 2), (1, "2")),
        ("Mapping[str, str]", {"a": "b"}, {"a": 1}),
        ("Mapping[str, str]", {}, [("a", "b")]),
    ],
)
def test_types(kind: str, good: object, bad: object) -> None:
    assert fits(kind, good)
    assert not fits(kind, bad)
