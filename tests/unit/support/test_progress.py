"""If one of these fails, a person waits without knowing how long, or a log file fills with bars."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from thor_geo.support import progress
from thor_geo.support.progress import Progress, Rate, clock, is_first_process, speed, track


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_times_left_read_well() -> None:
    assert [clock(s) for s in (5.4, 65, 3661)] == ["0:05", "1:05", "1:01:01"]


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.56, "1,234.6 tiles/s"), (0.95, "0.9 tiles/s"), (0.036, "2.2 tiles/min")],
)
def test_a_slow_rate_is_not_shown_as_zero(rate: float, text: str) -> None:
    assert speed(rate) == text


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate(0.0)
    assert rate.value == 0
    rate.add(10.0, 10)  # a slow start
    for k in range(1, 21):
        rate.add(10.0 + 10 * k, 10 + 100 * k)
    assert rate.value == pytest.approx(10.0)


def test_a_log_file_gets_a_line_every_ten_seconds(
    seconds: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(100, "rows", label="merging", note="1 failed") as bar:
        for _ in range(50):
            seconds.now += 1
            bar.advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[1] == "[thor-geo]  40%  merging: 40/100 rows, 2.0 rows/s, 0:30 left, 1 failed"
    assert lines[-1] == "[thor-geo] 100%  merging: 100/100 rows, 2.0 rows/s, 1 failed"


def test_a_short_step_leaves_a_log_file_alone(
    seconds: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in track(range(9), "zones", label="planning"):
        seconds.now += 1
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar_to_the_end(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_terminal(monkeypatch)
    for _ in track(range(4), "zones", label="planning"):
        seconds.now += 5
    drawn = capsys.readouterr().err
    assert re.search(r" 25% \|.*\| planning: 1/4 zones, 12.0 zones/min, 0:15 left", drawn)
    assert re.search(r"100% \|.*\| planning: 4/4 zones, 12.0 zones/min", drawn.split("\r")[-1])


def test_a_terminal_without_a_size_shows_a_bar_as_well() -> None:
    code = "from thor_geo.support.progress import track; list(track(range(2), 'zones'))"
    ours, theirs = pty.openpty()  # 0 x 0 until somebody sets it
    try:
        subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
        assert b"2/2 zones" in os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_bar_with_a_delay_shows_only_where_a_step_takes_long(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_terminal(monkeypatch)
    with Progress(4, delay=2.0) as bar:
        seconds.now += 1.5
        bar.advance()
    assert capsys.readouterr().err == ""
    with Progress(4, delay=2.0) as bar:
        seconds.now += 2.5
        bar.advance()
    assert "1/4 tiles" in capsys.readouterr().err


def test_a_hidden_bar_shows_nothing(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_terminal(monkeypatch)
    assert list(track(iter("ab"), "letters", total=2, shown=False)) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_a_total_that_grows_does_not_end_at_a_hundred_percent_early(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_terminal(monkeypatch)
    with Progress(0, "blocks") as bar:
        seconds.now += 1
        bar.set(5, total=10)
        assert " 50% " in capsys.readouterr().err.split("\r")[-1]


def test_items_without_a_length_need_a_total() -> None:
    with pytest.raises(TypeError, match="total"):
        next(track(iter("ab"), "letters"))


@pytest.mark.parametrize(
    ("told", "first"),
    [({}, True), ({"RANK": "0", "LOCAL_RANK": "0"}, True), ({"SLURM_PROCID": "3"}, False)],
)
def test_only_one_rank_of_a_launch_shows_planning(
    told: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


def test_time_left_follows_the_work_left_not_the_number_of_items(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ten fits the first nine may take a second, and the last a minute."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Progress(10, "fits", interval=1e-6, work=69.0) as bar:
        for _ in range(9):
            now[0] += 1
            bar.advance(work=1)
        assert bar.text == "9/10 fits, 1:00 left"
        now[0] += 60
        bar.advance(work=60)
    lines = capsys.readouterr().err.splitlines()
    assert lines[8] == "[thor-geo]  13%  9/10 fits, 1:00 left"
    assert lines[9] == "[thor-geo] 100%  10/10 fits"
