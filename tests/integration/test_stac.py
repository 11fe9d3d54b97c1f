"""If these fail, a STAC catalogue gives other composites or embeddings than Earth Engine would."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import xarray
import yaml

from thor_geo.composites import BlockStore, DirectSource, StoredBlock
from thor_geo.emulator import Acquisition, EmulatorServer, generate_archive, write_catalogue
from thor_geo.errors import StacError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import SessionSpec
from thor_geo.sources.stac import CatalogueSpec
from thor_geo.specs import SensorSpec, TemporalSpec

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Arguments = Callable[[Path], list[str]]

SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
TWELVE = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")


class Pair:
    """The emulator over an archive, and the archive's catalogue."""

    def __init__(self, folder: Path, server: EmulatorServer, cache: Path) -> None:
        self.folder, self.server, self.cache = folder, server, cache

    def both(self, block: Block, window: TemporalSpec, **sensor: Any) -> list[StoredBlock]:
        """Return a block from Earth Engine's emulator and from the catalogue."""
        recipe = SensorSpec(**sensor)
        sessions = {
            "ee": SessionSpec(credentials="anonymous", url=self.server.url),
            "stac": CatalogueSpec(url=str(self.folder)),
        }
        found = []
        for name, session in sessions.items():
            store = BlockStore(self.cache, sensor=recipe, window=window, catalogue=name)
            found.append(DirectSource(store, session).get(block))  # type: ignore[arg-type]
        return found


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = generate_archive(
        tmp_path_factory.mktemp("pair") / "scenes",
        size_m=3600,
        acquisitions=(
            Acquisition(date="2022-06-05", cloud_cover=0.1),
            Acquisition(date="2022-06-20", cloud_cover=0.5),
            Acquisition(date="2022-07-05", cloud_cover=0.3),
            Acquisition(date="2022-08-05", cloud_cover=0.2, coverage=0.6),
        ),
    )
    write_catalogue(folder)
    with EmulatorServer(folder) as server:
        yield Pair(folder, server, tmp_path_factory.mktemp("cache"))


def block_over(folder: Path, epsg: int, size: int, *, resolution: int = 10) -> Block:
    """Return a block whose middle is the upper right corner of a zone's scenes."""
    for path in sorted(folder.glob("*_10m.tif")):
        with rasterio.open(path) as file:
            if file.crs.to_epsg() == epsg:
                left = round(file.bounds.right / resolution) - size // 2
                top = round(file.bounds.top / resolution) + size // 2
                return Block(epsg=epsg, size=size, resolution=resolution, left=left, top=top)
    raise AssertionError(f"no scene in EPSG:{epsg}")


