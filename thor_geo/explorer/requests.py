"""Turns a path and a body into a call of the session; checks every value from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from thor_geo.errors import InputError
from thor_geo.explorer.download import Answer, ExplorerFindings
from thor_geo.explorer.located import ExplorerUnit
from thor_geo.explorer.session import MOST_NEIGHBOURS, SIDES, ExplorerSession
from thor_geo.support.arrays import Int64Array
from thor_geo.support.jsontext import parse_json

_BINARY, _JSON = "application/octet-stream", "application/json"


def answer(session: ExplorerSession, path: str, body: bytes) -> Answer | None:
    """Answer a request to the API.

    Args:
        session: The run.
        path: The path after ``api/``.
        body: JSON object with the arguments.

    Returns:
        The answer; None if there is no such request.

    Raises:
        InputError: If an argument is missing or wrong.
        ThorGeoError: If the run cannot be read.
    """
    ask = _HANDLERS.get(path)
    if ask is None:
        return None
    try:
        arguments = parse_json(body) if body else {}
    except ValueError as error:
        raise InputError(f"`body` is not JSON ({error}). Send a JSON object.") from error
    if not isinstance(arguments, dict):
        raise InputError("`body` is not a JSON object. Send one.")
    return ask(session, arguments)


def _run(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    return Answer(_JSON, session.run())


def _progress(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    return Answer(_JSON, session.progress())


def _places(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    return Answer(_BINARY, session.places(_unit(session, arguments)))


def _observations(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    return Answer(_BINARY, session.observations(_unit(session, arguments)))


def _column(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    name = arguments.get("name")
    if not isinstance(name, str):
        raise InputError(f"`name={name!r:.50}` is not the name of a column. Give one.")
    return Answer(_BINARY, session.column(_unit(session, arguments), name))


def _describe(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    unit = _unit(session, arguments)
    place = _whole(arguments, "place", _count(session, unit))
    return Answer(_JSON, session.describe(unit, place))


def _similar(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    unit = _unit(session, arguments)
    place = _whole(arguments, "place", _count(session, unit))
    return Answer(
        _BINARY, session.similar(unit, place, _whole(arguments, "k", MOST_NEIGHBOURS + 1))
    )


def _probe(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    unit = _unit(session, arguments)
    return Answer(
        _BINARY,
        session.probe(
            unit,
            _indices(session, unit, arguments, "positive"),
            _indices(session, unit, arguments, "negative"),
        ),
    )


def _composite(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    session.composite.open()
    return Answer(_JSON, {"state": session.composite.state, "why": session.composite.why})


def _picture(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    return Answer(
        _BINARY, session.picture(_whole(arguments, "shard", session.shards), _side(arguments))
    )


def _thumbnail(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    unit = _unit(session, arguments)
    place = _whole(arguments, "place", _count(session, unit))
    return Answer(_BINARY, session.thumbnail(unit, place, _side(arguments)))


def _download(session: ExplorerSession, arguments: Mapping[str, Any]) -> Answer:
    unit = _unit(session, arguments)
    query = arguments.get("place")
    threshold = arguments.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise InputError(f"`threshold={threshold!r}` is not a number. Give one from 0 to 1.")
    findings = ExplorerFindings(
        query=None if query is None else _whole(arguments, "place", _count(session, unit)),
        k=_whole(arguments, "k", MOST_NEIGHBOURS + 1),
        positive=_indices(session, unit, arguments, "positive"),
        negative=_indices(session, unit, arguments, "negative"),
        threshold=float(threshold),
    )
    if findings.query is None and not len(findings.positive) and not len(findings.negative):
        raise InputError(
            "`place`: there is nothing to download yet. Click a place or paint examples first."
        )
    return session.download(unit, findings)


_HANDLERS: dict[str, Callable[[ExplorerSession, Mapping[str, Any]], Answer]] = {
    "run": _run,
    "progress": _progress,
    "places": _places,
    "observations": _observations,
    "column": _column,
    "describe": _describe,
    "similar": _similar,
    "probe": _probe,
    "composite": _composite,
    "picture": _picture,
    "thumbnail": _thumbnail,
    "download": _download,
}


def _unit(session: ExplorerSession, arguments: Mapping[str, Any]) -> ExplorerUnit:
    unit = arguments.get("unit")
    if unit not in session.units:
        known = " or ".join(session.units)
        raise InputError(f"`unit={unit!r}`: this run has {known}. Give one it has.")
    return cast(ExplorerUnit, unit)


def _count(session: ExplorerSession, unit: ExplorerUnit) -> int:
    return len(session.comparison(unit).places)


def _whole(arguments: Mapping[str, Any], name: str, end: int) -> int:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise InputError(f"`{name}={value!r}` is not a whole number from 0 to {end - 1}. Give one.")
    return value


def _side(arguments: Mapping[str, Any]) -> int:
    side = arguments.get("side")
    if side not in SIDES:
        raise InputError(f"`side={side!r}` is not one of {SIDES}. Give one of these.")
    return cast(int, side)


def _indices(
    session: ExplorerSession, unit: ExplorerUnit, arguments: Mapping[str, Any], name: str
) -> Int64Array:
    values, end = arguments.get(name, []), _count(session, unit)
    if not isinstance(values, list) or not all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < end for v in values
    ):
        raise InputError(f"`{name}` is not a list of whole numbers from 0 to {end - 1}. Give one.")
    return np.unique(np.array(values, dtype=np.int64))
