"""How fast tiles come out of the cache.

Claim (docs/performance.md, "Reading"): from uncompressed cached blocks whose checksums were
compared before, tiles come at least 8 times as fast as from TorchGeo's RasterDataset, and at 80 %
of the rate of plain rasterio or more.

    python -m benchmarks.reading            # 2 minutes
    python -m benchmarks.reading --quick    # fewer turns: half a minute

One process, one thread, files in the page cache, tiles of 288 px with 10 bands and the count of
observations. All readers read the same pixels, which is checked before the clock starts, and open
their files anew in every turn, as a run meets each block once: GDAL would otherwise answer from its
own cache.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

from benchmarks.support.ground import TILE, Ground
from benchmarks.support.readers import BATCH, GEO, OURS, RASTERIO, Readers, check
from benchmarks.support.report import Report, Row, parser
from benchmarks.support.timing import Timing, compare
from thor_geo.datasets import collate

_PACKINGS: tuple[Literal["none", "zstd"], ...] = ("none", "zstd")

#: Tiles per second, as a multiple of RasterDataset's and of rasterio's own.
AGAINST_RASTERDATASET, AGAINST_RASTERIO = 8.0, 0.8


def exhaust(make: Callable[[], Iterator[Any]]) -> Callable[[], None]:
    """Return a call that takes all that an iterator yields, one after the other."""

    def call() -> None:
        for _ in make():
            pass

    return call


def rows(blocks: str, timings: Mapping[str, Timing], tiles: int) -> list[Row]:
    """Return rates, and their ratios to the faster RasterDataset and to rasterio on the blocks."""
    geo = min(timing.median for name, timing in timings.items() if name.startswith(GEO))
    plain = timings.get(RASTERIO + "the blocks' files")
    return [
        {
            "blocks": blocks,
            "what": name,
            "tiles/s": tiles / timing.median,
            "slowest": tiles / timing.max,
            "fastest": tiles / timing.min,
            "x RasterDataset": geo / timing.median,
            "x rasterio": None if plain is None else plain.median / timing.median,
        }
        for name, timing in timings.items()
    ]


def faults(rows: list[Row]) -> list[str]:
    """Return what the rows of uncompressed blocks do not reach."""
    limits = {"x RasterDataset": AGAINST_RASTERDATASET, "x rasterio": AGAINST_RASTERIO}
    return [
        f"{row['what']}: {row[column]:.2f} {column}, less than {least}."
        for row in rows
        if row["blocks"] == "none" and row["what"] in (OURS, "PlanDataset")
        for column, least in limits.items()
        if row[column] < least
    ]


def through_a_worker(readers: Readers, epochs: int, repeats: int) -> list[Row]:
    """Return the rows of one DataLoader worker each, which the main process waits for."""
    tiles = readers.tiles()
    order = [*range(len(tiles))] * epochs
    batches = [order[k : k + BATCH] for k in range(0, len(order), BATCH)]
    raster = RasterDataset(paths=str(readers.mosaic))
    queries = [*GridGeoSampler(raster, size=TILE)] * epochs
    how: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}
    loaders = {
        "PlanDataset": DataLoader(tiles, batch_sampler=batches, collate_fn=collate, **how),
        GEO + "one file": DataLoader(
            raster, sampler=queries, batch_size=BATCH, collate_fn=stack_samples, **how
        ),
    }
    calls = {name: exhaust(lambda loader=loader: iter(loader)) for name, loader in loaders.items()}
    return rows("zstd, one DataLoader worker", compare(calls, repeats=repeats), len(order))


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "fewer turns").parse_args().quick
    repeats = 3 if quick else 11
    torch.set_num_threads(1)
    report = Report(
        name="reading",
        claim="From uncompressed cached blocks whose checksums were compared before, tiles come at "
        f"least {AGAINST_RASTERDATASET:g} times as fast as from TorchGeo's RasterDataset, and at "
        f"{AGAINST_RASTERIO:.0%} of the rate of plain rasterio or more, one process and one thread "
        "each.",
        quick=quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-reading-") as name:
        for packing in _PACKINGS:
            ground = Ground(folder=Path(name) / packing, across=1, down=1, compression=packing)
            readers = Readers(ground)
            report.figures[f"tiles compared, {packing}"] = check(readers)
            calls = {name: exhaust(make) for name, make in readers.all().items()}
            report.rows += rows(packing, compare(calls, repeats=repeats), len(readers.windows))
        report.rows += through_a_worker(readers, 2 if quick else 6, 3 if quick else 5)
    report.faults += faults(report.rows)
    report.notes += [
        "RasterDataset reads to float32 and joins files with rasterio.merge; its windows are on "
        "the file's pixel grid and TIFF tiles, and one file of all pixels suits it best.",
        "rasterio gives the stored uint16; ours also clamps, and gives torch's int16.",
        "A block is compared with its checksum once in a process: 'met for the first time' is what "
        "a run pays for every block, the other rows what every further tile of it costs.",
    ]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
