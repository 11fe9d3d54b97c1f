"""The page in a real Chromium: it draws the run, finds, probes and saves, and asks nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from playwright.sync_api import Page, expect

from tests.support.explorer_page import at, colour, opened_page, settle
from thor_geo.cli.main import main
from thor_geo.explorer.http import Server, listen
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs.opened_run import OpenedRun, read_run

# 4 x 4 tiles of 64 pixels, each of one colour.
_TILES, _SIDE = 4, 64
_BANDS = ["S2:Red", "S2:Green", "S2:Blue"]


@pytest.fixture(scope="module")
def reflectance() -> np.ndarray:
    """Return red, green and blue of every tile, (3, 4, 4) uint16, row 0 = north."""
    return np.random.default_rng(3).integers(200, 2900, (3, _TILES, _TILES), dtype=np.uint16)


@pytest.fixture(scope="module")
def opened(
    reflectance: np.ndarray, write_tif: Any, tmp_path_factory: pytest.TempPathFactory
) -> OpenedRun:
    """Return a run over a GeoTIFF of coloured squares, with vectors and maps."""
    folder = tmp_path_factory.mktemp("explorer")
    pixels = reflectance.repeat(_SIDE, axis=1).repeat(_SIDE, axis=2)
    write_tif(folder / "scene.tif", pixels, (600_320, 6_640_000), nodata=0)
    config = {
        "trainer": {"accelerator": "cpu", "devices": 1},
        "model": {"model_key": "thor_v1_tiny", "pretrained": False, "patch_size": 16},
        "data": {
            "class_path": "thor_geo.datamodules.FolderDataModule",
            "init_args": {
                "paths": str(folder / "scene.tif"),
                "bands": _BANDS,
                "start": "2022-06-01",
                "end": "2022-07-01",
                "tile_size": _SIDE,
                "batch_size": 8,
                "num_workers": 0,
            },
        },
        "output": {"dir": str(folder / "out"), "quicklook": False, "grid": True},
    }
    (folder / "run.yaml").write_text(json.dumps(config))
    assert main(["predict", "-c", str(folder / "run.yaml")]) == 0
    return read_run(folder / "out")


@pytest.fixture(scope="module")
def server(opened: OpenedRun) -> Iterator[Server]:
    one = listen(ExplorerSession(opened), 0)
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield one
    one.shutdown()
    thread.join()
    one.server_close()
    one.session.composite.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Page]:
    with opened_page(browser, server) as one:
        yield one


def vectors(opened: OpenedRun) -> np.ndarray:
    """Read the vectors as a user would, in the order of the plan."""
    files = [opened.run.pooled_path(shard) for shard in opened.plan.shards]
    return np.stack(
        [v for path in files for v in geopandas.read_parquet(path)["embedding"]]
    ).astype(np.float64)


def ready(page: Page) -> None:
    page.wait_for_function("() => explorer.composite.state === 'ready'", timeout=60_000)


def test_the_map_shows_the_colours_of_the_embeddings(page: Page, server: Server) -> None:
    rgb = page.evaluate("() => Array.from(explorer.now.places.rgb)")
    assert len(rgb) == 3 * _TILES**2
    for place in range(_TILES**2):
        expected = rgb[3 * place : 3 * place + 3]
        assert colour(page, *at(page, place)) == pytest.approx(expected, abs=1)
    # Nothing is drawn beside the run.
    _, y = at(page, 0)
    assert colour(page, 60, y) == [0xE6, 0xEA, 0xEE]


def test_the_composite_has_the_pixels_of_the_run(
    page: Page, opened: OpenedRun, reflectance: np.ndarray
) -> None:
    ready(page)
    page.keyboard.press("2")
    page.wait_for_function(
        "() => explorer.composite.pictures.size && !explorer.composite.asked.size"
    )
    settle(page)
    for place in range(_TILES**2):
        left, _, _, top = opened.plan.tile(place).bounds
        col, row = round((left - 600320) / 640), round((6640000 - top) / 640)
        expected = (reflectance[:, row, col] / 3000) ** (1 / 1.2) * 255
        assert colour(page, *at(page, place)) == pytest.approx(expected.tolist(), abs=3)


@pytest.mark.parametrize("place", [0, 9])
def test_a_click_finds_the_neighbours_that_numpy_finds(
    page: Page, opened: OpenedRun, place: int
) -> None:
    page.mouse.click(*at(page, place))
    page.wait_for_function("() => explorer.now.query")
    items = page.locator("#neighbours button")
    expect(items).to_have_count(_TILES**2 - 1)
    x = vectors(opened)
    cosine = x @ x[place] / np.linalg.norm(x, axis=1) / np.linalg.norm(x[place])
    order = [k for k in np.argsort(-cosine, kind="stable").tolist() if k != place]
    shown = [int(items.nth(k).get_attribute("data-place") or -1) for k in range(len(order))]
    np.testing.assert_allclose(cosine[shown], cosine[order], atol=1e-6)
    told = [float(text) for text in page.locator("#neighbours .cosine").all_inner_texts()]
    np.testing.assert_allclose(told, cosine[order], atol=6e-5)
    values = page.evaluate("() => Array.from(explorer.now.similarity.values)")
    np.testing.assert_allclose(values, cosine, atol=1e-6)
    expect(page.locator("#legend-title")).to_contain_text("Cosine")
    # An item of the list goes there.
    items.nth(3).click()
    settle(page)
    box = page.locator("#map").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert at(page, shown[3]) == pytest.approx(middle, abs=2)


def test_painted_examples_draw_the_probe_and_are_saved(
    page: Page, opened: OpenedRun, tmp_path: Path
) -> None:
    page.keyboard.press("p")
    page.mouse.click(*at(page, 0))
    expect(page.locator("#examples")).to_contain_text("paint a negative one too")
    page.keyboard.press("n")
    # A stroke over two tiles.
    page.mouse.move(*at(page, 14))
    page.mouse.down()
    page.mouse.move(*at(page, 15), steps=4)
    page.mouse.up()
    page.wait_for_function("() => explorer.now.scores?.picture")
    expect(page.locator("#examples")).to_have_text("1 positive, 2 negative")
    scores = np.array(page.evaluate("() => Array.from(explorer.now.scores.values)"))

    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(vectors(opened))
    model = LogisticRegression(class_weight="balanced").fit(x[[0, 14, 15]], [1, 0, 0])
    np.testing.assert_allclose(scores, model.predict_proba(x)[:, 1], atol=2e-3)
    expect(page.locator("#legend-title")).to_contain_text("Probe")
    expect(page.locator("#above")).to_contain_text(f"{(scores >= 0.5).sum()} tiles at or above")
    # Purple where it says positive, orange where negative, with nothing of the map shining through.
    page.locator("#opacity").fill("1")
    best, worst = int(scores[1:14].argmax()) + 1, int(scores[1:14].argmin()) + 1
    settle(page)
    assert scores[best] > 0.5 > scores[worst]
    red, _, blue = colour(page, *at(page, best))
    assert blue > red
    red, _, blue = colour(page, *at(page, worst))
    assert red > blue

    with page.expect_download() as download:
        page.get_by_role("button", name="Download as GeoPackage").click()
    download.value.save_as(tmp_path / "findings.gpkg")
    saved = geopandas.read_file(tmp_path / "findings.gpkg", layer="probe")
    np.testing.assert_allclose(saved["score"], scores, atol=1e-6)

    page.keyboard.press("Control+z")
    expect(page.locator("#examples")).to_contain_text("1 positive, 0 negative")
    page.get_by_role("button", name="Clear examples").click()
    expect(page.locator("#examples")).to_contain_text("No examples yet")


def test_cells_are_compared_and_saved_as_a_raster(page: Page, tmp_path: Path) -> None:
    page.locator("#unit").get_by_text("Cells").click()
    page.wait_for_function("() => explorer.now.places.unit === 'cells'")
    page.mouse.click(*at(page, 5))
    page.wait_for_function("() => explorer.now.query")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as GeoTIFF").click()
    download.value.save_as(tmp_path / "findings.tif")
    values = np.array(page.evaluate("() => Array.from(explorer.now.similarity.values)"))
    with rasterio.open(tmp_path / "findings.tif") as raster:
        saved = raster.read(1)
        assert raster.descriptions == ("cosine",)
        np.testing.assert_allclose(np.sort(saved[np.isfinite(saved)]), np.sort(values), atol=1e-6)


def test_all_works_by_keys(page: Page) -> None:
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => explorer.now.query")
    before = page.evaluate("() => explorer.view.left")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => explorer.view.left > before", arg=before)
    page.keyboard.press("p")
    expect(page.locator("#brush-row")).to_be_visible()
    page.keyboard.press("3")
    expect(page.locator("input[value=observations]")).to_be_checked()
