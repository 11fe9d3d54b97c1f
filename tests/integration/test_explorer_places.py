"""The places of a table in a real Chromium: dots where they are, found, described and coloured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.support.asking import running
from tests.support.explorer_page import at, colour, opened_page, settle
from tests.support.place_files import plan_of_places, table_of, vector_of, write_place_run
from thor_geo.explorer.http import Server
from thor_geo.explorer.session import ExplorerSession
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.runs.opened_run import read_run

# On both sides of the antimeridian, far enough apart to be dots of their own.
LON = (np.array([k % 6 for k in range(30)]) * 0.4 + 179.0 + 180) % 360 - 180
LAT = np.array([k // 6 for k in range(30)]) * 0.4 - 18.0


@pytest.fixture(scope="module")
def table() -> Places:
    return table_of(LON, LAT)


@pytest.fixture(scope="module")
def plan(table: Places) -> PlacePlan:
    return plan_of_places(table)


@pytest.fixture(scope="module")
def server(
    table: Places, plan: PlacePlan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("places") / "run"
    write_place_run(path, table, plan)
    with running(ExplorerSession(read_run(path))) as one:
        yield one


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Page]:
    with opened_page(browser, server) as one:
        yield one


def test_every_place_is_a_dot_in_its_colour(page: Page) -> None:
    rgb = page.evaluate("() => Array.from(explorer.now.places.rgb)")
    assert len(rgb) == 3 * 30
    xs = []
    for place in range(30):
        x, y = at(page, place)
        xs.append(x)
        assert colour(page, x, y) == pytest.approx(rgb[3 * place : 3 * place + 3], abs=1)
    # Both sides of the antimeridian are one map, 2 degrees wide.
    assert max(xs) - min(xs) > 300
    assert page.evaluate("() => explorer.now.embeddings.drawn") == 30


def test_a_click_finds_and_names_the_most_similar_places(
    page: Page, plan: PlacePlan, table: Places
) -> None:
    page.mouse.click(*at(page, 4))
    page.wait_for_function("() => explorer.now.query")
    vectors = np.stack([vector_of(plan, k) for k in range(30)])
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    cosine = vectors @ vectors[4]
    order = [k for k in np.argsort(-cosine, kind="stable").tolist() if k != 4][:20]
    items = page.locator("#neighbours button")
    expect(items).to_have_count(20)
    told = [float(text) for text in page.locator("#neighbours .cosine").all_inner_texts()]
    np.testing.assert_allclose(told, cosine[order], atol=6e-5)
    first = int(items.first.get_attribute("data-place") or -1)
    row = int(plan.place[first])
    label = page.locator("#neighbours .label").first.inner_text()
    assert label.startswith(f"P{row:04d} · {table.columns['crop'][row].as_py() or 'no value'}")
    # The card has all that the table says of the place that was clicked.
    row = int(plan.place[4])
    card = page.locator("#card")
    expect(card).to_be_visible()
    for name in ("plot_id", "yield", "crop", "country", "window", "offset"):
        expect(card).to_contain_text(name)
    expect(card).to_contain_text(f"P{row:04d}")
    # An item of the list goes there, and can be reached with the pointer.
    items.nth(3).click()
    settle(page)
    box = page.locator("#map").bounding_box()
    assert box is not None
    shown = int(items.nth(3).get_attribute("data-place") or -1)
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert at(page, shown) == pytest.approx(middle, abs=2)


def test_the_pointer_tells_of_a_place(page: Page, plan: PlacePlan, table: Places) -> None:
    page.mouse.move(*at(page, 11))
    row = int(plan.place[11])
    under = page.locator("#under")
    expect(under).to_contain_text(f"plot_id P{row:04d}")
    expect(under).to_contain_text(f"country {table.columns['country'][row].as_py()}")
    expect(under).to_contain_text("offset")


def test_places_are_coloured_by_a_column(page: Page, plan: PlacePlan, table: Places) -> None:
    page.keyboard.press("2")
    page.wait_for_function("() => explorer.now.classes")
    expect(page.locator("#column")).to_have_value("crop")
    page.locator("#column").select_option("country")
    page.wait_for_function("() => explorer.now.classes.column === 'country'")
    settle(page)
    names = page.evaluate("() => explorer.now.classes.names")
    hexes = page.evaluate("() => explorer.now.classes.colours")
    assert sorted(names) == ["NO", "SE"]
    for place in (0, 7, 22):
        country = table.columns["country"][int(plan.place[place])].as_py()
        code = hexes[names.index(country)]
        expected = [int(code[k : k + 2], 16) for k in (1, 3, 5)]
        assert colour(page, *at(page, place)) == pytest.approx(expected, abs=1)
    counts = page.locator("#classes .count").all_inner_texts()
    assert counts == ["15", "15"]


def test_painted_examples_are_probed_and_saved(page: Page, tmp_path: Any) -> None:
    page.keyboard.press("p")
    page.mouse.click(*at(page, 0))
    page.keyboard.press("n")
    page.mouse.click(*at(page, 29))
    page.wait_for_function("() => explorer.now.scores?.picture")
    expect(page.locator("#above")).to_contain_text("places at or above")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as GeoPackage").click()
    assert download.value.suggested_filename == "findings.gpkg"


def test_centres_are_compared_too(page: Page) -> None:
    page.locator("#unit").get_by_text("Centres").click()
    page.wait_for_function("() => explorer.now.places.unit === 'centres'")
    page.mouse.click(*at(page, 5))
    page.wait_for_function("() => explorer.now.query")
    expect(page.locator("#neighbours button")).to_have_count(20)


def test_places_that_hide_each_other_are_one_dot(page: Page) -> None:
    page.evaluate("() => explorer.view.leaflet.setZoom(2, { animate: false })")
    settle(page)
    drawn, seen = page.evaluate(
        "() => [explorer.now.embeddings.drawn, explorer.now.embeddings.seen]"
    )
    assert 0 < drawn < seen == 30
