from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from thor_geo.emulator import EmulatorServer
from thor_geo.ground.lattice import Block

# The north-western corner of block (0, 1) of 64 px on the anchored lattice of zone 32.
BLOCK = Block(epsg=32632, size=64, resolution=10, left=640, top=6400)


def write_archive(folder: Path, scenes: list[dict[str, Any]]) -> Path:
    """Write scenes over BLOCK: constant B4, B3 and SCL, with the properties they are given."""
    left, _, _, top = BLOCK.bounds
    entries = []
    for scene in scenes:
        name = f"{scene['id']}.tif"
        with rasterio.open(
            folder / name,
            "w",
            driver="GTiff",
            width=64,
            height=64,
            count=3,
            dtype="uint16",
            nodata=0,
            crs="EPSG:32632",
            transform=from_origin(left, top, 10, 10),
        ) as file:
            values = np.array(scene["values"], np.uint16)
            file.write(np.broadcast_to(values[:, None, None], (3, 64, 64)))
        entries.append(
            {
                "id": scene["id"],
                "properties": scene["properties"],
                "bands": [
                    {"name": band, "file": name, "index": k}
                    for k, band in enumerate(("B4", "B3", "SCL"), start=1)
                ],
            }
        )
    index = {"format": "thor-geo-archive", "version": 1, "parameters": {}, "scenes": entries}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def day(number: int) -> int:
    """Return milliseconds since 1970 of noon of a day of June 2022."""
    return 1_654_041_600_000 + ((number - 1) * 24 + 12) * 3_600_000


SCENES = [
    {
        "id": "c",
        "values": [100, 7, 4],
        "properties": {
            "system:time_start": day(1),
            "CLOUDY_PIXEL_PERCENTAGE": 5.0,
            "MGRS_TILE": "32VNM",
            "PROCESSING_BASELINE": "04.00",
        },
    },
    # No tile and no baseline, as in catalogues of other making.
    {
        "id": "a",
        "values": [103, 8, 9],
        "properties": {"system:time_start": day(2), "CLOUDY_PIXEL_PERCENTAGE": 30.0},
    },
    {
        "id": "b",
        "values": [900, 90, 4],
        "properties": {"system:time_start": day(3), "CLOUDY_PIXEL_PERCENTAGE": 80.0},
    },
    {
        "id": "d",
        "values": [1, 1, 4],
        "properties": {"system:time_start": day(40), "CLOUDY_PIXEL_PERCENTAGE": 0.0},
    },
]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"), SCENES)


@pytest.fixture(scope="session")
def shared_server(archive: Path) -> Iterator[EmulatorServer]:
    with EmulatorServer(archive) as server:
        yield server


@pytest.fixture
def server(shared_server: EmulatorServer) -> Iterator[EmulatorServer]:
    """The emulator over SCENES, without faults."""
    shared_server.set_faults(None)
    yield shared_server
    shared_server.set_faults(None)
