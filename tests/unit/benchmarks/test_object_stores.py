"""If this fails, the comparison of object stores asks what it does not say, or misses a fault."""

from __future__ import annotations

import json

import pytest

from benchmarks.support import store_questions
from benchmarks.support.object_store import ObjectStore
from benchmarks.support.report import RESULTS
from benchmarks.support.store_questions import QUESTIONS
from thor_geo.storage import StorePath

RESULT = json.loads((RESULTS / "object_stores.json").read_text())


def test_a_store_answers_as_it_did(bucket: ObjectStore) -> None:
    """The questions that take no time; the measured answers are moto's of another day."""
    given = {row["question"]: row["moto"] for row in RESULT["rows"]}
    for question in (
        store_questions.conditional,
        store_questions.accepted,
        store_questions.absent,
        store_questions.prefix,
        store_questions.beyond,
        store_questions.names,
        store_questions.etag,
    ):
        assert question(bucket.path("run")) == given[str(question.__doc__).rstrip(".")]


def test_a_store_that_replaces_is_found(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_questions, "KEYS", 1)
    monkeypatch.setattr(StorePath, "put_if_absent", lambda path, content: path.put(content) or True)
    assert store_questions.winners(bucket.path("run")) == "1 x 20 winners"
    assert store_questions.accepted(bucket.path("run")) != QUESTIONS[store_questions.accepted]


def test_three_stores_were_asked_everything() -> None:
    questions = [str(question.__doc__).rstrip(".") for question in QUESTIONS]
    assert [row["question"] for row in RESULT["rows"]] == questions
    assert all(len(row) == 4 for row in RESULT["rows"])
    assert RESULT["holds"]
