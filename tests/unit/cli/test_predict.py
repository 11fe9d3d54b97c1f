"""If this fails, a killed reader shows a traceback, or a closed output is taken for one."""

from __future__ import annotations

import pytest

from thor_geo.cli.predict import is_dead_worker

KILLED = RuntimeError("DataLoader worker (pid 14815) is killed by signal: Killed.")


@pytest.mark.parametrize(
    ("error", "finished", "dead"),
    [
        (KILLED, False, True),
        # It may be killed while it is being ended.
        (KILLED, True, True),
        (ConnectionResetError(104, "Connection reset by peer"), False, True),
        (EOFError(), False, True),
        (BrokenPipeError(32, "Broken pipe"), True, False),
        (RuntimeError("shapes cannot be multiplied"), False, False),
    ],
)
def test_a_dead_worker_is_told_from_a_closed_output(
    error: Exception, finished: bool, dead: bool
) -> None:
    assert is_dead_worker(error, finished=finished) == dead
