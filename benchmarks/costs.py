"""What a tile, a shard and a block cost on this machine: time, bytes and files.

    python -m benchmarks.costs --scenes ../shared/data

Measures the encoder's CPU time for three sizes, and reads the sizes of files that real runs
of the command leave behind: one over a Major TOM chip (16 tiles of 288 px, in one shard of 4 x 4
and in four of 2 x 2) and one over 38 scenes of a village (for what scenes cost in JSON). The
weights are random, because the published ones cannot be had everywhere: rates do not depend on
them, compressed sizes may.

Prints a table and writes ``benchmarks/results/costs.json``, from which `benchmarks.planet` reckons.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._costmodel import BYTES, grid_bytes
from benchmarks.report import RESULTS, machine
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.models import build_thor
from thor_geo.runs.grid import GridStore
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.shard import Shapes, ShardResult
from thor_geo.specs import Windows
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee
from thor_geo.tasks.shard_writer import write_shard

RESULT = RESULTS / "costs.json"

#: Base width, tokens and bytes are those of the default settings.
TILE, PATCH, BATCH = 288, 16, 8

#: The chip's extent and the village's, as docs/real-data.md has them.
CHIP = [
    "--data.area={bbox: [362612.196859, 1976408.206432, 373292.196859, 1987088.206432], "
    'crs: "EPSG:32648"}',
    "--data.anchor=[362612.196859, 1987088.206432]",
    "--data.start=2020-02-01",
    "--data.end=2020-03-01",
    "--data.cloudy_pct=100",
    "--data.mask=none",
    "--model.model_key=thor_v1_base",
]
VILLAGE = [
    '--data.area={bbox: [501360, 5629040, 502000, 5629680], crs: "EPSG:32631"}',
    "--data.anchor=[501360, 5629680]",
    "--data.tile_size=64",
    "--model.patch_size=4",
    "--data.start=2018-05-01",
    "--data.end=2018-09-01",
    "--data.cloudy_pct=100",
    "--data.mask=scl",
]


def encoder_rate(model_key: str, seconds: float) -> dict[str, float]:
    """Return CPU seconds per tile of the encoder alone: float32, one thread, random weights.

    CPU seconds of one thread hardly depend on what else runs on the machine; wall time does.
    """
    torch.set_num_threads(1)
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    encoder = build_thor(model_key, bands=channels, image_size=TILE, patch_size=PATCH).encoder
    image = torch.randn(BATCH, len(channels), TILE, TILE)
    times: list[float] = []
    with torch.inference_mode():
        encoder(image)
        while sum(times) < seconds or len(times) < 3:
            begin = time.process_time()
            encoder(image)
            times.append(time.process_time() - begin)
    return {
        "core_s_per_tile": round(statistics.median(times) / BATCH, 4),
        "fastest": round(min(times) / BATCH, 4),
        "batches": len(times),
        "batch_size": BATCH,
    }


def run(folder: Path, name: str, archive: Path, *args: str) -> tuple[Path, float]:
    """Embed with the command; return the run directory and the CPU seconds of all its processes."""
    out = folder / name
    command = [sys.executable, "-m", "thor_geo", "predict", "-c", "configs/quickstart.yaml"]
    settings = [
        f"--data.emulator_archive={archive}",
        f"--data.cache_dir={folder / 'cache'}",
        f"--output.dir={out}",
        "--output.quicklook=false",
        *args,
    ]
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime


def sizes(run_dir: Path, pattern: str) -> list[int]:
    """Return the bytes of the files that match."""
    return [path.stat().st_size for path in run_dir.glob(pattern) if path.is_file()]


def line_through(
    many: list[int], tiles_many: int, one: list[int], tiles_one: int
) -> tuple[float, float]:
    """Return bytes per file and per tile, from small files and one large file of equal content."""
    per_tile = (one[0] - statistics.mean(many)) / (tiles_one - tiles_many)
    return one[0] - per_tile * tiles_one, per_tile


def column_bytes(file: Path) -> dict[str, float]:
    """Return compressed bytes per row of a pooled file's embeddings, and of all other columns."""
    import pyarrow.parquet as pq

    about = pq.ParquetFile(file).metadata
    sizes = {"embedding": 0, "others": 0}
    for group in range(about.num_row_groups):
        for k in range(about.num_columns):
            column = about.row_group(group).column(k)
            name = "embedding" if column.path_in_schema.startswith("embedding") else "others"
            sizes[name] += column.total_compressed_size
    return {name: round(value / about.num_rows, 1) for name, value in sizes.items()}


def type_bytes(chip: Path, archive: Path, dtype: str) -> dict[str, Any]:
    """Return the bytes of vectors and maps of one type, by the key they have in the result.

    Args:
        chip: Where the runs go: 16 tiles, once as one shard and once as four.
        archive: The scenes.
        dtype: ``output.dtype``.
    """
    typed = f"--output.dtype={dtype}"
    large, _ = run(chip, f"large-{dtype}", archive, *CHIP, "--data.shard_tiles=4", typed)
    small, _ = run(chip, f"small-{dtype}", archive, *CHIP, "--data.shard_tiles=2", typed)
    file, tile = line_through(
        sizes(small, "pooled/*.parquet"), 4, sizes(large, "pooled/*.parquet"), 16
    )
    grid = sum(sizes(large, "grid.zarr/utm*/embeddings/c/**/*"))
    grid += sum(sizes(large, "grid.zarr/utm*/scale/c/**/*"))
    return {
        "pooled_bytes": {"per_file": round(file), "per_tile": round(tile, 1)},
        "pooled_columns_bytes_per_tile": column_bytes(next(large.glob("pooled/*.parquet"))),
        "grid_file_bytes": grid,
        "grid_ratio": round(grid / grid_bytes(16, dtype, 1.0), 4),
    }


