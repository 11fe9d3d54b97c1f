from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ee
import ee.deprecation
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from google.auth.credentials import AnonymousCredentials
from rasterio.transform import from_origin

from thor_geo.emulator import EmulatorServer

LEFT, TOP = 600_000.0, 6_600_000.0
COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"

Array = npt.NDArray[Any]


def _write_scenes(folder: Path, scenes: list[dict[str, Any]]) -> Path:
    """Write an archive: per scene `id`, `date`, `cloud`, `bands`, and optionally position."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for scene in scenes:
        bands = []
        for name, pixels in scene["bands"].items():
            file = f"{scene['id']}_{name}.tif"
            height, width = pixels.shape
            left, top = scene.get("left", LEFT), scene.get("top", TOP)
            resolution = scene.get("resolution", {}).get(name, 10)
            with rasterio.open(
                folder / file,
                "w",
                driver="GTiff",
                height=height,
                width=width,
                count=1,
                dtype=pixels.dtype,
                crs=f"EPSG:{scene.get('epsg', 32632)}",
                transform=from_origin(left, top, resolution, resolution),
                nodata=0,
            ) as target:
                target.write(pixels, 1)
            bands.append({"name": name, "file": file, "index": 1})
        moment = dt.datetime.fromisoformat(scene["date"]).replace(tzinfo=dt.UTC)
        properties = {"system:time_start": int(moment.timestamp() * 1000), **scene.get("extra", {})}
        if "cloud" in scene:
            properties["CLOUDY_PIXEL_PERCENTAGE"] = scene["cloud"]
        entries.append({"id": scene["id"], "properties": properties, "bands": bands})
    index = {"format": "thor-geo-archive", "version": 1, "parameters": {}, "scenes": entries}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def _stack(
    count: int = 6, side: int = 8, seed: int = 0
) -> tuple[list[dict[str, Any]], Array, Array]:
    """Return scenes with random B2 (some 0) and SCL, and both as (time, y, x)."""
    rng = np.random.default_rng(seed)
    b2 = rng.integers(0, 9, (count, side, side)) * 137
    b2 = b2.astype(np.uint16)
    scl = rng.choice([4, 5, 3, 8, 9, 10], (count, side, side)).astype(np.uint8)
    scenes = [
        {
            "id": f"S{t}",
            "date": f"2022-06-{t + 1:02d}",
            "cloud": 10.0 * t,
            "bands": {"B2": b2[t], "B3": (b2[t] + 1).astype(np.uint16), "SCL": scl[t]},
        }
        for t in range(count)
    ]
    return scenes, b2, scl


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Point the one global `ee` client of this process at a server, and let go of it afterwards."""
    # Initialize would fetch a file from the internet, with no time-out.
    monkeypatch.setattr(ee.deprecation, "_FetchDataCatalogStac", dict)

    def connect(url: str) -> Any:
        ee.Reset()
        ee.Initialize(credentials=AnonymousCredentials(), project="emulator", url=url)
        return ee

    yield connect
    ee.Reset()


@pytest.fixture
def serve(tmp_path: Path, connect: Callable[[str], Any]) -> Iterator[Callable[..., EmulatorServer]]:
    """Serve scenes and connect the client to them."""
    servers: list[EmulatorServer] = []

    def serve(scenes: list[dict[str, Any]], **options: Any) -> EmulatorServer:
        folder = _write_scenes(tmp_path / f"scenes{len(servers)}", scenes)
        servers.append(EmulatorServer(folder, **options).start())
        connect(servers[-1].url)
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


def _grid(
    width: int = 8,
    height: int = 8,
    *,
    left: float = LEFT,
    top: float = TOP,
    resolution: float = 10,
    epsg: int = 32632,
) -> dict[str, Any]:
    affine = {"scaleX": resolution, "translateX": left, "scaleY": -resolution, "translateY": top}
    return {
        "dimensions": {"width": width, "height": height},
        "affineTransform": {**affine, "shearX": 0, "shearY": 0},
        "crsCode": f"EPSG:{epsg}",
    }


def _pixels(image: Any, on: Mapping[str, Any] | None = None, **options: Any) -> Array:
    request = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": on or _grid()}
    result: Array = ee.data.computePixels({**request, **options})
    return result


def _clear(image: Any) -> Any:
    """Mask cloud shadow, clouds and cirrus."""
    scl = image.select("SCL")
    bad = scl.eq(8).Or(scl.eq(9)).Or(scl.eq(10))
    return image.updateMask(scl.neq(3).And(bad.Not()))


# Test modules cannot import from here (importlib mode), so the helpers are fixtures.
@pytest.fixture(name="write_scenes")
def fixture_write_scenes() -> Callable[..., Path]:
    return _write_scenes


@pytest.fixture(name="stack")
def fixture_stack() -> Callable[..., tuple[list[dict[str, Any]], Array, Array]]:
    return _stack


@pytest.fixture(name="grid")
def fixture_grid() -> Callable[..., dict[str, Any]]:
    return _grid


@pytest.fixture(name="pixels")
def fixture_pixels() -> Callable[..., Array]:
    return _pixels


@pytest.fixture(name="clear")
def fixture_clear() -> Callable[[Any], Any]:
    return _clear
