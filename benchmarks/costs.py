"""What a tile, a shard and a block cost on this machine: CPU time and bytes.

Backs the tables of docs/scale.md, which `benchmarks.planet` calculates from results/costs.json.

    python -m benchmarks.costs --scenes ../shared/data    # about 5 minutes

Measures the encoder's CPU time for three sizes, and reads the sizes of files that real runs of the
command leave behind: one over a Major TOM chip (16 tiles of 288 px, in one shard of 4 x 4 and in
four of 2 x 2) and one over 38 scenes of a village (for what scenes cost in JSON). The weights are
random, because the published ones are not available everywhere: rates do not depend on them,
compressed sizes may.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.commands import box, emulator, quickstart, sentinel2, thor_geo
from benchmarks.support.cost_model import BYTES, grid_bytes
from benchmarks.support.report import machine, parser, write_result
from thor_geo.models import build_thor
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

#: The default settings.
TILE, PATCH, BATCH = 288, 16, 8

#: The chip's extent and the village's, as in docs/real-data.md.
CHIP = {
    **box([362612.196859, 1976408.206432, 373292.196859, 1987088.206432], 32648),
    "data.anchor": "[362612.196859, 1987088.206432]",
    "data.start": "2020-02-01",
    "data.end": "2020-03-01",
    **sentinel2(cloudy_pct=100, mask="none"),
    "model.model_key": "thor_v1_base",
}
VILLAGE = {
    **box([501360, 5629040, 502000, 5629680], 32631),
    "data.anchor": "[501360, 5629680]",
    "data.tile_size": 64,
    "model.patch_size": 4,
    "data.start": "2018-05-01",
    "data.end": "2018-09-01",
    **sentinel2(cloudy_pct=100, mask="scl"),
}


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


def run(folder: Path, name: str, archive: Path, settings: dict[str, object]) -> tuple[Path, float]:
    """Embed with the command; return the run directory and the CPU seconds of all its processes."""
    out = folder / name
    places = {"data.cache_dir": folder / "cache", "output.dir": out, "output.quicklook": "false"}
    usage = thor_geo(*quickstart({**emulator(archive), **places, **settings}))
    return out, usage.cpu


def sizes(run_dir: Path, pattern: str) -> list[int]:
    """Return the bytes of the files that match."""
    return [path.stat().st_size for path in run_dir.glob(pattern) if path.is_file()]


def type_bytes(chip: Path, archive: Path, dtype: str) -> dict[str, Any]:
    """Return the bytes of vectors and maps of one type, by the key they have in the result.

    Args:
        chip: Where the runs go: 16 tiles, once as one shard and once as four.
        archive: The scenes.
        dtype: ``output.dtype``.
    """
    typed = {**CHIP, "output.dtype": dtype}
    large, _ = run(chip, f"large-{dtype}", archive, {**typed, "data.shard_tiles": 4})
    small, _ = run(chip, f"small-{dtype}", archive, {**typed, "data.shard_tiles": 2})
    (whole,) = sizes(large, "pooled/*.parquet")
    # A line through the small files and the large one of equal content.
    per_tile = (whole - statistics.mean(sizes(small, "pooled/*.parquet"))) / (16 - 4)
    grid = sum(sizes(large, "grid.zarr/utm*/embeddings/c/**/*"))
    grid += sum(sizes(large, "grid.zarr/utm*/scale/c/**/*"))
    return {
        "pooled_bytes": {
            "per_file": round(whole - per_tile * 16),
            "per_tile": round(per_tile, 1),
        },
        "grid_ratio": round(grid / grid_bytes(16, dtype, 1.0), 4),
    }


def measure_runs(scenes: Path) -> dict[str, Any]:
    """Return bytes per tile, file, block and scene, from real runs."""
    with tempfile.TemporaryDirectory(prefix="thor-geo-costs-") as text:
        chip, village = Path(text) / "chip", Path(text) / "village"
        archive = scenes / "chips" / "majortom"
        types = {dtype: type_bytes(chip, archive, dtype) for dtype in BYTES}
        finished = {**CHIP, "data.shard_tiles": 4, "output.dtype": "float32"}
        _, again_s = run(chip, "large-float32", archive, finished)
        run(village, "many", scenes / "scenes" / "wc_be_31UDS", VILLAGE)
        raw = 576 * 576 * (len(S2_DEFAULT_BANDS) + 1) * 2
        return {
            **{
                key: {dtype: measured[key] for dtype, measured in types.items()}
                for key in ("pooled_bytes", "grid_ratio")
            },
            "block": {
                "raw_bytes": raw,
                "compressed_ratio": round(max(sizes(chip / "cache", "blocks/*/*.tif")) / raw, 4),
                "sidecar_bytes_38_scenes": max(sizes(village / "cache", "blocks/*/*.json")),
                "scenes_bytes_38_scenes": max(sizes(village / "cache", "scenes/*/*.json")),
            },
            "start_cpu_seconds": round(again_s, 1),
        }


def main() -> None:
    """Measure, print and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--scenes", type=Path, required=True, help="folder with chips/majortom and scenes/"
    )
    arguments.add_argument("--seconds", type=float, default=15.0, help="for each encoder")
    options = arguments.parse_args()
    result = {
        "machine": machine(),
        "weights": "random, seed 0",
        "encoder": {
            f"thor_v1_{size}": encoder_rate(f"thor_v1_{size}", options.seconds)
            for size in ("tiny", "small", "base")
        },
        **measure_runs(options.scenes),
    }
    print(json.dumps(result, indent=1))
    write_result("costs", result)


if __name__ == "__main__":
    main()
