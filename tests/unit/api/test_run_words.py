"""If this fails, a run in a notebook says what is not so, or its page is not safe to show."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.support.place_run import write_places
from tests.support.synthetic_run import TWO_ZONES, Model, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo import Run, open_run
from thor_geo.api import _run_words


class NamedModel(Model):
    """A model whose name is markup."""

    def info(self) -> dict[str, object]:
        return {**super().info(), "model_key": "<script>alert(1)</script>"}


def html(run: Run) -> str:
    return run._repr_html_()


def test_a_few_lines_say_what_is_there(tmp_path: Path) -> None:
    plan = plan_of(TWO_ZONES)
    write_run(tmp_path / "run", plan, failed={1: "no"}, empty=(2,), grid=True, dtype="int8")
    text = repr(open_run(tmp_path / "run"))
    assert 3 <= len(text.splitlines()) <= 8
    for told in (
        f"{len(plan)} tiles in utm32n, utm33n",
        f"{len(plan) - 2} ok, 1 empty, 1 failed; complete, except for failed tiles",
        "2022-06-01 to 2022-09-01",
        "5 x int8 in pooled/",
        "int8 in grid.zarr",
        "random weights",
    ):
        assert told in text
        assert told in re.sub("<[^>]*>", "", html(open_run(tmp_path / "run")))
    assert "colours" not in text, "there are none in a text"


@pytest.mark.parametrize(("only", "told"), [(0, "no shard is finished yet"), (1, "left; ")])
def test_an_unfinished_run_can_be_looked_at(tmp_path: Path, only: int, told: str) -> None:
    write_run(tmp_path / "run", plan_of(TWO_ZONES), grid=True, only=only)
    run = open_run(tmp_path / "run")
    assert told in repr(run)
    assert told in html(run)
    assert run, "its rows are not counted"


def test_windows_and_skipped_rows_are_told(tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", plan_of())
    assert "1: 2022-06-01 to 2022-09-01" in repr(open_run(tmp_path / "windows"))
    write_places(tmp_path / "places", grid=True)
    text = repr(open_run(tmp_path / "places"))
    for told in ("11 places", "1 of 12 rows skipped", "(pooled and centre)", "in places.zarr"):
        assert told in text


def test_a_large_run_is_not_counted_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", plan_of(TWO_ZONES))
    monkeypatch.setattr(_run_words, "_COUNTED", 1)
    assert "run.status() counts" in repr(open_run(tmp_path / "run"))


def test_the_page_is_escaped_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "<b>run & co"
    write_run(path, plan_of(), model=NamedModel())
    page = html(open_run(path))
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;run &amp; co" in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"https?:|//[a-z]|\bon\w+=|url\(", page)


def test_the_quicklook_is_in_the_page_and_small(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of())
    run = open_run(tmp_path / "run")
    assert "<img" not in html(run), "no picture yet"
    picture = tmp_path / "run" / "quicklook.png"
    Image.effect_noise((1600, 2400), 80).convert("RGBA").save(picture)
    found = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html(run))
    assert found is not None
    content = base64.b64decode(found[1])
    with Image.open(io.BytesIO(content)) as small:
        assert small.size == (600, 900)
    assert len(content) < picture.stat().st_size / 10
    for damage in (b"", b"no picture", picture.read_bytes()[:5000]):
        picture.write_bytes(damage)
        assert "quicklook.png cannot be read" in html(run)