def same(pair: list[StoredBlock]) -> None:
    """Compare pixels, observations and scenes, all of them."""
    ee, stac = pair
    for ours, theirs in zip(stac.read(), ee.read(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert stac.scenes == ee.scenes


@pytest.mark.parametrize("composite", ["median", "mean", "mosaic"])
@pytest.mark.parametrize("mask", ["none", "scl"])
@pytest.mark.parametrize("epsg", [32632, 32633])
def test_a_catalogues_composite_is_earth_engines_pixel_by_pixel(
    generated: Pair, composite: str, mask: str, epsg: int
) -> None:
    # Three quarters of it lie beside the scenes of its own zone; some of that has the other zone's.
    block = block_over(generated.folder, epsg, 192)
    pair = generated.both(
        block, SUMMER, bands=TWELVE, cloudy_pct=100, composite=composite, mask=mask
    )
    same(pair)
    pixels, observations = pair[1].read()
    assert len(pair[1].scenes) == 8
    assert len(np.unique(observations)) >= 3
    assert observations.min() == 0 < pixels.max()


@pytest.mark.parametrize(
    "more",
    [
        {"cloudy_pct": 30.0},
        {"bands": ("B8",), "fill_value": 9},
        {"scale_m": 20},
        {"composite": "percentile", "percentile": 30, "cloudy_pct": 100},
        {"mask": "scl", "scl_classes": (8, 9), "cloudy_pct": 100},
    ],
)
def test_other_recipes_agree_too(generated: Pair, more: dict[str, Any]) -> None:
    resolution = more.get("scale_m", 10)
    block = block_over(generated.folder, 32632, 96, resolution=resolution)
    same(generated.both(block, SUMMER, **more))


def test_scenes_by_id_agree_and_one_that_is_not_there_is_named(generated: Pair) -> None:
    block = block_over(generated.folder, 32632, 96)
    names = [json.loads(p.read_text())["id"] for p in (generated.folder / "items").glob("*")]
    chosen = tuple(sorted(names)[:3])
    pair = generated.both(block, SUMMER, scenes=chosen, cloudy_pct=100)
    same(pair)
    assert pair[1].scenes
    recipe = SensorSpec(scenes=("nobody",))
    store = BlockStore(generated.cache, sensor=recipe, window=SUMMER, catalogue="stac")
    source = DirectSource(store, CatalogueSpec(url=str(generated.folder)))
    with pytest.raises(StacError, match=r"nobody is not in .*scenes"):
        source.get(block)


def test_a_window_without_scenes_is_empty_on_both(generated: Pair) -> None:
    block = block_over(generated.folder, 32632, 96)
    window = TemporalSpec.range("2022-06-06", "2022-06-20")
    pair = generated.both(block, window)
    assert [stored.scenes for stored in pair] == [(), ()]
    same(pair)


@pytest.mark.parametrize("mask", ["none", "scl"])
@pytest.mark.parametrize("cloudy_pct", [30.0, 100.0])
def test_real_scenes_agree_pixel_by_pixel(
    shared_data: Path, tmp_path: Path, mask: str, cloudy_pct: float
) -> None:
    folder = shutil.copytree(shared_data / "scenes" / "wc_be_31UDS", tmp_path / "scenes")
    write_catalogue(folder)
    with rasterio.open(next(folder.glob("*[0-9].tif"))) as file:
        corner = (file.transform.c, file.transform.f)
    block = Block(epsg=32631, size=64, resolution=10, left=-9, top=5, anchor=corner)
    with EmulatorServer(folder) as server:
        pair = Pair(folder, server, tmp_path / "cache").both(
            block, TemporalSpec.range("2018-05-01", "2018-09-01"), mask=mask, cloudy_pct=cloudy_pct
        )
    same(pair)
    assert len(pair[1].scenes) == (38 if cloudy_pct == 100 else 23)


def test_the_chip_off_the_lattice_agrees(shared_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shared_data / "chips" / "majortom", tmp_path / "chip")
    write_catalogue(folder)
    # On the global lattice, which the chip's pixels are not on.
    block = Block(epsg=32648, size=128, resolution=10, left=36_261, top=198_709)
    with EmulatorServer(folder) as server:
        pair = Pair(folder, server, tmp_path / "cache").both(
            block, TemporalSpec.range("2020-02-01", "2020-03-01"), cloudy_pct=100
        )
    same(pair)
    assert pair[1].read()[1].max() == 1


def test_another_reader_of_the_catalogue_sees_the_same_pixels(generated: Pair) -> None:
    odc_stac = pytest.importorskip("odc.stac")
    from odc.geo.geobox import GeoBox
    from rasterio import Affine

    items = [json.loads(path.read_text()) for path in (generated.folder / "items").glob("*T32*")]
    import pystac

    one = sorted(items, key=lambda item: str(item["id"]))[0]
    item = pystac.Item.from_file(str(generated.folder / "items" / f"{one['id']}.json"))
    block = block_over(generated.folder, 32632, 192)
    grid = GeoBox((block.size, block.size), Affine(*block.transform), f"EPSG:{block.epsg}")
    loaded = odc_stac.load([item], bands=["B4", "B11", "B1"], geobox=grid, resampling="nearest")
    day = str(item.properties["datetime"])[:10]
    window = TemporalSpec.range(day, day[:8] + f"{int(day[8:]) + 1:02d}")
    assert item.properties["proj:epsg" if "proj:epsg" in item.properties else "proj:code"]
    stored = generated.both(block, window, bands=("B4", "B11", "B1"), cloudy_pct=100)[1]
    ours, observations = stored.read()
    # The other zone's scene of the same overpass fills what lies beside this one's.
    inside = loaded["B4"].values[0] > 0
    assert inside.any()
    assert observations[inside].min() >= 1
    single = loaded.isel(time=0)
    lone = observations == 1
    for plane, band in zip(ours, ("B4", "B11", "B1"), strict=True):
        np.testing.assert_array_equal(plane[inside & lone], single[band].values[inside & lone])


def run_arguments(arguments: Arguments, folder: Path, archive: Path) -> list[str]:
    """Return the arguments of a quick run whose source is the archive's catalogue."""
    return [
        *(one for one in arguments(folder) if not one.startswith("--data.emulator")),
        f"--data.stac.url={archive}",
    ]


def test_a_scene_that_cannot_be_used_is_named_by_every_command(
    thor_geo: Run, quick_arguments: Arguments, catalogue: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(catalogue, tmp_path / "scenes")
    path = sorted((folder / "items").glob("*.json"))[0]
    item = json.loads(path.read_text())
    why = "has B5 in none of its assets by name"
    item["assets"] = {key: asset for key, asset in item["assets"].items() if key != "20m"}
    path.write_text(json.dumps(item))
    arguments = run_arguments(quick_arguments, tmp_path, folder)
    refused = thor_geo("fetch", *arguments[1:], "--strict")
    assert refused.returncode == 2
    assert f"Item '{item['id']}' {why}" in refused.stderr
    assert "data.stac.exclude" in refused.stderr
    fetched = thor_geo("fetch", *arguments[1:])
    assert fetched.returncode == 0, fetched.stderr
    ran = thor_geo(*arguments)
    assert ran.returncode == 0, ran.stderr
    status = thor_geo("status", tmp_path / "run")
    for output in (fetched.stdout, ran.stdout, status.stdout):
        assert "left out  1 scene that could not be used" in output
        assert f"{item['id']} {why}" in output
    left_out = json.loads(thor_geo("status", "--json", tmp_path / "run").stdout)["scenes_left_out"]
    assert list(left_out) == [item["id"]]
    markers = [json.loads(each.read_text()) for each in (tmp_path / "run/markers").glob("*.json")]
    assert any(marker["left_out"] == left_out for marker in markers)
    assert all(item["id"] not in marker["scenes"] for marker in markers)
    assert thor_geo("validate", tmp_path / "run").returncode == 0
    # With the scene left out by hand there is nothing to refuse.
    by_hand = [f"--data.stac.exclude=[{item['id']}]", f"--output.dir={tmp_path / 'by-hand'}"]
    assert thor_geo(*arguments, *by_hand, "--strict").returncode == 0
    ours = sorted((tmp_path / "run/pooled").iterdir())
    theirs = sorted((tmp_path / "by-hand/pooled").iterdir())
    for one, other in zip(ours, theirs, strict=True):
        vectors = [geopandas.read_parquet(each)["embedding"].to_list() for each in (one, other)]
        np.testing.assert_array_equal(*vectors)


@pytest.fixture(scope="module")
def catalogue(archive: Path) -> Path:
    write_catalogue(archive)
    return archive


def test_a_run_from_a_catalogue_gives_the_emulators_embeddings_byte_for_byte(
    thor_geo: Run, quick_arguments: Arguments, quick_run: Path, catalogue: Path, tmp_path: Path
) -> None:
    stac = tmp_path / "stac"
    arguments = run_arguments(quick_arguments, stac, catalogue)
    fetched = thor_geo("fetch", *arguments[1:])
    assert fetched.returncode == 0, fetched.stderr
    # All is there: nothing is fetched again, and the same command continues what is done.
    first = thor_geo(*arguments)
    assert first.returncode == 0, first.stderr
    marker = next((stac / "run" / "markers").glob("*.json"))
    marker.unlink()
    assert thor_geo(*arguments).returncode == 0
    assert marker.exists()
    status = thor_geo("status", "--json", stac / "run")
    assert status.returncode == 0
    assert thor_geo("validate", stac / "run").returncode == 0
    tables = [geopandas.read_parquet(folder / "run" / "pooled") for folder in (quick_run, stac)]
    tables = [table.sort_values("tile_id").reset_index(drop=True) for table in tables]
    assert list(tables[0].tile_id) == list(tables[1].tile_id)
    for ours, theirs in zip(tables[1].embedding, tables[0].embedding, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert [list(ids) for ids in tables[1].source_ids] == [
        list(ids) for ids in tables[0].source_ids
    ]
    for zone in ("utm32n", "utm33n"):
        maps = [
            xarray.open_zarr(folder / "run" / "grid.zarr", group=zone).embeddings.values
            for folder in (quick_run, stac)
        ]
        assert maps[0].tobytes() == maps[1].tobytes()
    record = json.loads((stac / "run" / "run.json").read_text())
    assert "stac-" in json.dumps(record)


def test_another_catalogue_is_another_run(
    thor_geo: Run, quick_arguments: Arguments, catalogue: Path, tmp_path: Path
) -> None:
    arguments = run_arguments(quick_arguments, tmp_path, catalogue)
    assert thor_geo(*arguments).returncode == 0
    refused = thor_geo(*arguments, "--data.stac.offset=-1000")
    assert refused.returncode == 2
    assert "catalogue" in refused.stderr


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ("--data.stac.url=/nowhere/catalog.json", "no STAC catalogue is there"),
        ("--data.stac.assets={B4: stack}", "`stack`, which it does not have"),
        ("--data.stac.collection=other", "stac.collection='other'"),
    ],
)
def test_an_error_of_the_catalogue_is_one_line(
    thor_geo: Run,
    quick_arguments: Arguments,
    catalogue: Path,
    tmp_path: Path,
    argument: str,
    match: str,
) -> None:
    failed = thor_geo(*run_arguments(quick_arguments, tmp_path, catalogue), argument)
    assert failed.returncode == 2
    assert match in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_shipped_config_says_that_it_is_stac() -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "configs" / "stac.yaml").read_text())
    assert config["data"]["stac"]["collection"]
