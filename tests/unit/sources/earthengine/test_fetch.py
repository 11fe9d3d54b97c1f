from __future__ import annotations

import io
from typing import Any

import ee
import numpy as np
import numpy.typing as npt
import pytest

from thor_geo.errors import BlockError, EarthEngineError
from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import TooLargeError
from thor_geo.sources.earthengine import fetch
from thor_geo.sources.earthengine._split import request_bytes
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.fetch import decode, fetch_block
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import FetchStats, TruncatedError

BLOCK = Block(epsg=32632, size=576, resolution=10, left=576, top=5760)
BANDS = ("B4", "observations")


def npy(bands: dict[str, npt.NDArray[Any]]) -> bytes:
    first = next(iter(bands.values()))
    table = np.zeros(first.shape, dtype=[(name, band.dtype) for name, band in bands.items()])
    for name, band in bands.items():
        table[name] = band
    raw = io.BytesIO()
    np.save(raw, table)
    return raw.getvalue()


class Service(EarthEngineClient):
    """Answers with pixels that name their own place; refuses what is larger than *largest*."""

    def __init__(self, largest: int = 32768) -> None:
        super().__init__(EarthEngineSession(SessionSpec()))
        self.largest = largest
        self.asked: list[tuple[int, int]] = []

    def call(self, request: Any, what: str, stats: FetchStats, *, order: int = 0) -> Any:
        stats.requests += 1
        return request()

    def compute(self, body: dict[str, Any]) -> bytes:
        grid = body["grid"]
        height, width = grid["dimensions"]["height"], grid["dimensions"]["width"]
        self.asked.append((height, width))
        if height * width > self.largest**2:
            raise TooLargeError("User memory limit exceeded.")
        left, _, _, top = BLOCK.bounds
        affine = grid["affineTransform"]
        col = round((affine["translateX"] - left) / 10) + np.arange(width)
        row = round((top - affine["translateY"]) / 10) + np.arange(height)
        place = (row[:, None] * 7 + col[None, :]).astype(np.uint16)
        return npy({"B4": place, "observations": place + 1})


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(ee.data, "computePixels", service.compute)
    return service


def expected() -> npt.NDArray[np.uint16]:
    place = np.add.outer(7 * np.arange(576), np.arange(576)).astype(np.uint16)
    return np.stack([place, place + 1])


def test_a_block_that_fits_is_one_request(service: Service) -> None:
    stats = FetchStats()
    pixels = fetch_block(service, BLOCK, None, BANDS, stats)
    np.testing.assert_array_equal(pixels, expected())
    assert pixels.dtype == np.uint16
    assert (stats.requests, stats.splits) == (1, 0)
    assert stats.bytes > pixels.nbytes


def test_a_refused_block_is_put_together_from_quarters(service: Service) -> None:
    service.largest = 150
    stats = FetchStats()
    pixels = fetch_block(service, BLOCK, None, BANDS, stats)
    np.testing.assert_array_equal(pixels, expected())
    assert stats.splits == 1 + 4
    # 576, then one of 288 and, that size being refused too, sixteen of 144.
    assert service.asked == [(576, 576), (288, 288)] + [(144, 144)] * 16


def test_the_next_block_begins_with_the_size_that_worked(service: Service) -> None:
    service.largest = 300
    fetch_block(service, BLOCK, None, BANDS)
    service.asked.clear()
    np.testing.assert_array_equal(fetch_block(service, BLOCK, None, BANDS), expected())
    assert service.asked == [(288, 288)] * 4


def test_splitting_ends_and_fails_this_block_alone(service: Service) -> None:
    service.largest = 10
    with pytest.raises(BlockError, match=r"72 x 72 px.*not split below 64 px.*time window"):
        fetch_block(service, BLOCK, None, BANDS)


def test_what_the_service_cannot_answer_is_never_asked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = request_bytes(288, 288, 2, 2)
    monkeypatch.setattr(fetch, "MAX_BYTES", limit)
    pixels = fetch_block(service, BLOCK, None, BANDS)
    np.testing.assert_array_equal(pixels, expected())
    assert service.asked == [(288, 288)] * 4


def test_a_cut_off_body_is_asked_for_again_not_used() -> None:
    raw = npy({"B4": np.zeros((4, 4), np.uint16)})
    for broken in (raw[:-1], raw[:20], b"", b"<html>Bad gateway</html>"):
        with pytest.raises(TruncatedError):
            decode(broken, ["B4"], 4, 4)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"B3": np.zeros((4, 4), np.uint16)}, "bands"),
        ({"B4": np.zeros((4, 5), np.uint16)}, "pixels"),
        ({"B4": np.zeros((4, 4), np.float64)}, "data types"),
        ({"B4": np.zeros((4, 4), np.uint16), "B5": np.zeros((4, 4), np.uint16)}, "bands"),
    ],
)
def test_other_pixels_than_asked_for_are_refused(answer: dict[str, Any], problem: str) -> None:
    with pytest.raises(EarthEngineError, match=problem):
        decode(npy(answer), ["B4"], 4, 4)