def write_seconds(run_dir: Path, folder: Path, shard_tiles: int, *, grid: bool) -> dict[str, float]:
    """Return the time to write a full shard in the way of the command: outputs and marker.

    Args:
        run_dir: A run whose only shard's values are written again, repeated to the shard's size.
        folder: Where to write.
        shard_tiles: Side of the shard in tiles.
        grid: Whether maps are written, too.
    """
    import zarr

    name = next(path.name for path in (run_dir / "grid.zarr").iterdir() if path.is_dir())
    maps = np.asarray(zarr.open_array(run_dir / "grid.zarr", path=f"{name}/embeddings")[...])
    plan = Plan.of(
        AreaSpec(bbox=(300_000, 6_000_000, 400_000, 6_100_000), crs="EPSG:32632").load(),
        Lattice(epsg=32632, shard_tiles=shard_tiles),
    )
    shard = next(one for one in plan.shards if len(one) == shard_tiles**2)
    cells = TILE // PATCH
    shapes = Shapes(pooled=(len(maps),), grid=(len(maps), cells, cells) if grid else None)
    result = ShardResult(plan, shard, shapes)
    assert result.pooled is not None
    result.pooled[:] = np.resize(maps.reshape(len(maps), -1).T, result.pooled.shape)
    if result.grid is not None:
        times = -(-result.grid.shape[1] // maps.shape[1])
        result.grid[:] = np.tile(maps, (1, times, times))[:, : result.grid.shape[1]][
            :, :, : result.grid.shape[2]
        ]
    result.status = ["ok"] * len(shard)
    result.scenes = [
        tuple(f"20220601T100601_20220601T100600_T32VN{k:02d}" for k in range(30))
    ] * len(shard)
    rundir = RunDirectory(folder / f"write-{shard_tiles}-{grid}")
    rundir.prepare({"benchmark": "costs"}, {}, plan)
    store = None
    if shapes.grid is not None:
        store = GridStore(rundir.grid, plan, shapes.grid, shapes.dtype)
        store.create("{}")
    cpu, wall = [], []
    for _ in range(5):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        write_shard(
            rundir,
            plan,
            [result],
            shapes=shapes,
            windows=Windows.of("2022-06-01", "2022-09-01"),
            store=store,
            started_at=dt.datetime.now(dt.UTC),
            compute_seconds=0.0,
        )
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    shutil.rmtree(rundir.path)
    return {"cpu": round(statistics.median(cpu), 4), "wall": round(min(wall), 4)}


def measure_runs(scenes: Path) -> dict[str, Any]:
    """Return bytes per tile, file, block and scene, out of real runs."""
    temporary = Path(tempfile.mkdtemp(prefix="thor-geo-costs-"))
    try:
        chip, village = temporary / "chip", temporary / "village"
        chip.mkdir()
        village.mkdir()
        archive = scenes / "chips" / "majortom"
        types = {dtype: type_bytes(chip, archive, dtype) for dtype in BYTES}
        finished = [*CHIP, "--data.shard_tiles=4", "--output.dtype=float32"]
        large, again_s = run(chip, "large-float32", archive, *finished)
        many, _ = run(village, "many", scenes / "scenes" / "wc_be_31UDS", *VILLAGE)
        tif = sizes(chip / "cache", "blocks/*/*.tif")
        raw = 576 * 576 * (len(S2_DEFAULT_BANDS) + 1) * 2
        return {
            **{
                key: {dtype: found[key] for dtype, found in types.items()}
                for key in next(iter(types.values()))
            },
            "plan_bytes_16_tiles": sizes(large, "plan.parquet")[0],
            "marker_bytes": {
                "16_tiles_1_scene": sizes(large, "markers/*.json")[0],
                "1_tile_38_scenes": sizes(many, "markers/*.json")[0],
            },
            "block": {
                "raw_bytes": raw,
                "compressed_ratio": round(max(tif) / raw, 4),
                "sidecar_bytes_38_scenes": max(sizes(village / "cache", "blocks/*/*.json")),
                "scenes_bytes_38_scenes": max(sizes(village / "cache", "scenes/*/*.json")),
            },
            "write_seconds": {
                kind: {
                    str(side): write_seconds(large, temporary, side, grid=kind == "vectors+grids")
                    for side in (2, 4, 8)
                }
                for kind in ("vectors", "vectors+grids")
            },
            "start_cpu_seconds": round(again_s, 1),
        }
    finally:
        shutil.rmtree(temporary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scenes", type=Path, required=True, help="folder with chips/majortom and scenes/"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="for each encoder")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    result = {
        "machine": machine(),
        "weights": "random, seed 0",
        "encoder": {
            f"thor_v1_{size}": encoder_rate(f"thor_v1_{size}", args.seconds)
            for size in ("tiny", "small", "base")
        },
        **measure_runs(args.scenes),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1)
    args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
