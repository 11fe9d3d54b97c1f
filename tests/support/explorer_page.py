"""The explorer's page in a browser, as tests drive it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from thor_geo.explorer.http import Server


@dataclass
class Heard:
    """What a page said and asked for."""

    said: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@contextmanager
def opened_page(browser: Any, server: Server) -> Iterator[Page]:
    """Open the page, and check afterwards that it had no error and asked nobody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    one, heard = context.new_page(), Heard()
    one.on("console", lambda message: heard.said.append(f"{message.type}: {message.text}"))
    one.on("pageerror", lambda error: heard.said.append(f"error: {error}"))
    one.on("requestfailed", lambda request: heard.said.append(f"failed: {request.url}"))
    one.on("request", lambda request: heard.hosts.add(request.url.split("/")[2]))
    one.goto(server.url)
    one.wait_for_selector("html[data-ready]")
    yield one
    context.close()
    aborted = [text for text in heard.said if "ERR_ABORTED" not in text]
    assert aborted == []
    assert heard.hosts == {f"127.0.0.1:{server.server_port}"}


def at(page: Page, place: int) -> tuple[float, float]:
    """Return where a place's centre is on the screen, by the page's own geometry."""
    x, y = page.evaluate(
        """place => {
          const { view, now } = explorer;
          const box = document.getElementById("map").getBoundingClientRect();
          const [x, y] = view.screen(now.places.centre(place));
          return [x + box.left, y + box.top];
        }""",
        place,
    )
    return x, y


def colour(page: Page, x: float, y: float) -> list[int]:
    """Return what the screen shows at a point, red, green, blue."""
    picture = page.screenshot(clip={"x": int(x), "y": int(y), "width": 1, "height": 1})
    return np.asarray(Image.open(io.BytesIO(picture)))[0, 0, :3].tolist()  # type: ignore[no-any-return]


def settle(page: Page) -> None:
    """Wait for the next frame after whatever was done."""
    page.evaluate("() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")
