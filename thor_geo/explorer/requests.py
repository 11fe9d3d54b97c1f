"""From a path and a body to a call of the session: every value from outside is checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast, get_args

import numpy as np

from thor_geo.errors import InputError
from thor_geo.explorer.download import ExplorerFindings
from thor_geo.explorer.places import Unit
from thor_geo.explorer.session import MOST_NEIGHBOURS, SIDES, ExplorerSession
from thor_geo.support.arrays import Int64Array
from thor_geo.support.jsontext import parse_json

_BINARY, _JSON = "application/octet-stream", "application/json"


class Answer(NamedTuple):
    """A media type, a body, and the name to save it under, or None."""

    media_type: str
    body: Any
    name: str | None = None


def answer(session: ExplorerSession, path: str, body: bytes) -> Answer | None:
    """Answer a request to the API.

    Args:
        session: The run.
        path: What stands after ``api/``.
        body: JSON object with the arguments.

    Returns:
        The answer; None if there is no such question.

    Raises:
        InputError: If an argument is missing or wrong.
        ThorGeoError: If the run cannot be read.
    """
    ask = _QUESTIONS.get(path)
    if ask is None:
        return None
    try:
        given = parse_json(body) if body else {}
    except ValueError as error:
        raise InputError(f"`body` is no JSON ({error}). Send a JSON object.") from error
    if not isinstance(given, dict):
        raise InputError("`body` is no JSON object. Send one.")
    return ask(session, given)


def _run(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    return Answer(_JSON, session.run())


def _progress(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    return Answer(_JSON, session.progress())


def _places(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    return Answer(_BINARY, session.places(_unit(session, given)))


def _observations(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    return Answer(_BINARY, session.observations(_unit(session, given)))


def _similar(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    unit = _unit(session, given)
    place = _whole(given, "place", _count(session, unit))
    return Answer(_BINARY, session.similar(unit, place, _whole(given, "k", MOST_NEIGHBOURS + 1)))


def _probe(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    unit = _unit(session, given)
    return Answer(
        _BINARY,
        session.probe(
            unit,
            _indices(session, unit, given, "positive"),
            _indices(session, unit, given, "negative"),
        ),
    )


def _composite(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    session.composite.open()
    return Answer(_JSON, {"state": session.composite.state, "why": session.composite.why})


def _picture(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    return Answer(_BINARY, session.picture(_whole(given, "shard", session.shards), _side(given)))


def _thumbnail(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    unit = _unit(session, given)
    place = _whole(given, "place", _count(session, unit))
    return Answer(_BINARY, session.thumbnail(unit, place, _side(given)))


def _download(session: ExplorerSession, given: Mapping[str, Any]) -> Answer:
    unit = _unit(session, given)
    query = given.get("place")
    threshold = given.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise InputError(f"`threshold={threshold!r}` is no number. Give one from 0 to 1.")
    found = ExplorerFindings(
        query=None if query is None else _whole(given, "place", _count(session, unit)),
        k=_whole(given, "k", MOST_NEIGHBOURS + 1),
        positive=_indices(session, unit, given, "positive"),
        negative=_indices(session, unit, given, "negative"),
        threshold=float(threshold),
    )
    if found.query is None and not len(found.positive) and not len(found.negative):
        raise InputError(
            "`place`: nothing is found yet. Click a place or paint examples, then download."
        )
    file = session.download(unit, found)
    return Answer(file.media_type, file.content, file.name)


_QUESTIONS: dict[str, Callable[[ExplorerSession, Mapping[str, Any]], Answer]] = {
    "run": _run,
    "progress": _progress,
    "places": _places,
    "observations": _observations,
    "similar": _similar,
    "probe": _probe,
    "composite": _composite,
    "picture": _picture,
    "thumbnail": _thumbnail,
    "download": _download,
}


def _unit(session: ExplorerSession, given: Mapping[str, Any]) -> Unit:
    unit = given.get("unit")
    if unit not in session.units:
        known = " or ".join(session.units)
        raise InputError(f"`unit={unit!r}`: this run has {known}. Choose one of {get_args(Unit)}.")
    return cast(Unit, unit)


def _count(session: ExplorerSession, unit: Unit) -> int:
    return len(session.comparison(unit).places)


def _whole(given: Mapping[str, Any], name: str, end: int) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise InputError(f"`{name}={value!r}` is no whole number from 0 to {end - 1}. Give one.")
    return value


def _side(given: Mapping[str, Any]) -> int:
    side = given.get("side")
    if side not in SIDES:
        raise InputError(f"`side={side!r}` is not one of {SIDES}. Give one of these.")
    return cast(int, side)


def _indices(
    session: ExplorerSession, unit: Unit, given: Mapping[str, Any], name: str
) -> Int64Array:
    values, end = given.get(name, []), _count(session, unit)
    if not isinstance(values, list) or not all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < end for v in values
    ):
        raise InputError(f"`{name}` is no list of whole numbers from 0 to {end - 1}. Give one.")
    return np.unique(np.array(values, dtype=np.int64))
