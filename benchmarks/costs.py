"""What a tile, a shard and a block cost on this machine: time, bytes and files.

    python -m benchmarks.costs --scenes ../shared/data

Measures the encoder's rate on the CPU for three sizes, and reads the sizes of files that real runs
of the command leave behind: one over a Major TOM chip (16 tiles of 288 px, in one shard of 4 x 4
and in four of 2 x 2) and one over 38 scenes of a village (for what scenes cost in JSON). The
weights are random, because the published ones cannot be had everywhere: rates do not depend on
them, compressed sizes may.

Prints a table and writes ``benchmarks/results/costs.json``, from which `benchmarks.planet` reckons.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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

from thor_geo.bands import S2_DEFAULT_BANDS, bands_from_ee
from thor_geo.models import build_thor

RESULT = Path(__file__).parent / "results" / "costs.json"

#: Base width, tokens and bytes are those of the default settings.
TILE, PATCH, BATCH, THREADS = 288, 16, 8, 2

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


def machine() -> dict[str, Any]:
    """Return what the figures depend on, in general words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def encoder_rate(model_key: str, seconds: float = 10.0) -> dict[str, float]:
    """Return tiles/s of the encoder alone, float32, random weights (median over the batches)."""
    torch.set_num_threads(THREADS)
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    encoder = build_thor(model_key, bands=channels, image_size=TILE, patch_size=PATCH).encoder
    image = torch.randn(BATCH, len(channels), TILE, TILE)
    times: list[float] = []
    with torch.inference_mode():
        encoder(image)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            begin = time.perf_counter()
            encoder(image)
            times.append(time.perf_counter() - begin)
    return {
        "tiles_per_s": round(BATCH / statistics.median(times), 3),
        "batches": len(times),
        "batch_size": BATCH,
        "threads": THREADS,
    }


def run(folder: Path, archive: Path, *args: str) -> tuple[Path, float]:
    """Embed with the command; return the run directory and the seconds it took in all."""
    out = folder / f"run-{len(list(folder.glob('run-*')))}"
    command = [sys.executable, "-m", "thor_geo", "predict", "-c", "configs/quickstart.yaml"]
    settings = [
        f"--data.emulator_archive={archive}",
        f"--data.cache_dir={folder / 'cache'}",
        f"--output.dir={out}",
        "--output.quicklook=false",
        *args,
    ]
    begin = time.perf_counter()
    subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL)
    return out, time.perf_counter() - begin


def sizes(run_dir: Path, pattern: str) -> list[int]:
    """Return the bytes of the files that match."""
    return [path.stat().st_size for path in run_dir.glob(pattern) if path.is_file()]


def line_through(
    many: list[int], tiles_many: int, one: list[int], tiles_one: int
) -> tuple[float, float]:
    """Return bytes per file and per tile, from small files and one large file of equal content."""
    per_tile = (one[0] - statistics.mean(many)) / (tiles_one - tiles_many)
    return one[0] - per_tile * tiles_one, per_tile


def grid_sizes(run_dir: Path) -> dict[str, float]:
    """Return compressed over raw bytes of the grid's values at three types, as the writer packs.

    int8 is no output of the command: one byte a value, scaled by each band's largest magnitude.
    """
    import zarr
    from numcodecs import Blosc

    group = next(path.name for path in (run_dir / "grid.zarr").iterdir() if path.is_dir())
    values = np.asarray(zarr.open_group(run_dir / "grid.zarr", mode="r")[f"{group}/embeddings"][:])
    assert np.isfinite(values).all()
    scale = np.abs(values).max(axis=(1, 2), keepdims=True) / 127
    side = 36  # cells of a chunk: a divisor of 72, as the writer chooses for 4 tiles of 18
    ratios = {}
    for name, typed in {
        "float32": values.astype("f4"),
        "float16": values.astype("f2"),
        "int8": np.round(values / scale).astype("i1"),
    }.items():
        codec = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)
        packed = sum(
            len(codec.encode(np.ascontiguousarray(typed[:, y : y + side, x : x + side])))
            for y in range(0, typed.shape[1], side)
            for x in range(0, typed.shape[2], side)
        )
        ratios[name] = round(packed / typed.nbytes, 4)
    return ratios


def marker_seconds(run_dir: Path) -> dict[str, float]:
    """Return what the run's markers say of time, seconds per shard."""
    markers = [json.loads(path.read_text()) for path in sorted(run_dir.glob("markers/*.json"))]
    return {
        "write_seconds": round(statistics.median(m["write_seconds"] for m in markers), 4),
        "shards": len(markers),
    }


def measure_runs(scenes: Path) -> dict[str, Any]:
    """Return bytes per tile, file, block and scene, out of real runs."""
    temporary = Path(tempfile.mkdtemp(prefix="thor-geo-costs-"))
    try:
        chip, village = temporary / "chip", temporary / "village"
        chip.mkdir()
        village.mkdir()
        archive = scenes / "chips" / "majortom"
        large, _ = run(chip, archive, *CHIP, "--data.shard_tiles=4")
        small, again_s = run(chip, archive, *CHIP, "--data.shard_tiles=2")
        half, _ = run(chip, archive, *CHIP, "--data.shard_tiles=4", "--output.dtype=float16")
        half_small, _ = run(chip, archive, *CHIP, "--data.shard_tiles=2", "--output.dtype=float16")
        many, _ = run(village, scenes / "scenes" / "wc_be_31UDS", *VILLAGE)
        pooled = {
            name: line_through(sizes(a, "pooled/*.parquet"), 4, sizes(b, "pooled/*.parquet"), 16)
            for name, a, b in (("float32", small, large), ("float16", half_small, half))
        }
        tif = sizes(chip / "cache", "blocks/*/*.tif")
        raw = 576 * 576 * (len(S2_DEFAULT_BANDS) + 1) * 2
        return {
            "pooled_bytes": {
                name: {"per_file": round(file), "per_tile": round(tile, 1)}
                for name, (file, tile) in pooled.items()
            },
            "grid_ratio": grid_sizes(large),
            "grid_file_bytes": {
                "float32": sizes(large, "grid.zarr/*/embeddings/c/**/*")[0],
                "float16": sizes(half, "grid.zarr/*/embeddings/c/**/*")[0],
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
            "markers": marker_seconds(small),
            "command_seconds_16_tiles_cached": round(again_s, 1),
        }
    finally:
        shutil.rmtree(temporary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scenes", type=Path, required=True, help="folder with chips/majortom and scenes/"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    result = {
        "machine": machine(),
        "weights": "random, seed 0",
        "encoder": {
            f"thor_v1_{size}": encoder_rate(f"thor_v1_{size}") for size in ("tiny", "small", "base")
        },
        **measure_runs(args.scenes),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1)
    args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
