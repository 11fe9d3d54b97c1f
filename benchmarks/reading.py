"""How fast tiles come out of the cache, and what packing the blocks costs and saves.

One process, one thread, the files in the page cache, tiles of 288 px with 10 bands and the count of
observations. All read the same pixels, checked before the clock starts; all begin every turn with
closed files, as a run meets each block once: GDAL would else answer from its own cache.

    python -m benchmarks.reading [--quick]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

from benchmarks import _pixels
from benchmarks._pixels import BANDS, BLOCK, RESOLUTION, TILE, Cached, Planes, cached
from benchmarks._readers import BATCH, GEO, OURS, RASTERIO, Readers, check
from benchmarks._timing import Timing, compare
from benchmarks.report import Report, Row, table
from thor_geo.composites import _tiff, store
from thor_geo.datasets import collate

#: Tiles per second, as a multiple of RasterDataset's and of rasterio's own.
AGAINST_RASTERDATASET, AGAINST_RASTERIO = 8.0, 0.8

# GDAL's options for what a block could be packed with; the store has the first two.
PACKINGS: dict[str, dict[str, Any]] = {
    "none": {"compress": "none"},
    "zstd 1, predictor": {"compress": "zstd", "zstd_level": 1, "predictor": 2},
    "zstd 1": {"compress": "zstd", "zstd_level": 1, "predictor": 1},
    "zstd 9, predictor": {"compress": "zstd", "zstd_level": 9, "predictor": 2},
    "deflate 1, predictor": {"compress": "deflate", "zlevel": 1, "predictor": 2},
    "lzw, predictor": {"compress": "lzw", "predictor": 2},
    "lerc+zstd 1": {"compress": "lerc_zstd", "max_z_error": 0, "zstd_level": 1},
}


def exhaust(make: Callable[[], Iterator[Any]]) -> Callable[[], None]:
    """Return a call that takes all that an iterator yields, one after the other."""

    def call() -> None:
        for _ in make():
            pass

    return call


def measure(blocks: str, readers: Readers, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of one store."""
    timings = compare({n: exhaust(make) for n, make in readers.all().items()}, repeats=repeats)
    return rows(blocks, timings, len(readers.windows))


def rows(blocks: str, timings: Mapping[str, Timing], tiles: int) -> list[dict[str, Any]]:
    """Return rates, and their ratios to the faster RasterDataset and to rasterio on the blocks."""
    geo = min(timing.median for name, timing in timings.items() if name.startswith(GEO))
    plain = timings[RASTERIO + "the blocks' files"].median
    return [_row(blocks, name, timing, tiles, geo, plain) for name, timing in timings.items()]


def _row(
    blocks: str, name: str, timing: Timing, tiles: int, geo: float, plain: float | None
) -> dict[str, Any]:
    return {
        "blocks": blocks,
        "what": name,
        "tiles/s": tiles / timing.median,
        "slowest": tiles / timing.max,
        "fastest": tiles / timing.min,
        "x RasterDataset": geo / timing.median,
        "x rasterio": None if plain is None else plain / timing.median,
    }


def faults(rows: list[Row]) -> list[str]:
    """Return what the rows of uncompressed blocks do not reach."""
    found = []
    for row in rows:
        if row["blocks"] == "none" and row["what"] in (OURS, "PlanDataset"):
            for column, least in (
                ("x RasterDataset", AGAINST_RASTERDATASET),
                ("x rasterio", AGAINST_RASTERIO),
            ):
                if row[column] < least:
                    found.append(f"{row['what']}: {row[column]:.2f} {column}, less than {least}.")
    return found


