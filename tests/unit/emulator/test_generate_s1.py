"""The generated Sentinel-1 archive: reproducible, believable, the land that Sentinel-2 sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from thor_geo.emulator import (
    Acquisition,
    Archive,
    ArchiveError,
    EmulatorServer,
    Overpass,
    ensure_sentinel1_archive,
    generate_archive,
    generate_sentinel1_archive,
)

SMALL: dict[str, Any] = {
    "size_m": 2400,
    "overpasses": (
        Overpass(date="2022-06-03", orbit="ASCENDING"),
        Overpass(date="2022-06-08", orbit="DESCENDING"),
        Overpass(date="2022-06-27", orbit="ASCENDING", coverage=0.6),
    ),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_sentinel1_archive(tmp_path_factory.mktemp("radar") / "a", seed=3, **SMALL)


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def read(folder: Path, scene: dict[str, Any]) -> Any:
    with rasterio.open(folder / scene["bands"][0]["file"]) as source:
        assert np.isnan(source.nodata)
        return source.read()


def scenes(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["scenes"]
    return found


def test_same_seed_same_bytes_other_seed_other_bytes(archive: Path, tmp_path: Path) -> None:
    again = generate_sentinel1_archive(tmp_path / "again", seed=3, **SMALL)
    assert digests(again) == digests(archive)
    assert Archive.open(again).fingerprint() == Archive.open(archive).fingerprint()
    other = generate_sentinel1_archive(tmp_path / "other", seed=4, **SMALL)
    assert not set(digests(other).values()) & set(digests(archive).values())


def test_ensure_reuses_the_same_and_refuses_another(archive: Path) -> None:
    before = digests(archive)
    assert ensure_sentinel1_archive(archive, seed=3, **SMALL) == archive
    assert digests(archive) == before
    with pytest.raises(ArchiveError, match=r"other parameters \(seed\)"):
        ensure_sentinel1_archive(archive, seed=5, **SMALL)
    bad: Any = Overpass(date="2022-06-03", orbit="up")  # type: ignore[arg-type]
    with pytest.raises(ArchiveError, match="ASCENDING or DESCENDING"):
        generate_sentinel1_archive(archive / "no", overpasses=[bad])


def test_scenes_say_what_the_recipe_filters_by(archive: Path) -> None:
    found = scenes(archive)
    assert len(found) == 6  # three passes in two zones
    assert len({scene["id"] for scene in found}) == 6
    for scene in found:
        properties = scene["properties"]
        assert properties["instrumentMode"] == "IW"
        assert properties["transmitterReceiverPolarisation"] == ["VV", "VH"]
        orbits = {"ASCENDING": 44, "DESCENDING": 66}
        assert properties["relativeOrbitNumber_start"] == orbits[properties["orbitProperties_pass"]]
    days = {s["properties"]["orbitProperties_pass"]: s["id"][17:25] for s in found}
    assert days["ASCENDING"] != days["DESCENDING"]


def test_backscatter_is_believable(archive: Path, tmp_path: Path) -> None:
    found = scenes(archive)
    vv, vh = read(archive, found[0])
    assert -30 < np.median(vh) < np.median(vv) - 3 < -6
    # Speckle: values of one cover scatter by some 2 dB (4.4 looks), smoothing takes it away.
    smooth = vv.reshape(24, 10, 24, 10).mean(axis=(1, 3))
    assert np.std(vv - np.kron(smooth, np.ones((10, 10)))) > 1.5
    # The swath's edge leaves ground without data, and nothing else is masked.
    edge = read(archive, found[4])[0]
    assert 0.3 < np.isnan(edge).mean() < 0.5
    assert not np.isnan(vv).any()
    # The same land as Sentinel-2's: its water, dark in the near infrared, is dark to radar.
    optical = generate_archive(
        tmp_path / "optical",
        seed=3,
        size_m=2400,
        acquisitions=(Acquisition(date="2022-06-05", cloud_cover=0.0),),
    )
    scl = scenes(optical)[0]["bands"][-1]
    with rasterio.open(optical / scl["file"]) as source:
        water = np.kron(source.read(scl["index"]), np.ones((2, 2))) == 6
    assert water.sum() > 100
    assert np.median(vv[water]) < np.median(vv[~water]) - 4


def test_the_client_filters_them_by_pass_mode_and_polarisation(
    archive: Path, connect: Callable[[str], Any]
) -> None:
    served = {"COPERNICUS/S1_GRD": archive}
    with EmulatorServer(served) as server:
        ee = connect(server.url)
        radar = ee.ImageCollection("COPERNICUS/S1_GRD")
        ascending = radar.filter(ee.Filter.eq("orbitProperties_pass", "ASCENDING"))
        both = ascending.filter(
            ee.Filter.listContains("transmitterReceiverPolarisation", "VH")
        ).filter(ee.Filter.eq("instrumentMode", "IW"))
        assert (radar.size().getInfo(), both.size().getInfo()) == (6, 4)
