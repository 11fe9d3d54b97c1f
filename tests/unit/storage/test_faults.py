"""If this fails, a store that fails costs a run its data, or its user the reason.

A quick part of `benchmarks/chaos/store.py`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.support.object_store import ObjectStore
from benchmarks.support.store_faults import TRIALS, Trial, play
from thor_geo.storage import requests

OBJECTS = 20


@pytest.mark.parametrize("trial", TRIALS, ids=[trial.name for trial in TRIALS])
def test_nothing_is_lost_and_every_request_is_counted(
    bucket: ObjectStore, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_FIRST_WAIT_S", 0.001)
    halfway = replace(trial, plan=replace(trial.plan, spared=2 * OBJECTS if trial.remedy else 0))
    row, faults = play(bucket, halfway, OBJECTS)
    assert faults == []
    assert row["lost"] == 0
    assert row["met a fault"] > 0
    assert (trial.remedy or "") in row["said"]
