from __future__ import annotations

import pytest

from thor_geo.errors import ConfigError
from thor_geo.ground.job import Job, part, share


@pytest.mark.parametrize(("total", "count"), [(0, 3), (1, 4), (7, 3), (64, 64), (100, 7), (3, 8)])
def test_parts_follow_one_another_and_are_everything(total: int, count: int) -> None:
    parts = [part(total, k, count) for k in range(count)]
    assert [k for one in parts for k in one] == list(range(total))
    sizes = sorted(map(len, parts))
    assert sizes[-1] - sizes[0] <= 1
    assert len(parts[0]) == sizes[-1], "the first is not idle while another works"


def test_jobs_are_numbered_from_one() -> None:
    assert [list(Job.parse(f"{k}/3").part(8)) for k in (1, 2, 3)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7],
    ]
    assert Job().part(5) == range(5)


@pytest.mark.parametrize("text", ["1/1", "17/64", "17/64%8"])
def test_the_text_of_a_job_names_it(text: str) -> None:
    assert str(Job.parse(text)) == text


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "1/4%0", "a/b", "1/4%", "-1/4"])
def test_what_names_no_job_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="job"):
        Job.parse(text)


def test_the_budget_is_divided_over_the_ranks_of_the_jobs_that_run_at_once() -> None:
    assert Job().share(40) == 40
    assert [Job().share(40, rank=k, world_size=3) for k in range(3)] == [14, 13, 13]
    assert Job.parse("17/64%8").share(40) == 5
    assert {Job.parse(f"{k}/64%12").share(40) for k in range(1, 65)} == {3}, "any 12 may run"
    shares = [
        Job.parse(f"{k}/2").share(40, rank=rank, world_size=4) for k in (1, 2) for rank in range(4)
    ]
    assert sum(shares) == 40
    # More jobs said to run at once than there are: those there are share everything.
    assert Job.parse("1/2%8").share(40) == 20


def test_every_process_may_ask_even_where_there_are_more_than_slots() -> None:
    assert {share(40, k, 64) for k in range(64)} == {1}