def through_a_worker(blocks: str, given: Cached, epochs: int, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of one DataLoader worker each, which the main process waits for."""
    tiles = given.tiles()
    order = [*range(len(tiles))] * epochs
    batches = [order[k : k + BATCH] for k in range(0, len(order), BATCH)]
    raster = RasterDataset(paths=str(given.mosaic))
    queries = [*GridGeoSampler(raster, size=TILE)] * epochs
    how: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}
    loaders = {
        "PlanDataset": DataLoader(tiles, batch_sampler=batches, collate_fn=collate, **how),
        GEO + "one file": DataLoader(
            raster, sampler=queries, batch_size=BATCH, collate_fn=stack_samples, **how
        ),
    }
    calls = {name: exhaust(lambda loader=loader: iter(loader)) for name, loader in loaders.items()}
    calls["floor: shared memory, written once"] = exhaust(lambda: shared_memory(len(batches)))
    timings = compare(calls, repeats=repeats)
    geo = timings[GEO + "one file"].median
    return [_row(blocks, name, timing, len(order), geo, None) for name, timing in timings.items()]


def shared_memory(batches: int) -> Iterator[None]:
    """Ask for the memory of batches, and write to it once: less no worker can do."""
    for _ in range(batches):
        memory = torch.UntypedStorage._new_shared(BATCH * len(BANDS) * TILE * TILE * 2)
        memory.fill_(1)
        yield


def compression(planes: Planes, folder: Path, pixels: str, repeats: int) -> list[dict[str, Any]]:
    """Return what each packing makes of the blocks: bytes, and rates of writing and reading."""
    names = tuple(PACKINGS)
    across = planes.shape[1] // BLOCK
    blocks = [
        np.ascontiguousarray(planes[:, r : r + BLOCK, c : c + BLOCK])
        for r in range(0, across * BLOCK, BLOCK)
        for c in range(0, across * BLOCK, BLOCK)
    ]
    written: dict[str, float] = {}
    files: dict[str, list[Path]] = {}
    for name in names:
        files[name] = [folder / f"{pixels}-{name}-{k}.tif" for k in range(len(blocks))]
        began = time.perf_counter()
        for path, block in zip(files[name], blocks, strict=True):
            _write(path, block, PACKINGS[name])
        written[name] = (time.perf_counter() - began) / len(blocks)
    calls = {f"gdal {name}": exhaust(lambda n=name: _by_rasterio(files[n])) for name in names}
    ours = [name for name in names if name == "none" or name.startswith("zstd")]
    calls |= {f"ours {name}": exhaust(lambda n=name: _by_us(files[n], blocks)) for name in ours}
    timings = compare(calls, repeats=repeats)
    tiles = len(blocks) * (BLOCK // TILE) ** 2
    size = {name: sum(path.stat().st_size for path in files[name]) for name in names}
    return [
        {
            "pixels": pixels,
            "packing": name,
            "bytes": round(size[name] / sum(block.nbytes for block in blocks), 3),
            "write, ms/block": round(1000 * written[name], 1),
            "rasterio, tiles/s": round(tiles / timings[f"gdal {name}"].median),
            "ours with checksum, tiles/s": round(tiles / timings[f"ours {name}"].median)
            if name in ours
            else None,
        }
        for name in names
    ]


def _write(path: Path, block: Planes, packing: dict[str, Any]) -> None:
    side = _tiff.tile_side(BLOCK)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=BLOCK,
        height=BLOCK,
        count=len(block),
        dtype="uint16",
        transform=rasterio.Affine(RESOLUTION, 0, 0, 0, -RESOLUTION, 0),
        tiled=True,
        blockxsize=side,
        blockysize=side,
        interleave="band",
        **packing,
    ) as file:
        file.write(block)


def _by_rasterio(files: list[Path]) -> Iterator[Any]:
    for path in files:
        with rasterio.open(path) as file:
            for row in range(0, BLOCK, TILE):
                for col in range(0, BLOCK, TILE):
                    yield file.read(window=Window(col, row, TILE, TILE))


def _by_us(files: list[Path], blocks: list[Planes]) -> Iterator[Any]:
    """Read as a process does that meets the blocks for the first time."""
    _tiff._layout.cache_clear()
    target = np.empty((len(BANDS) + 1, TILE, TILE), np.uint16)
    for path, block in zip(files, blocks, strict=True):
        which = _tiff.identity(path)
        assert which is not None
        file = _tiff.VerifiedFile(
            path=path, which=which, sha256=store._sha256(path), shape=block.shape
        )
        for row in range(0, BLOCK, TILE):
            for col in range(0, BLOCK, TILE):
                rows, cols = slice(row, row + TILE), slice(col, col + TILE)
                _tiff.read_into(file, [*target], rows, cols)
                yield target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 tiles instead of 64, fewer turns")
    quick = parser.parse_args().quick
    repeats = 3 if quick else 11
    torch.set_num_threads(1)
    report = Report(
        name="reading",
        claim="From uncompressed cached blocks whose checksums were compared before, tiles come at "
        f"least {AGAINST_RASTERDATASET:g} times as fast as from TorchGeo's RasterDataset, and at "
        f"{AGAINST_RASTERIO:.0%} of the rate of plain rasterio or more, one process and one thread "
        "each.",
        command="python -m benchmarks.reading",
        quick=quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-reading-") as name:
        folder = Path(name)
        planes = _pixels.generated(folder / "generated")
        many = planes if quick else np.tile(planes, (1, 2, 2))
        for blocks in ("none", "zstd"):
            given = cached(folder / blocks, many, compression=blocks)
            readers = Readers(given, folder)
            report.figures[f"tiles compared, {blocks}"] = check(readers)
            report.rows += measure(blocks, readers, repeats)
            if blocks == "zstd":
                report.rows += through_a_worker(
                    "zstd, one DataLoader worker", given, 2 if quick else 6, 3 if quick else 5
                )
        packed = compression(planes, folder, "generated", repeats)
        scene = _pixels.real()
        if scene is not None:
            packed += compression(scene, folder, "Sentinel-2", repeats)
    report.faults += faults(report.rows)
    print(f"\n{table(packed)}")
    report.figures["packings"] = packed
    report.notes += [
        "RasterDataset reads to float32 and joins files with rasterio.merge; its windows are on "
        "the file's pixel grid and TIFF tiles, and one file of all pixels suits it best.",
        "rasterio and memmap give the stored uint16; ours also clamps, and gives torch's int16.",
        "A block is compared with its checksum once in a process: 'met for the first time' is what "
        "a run pays for every block, the other rows what every further tile of it costs.",
    ]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
