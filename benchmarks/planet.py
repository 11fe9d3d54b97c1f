"""From a village to the planet: what a run costs, and which limit it meets first.

Claim: the tables of docs/scale.md follow from what `benchmarks.outlines` counted and
`benchmarks.costs` measured, and from what is assumed. Other assumptions can be given.

    python -m benchmarks.planet                # seconds; writes results/planet.json
    python -m benchmarks.planet --docs         # also renews docs/scale.md
    python -m benchmarks.planet --latency-s 7 --eecu-s 12 --tier 1000    # only prints
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from benchmarks.support import cost_model as cost
from benchmarks.support.report import RESULTS, ROOT, Row, parser, renewed, table, write_result

DOCS = ROOT / "docs" / "scale.md"

HOUR, DAY, MONTH = 3600, 86_400, 30 * 86_400

#: Rows of tables of places: one by hand, a continent's survey, and the largest that is tested.
PLACES = (1_000, 20_000, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What nobody has measured here.

    Attributes:
        latency_s: Time of one pixel request to the real service, seconds.
        eecu_s: EECU-seconds of one block on the real service.
        tier: Monthly quota, EECU-hours.
        gpus: GPUs of a large run.
        peak_tflops: Peak of one GPU; 312 is an A100's for bfloat16 without sparsity (NVIDIA's data
            sheet).
        utilisation: Share of that peak which the encoder reaches.
    """

    latency_s: float = 5.0
    eecu_s: float = 10.0
    tier: float = 1000.0
    gpus: int = 8
    peak_tflops: float = 312.0
    utilisation: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the tables are made from.

    Attributes:
        outlines: Counts by outline, the smallest first; see `benchmarks.outlines`.
        costs: Sizes and rates; see `benchmarks.costs`.
        assumed: The rest.
    """

    outlines: dict[str, Any]
    costs: dict[str, Any]
    assumed: Assumed = field(default_factory=Assumed)

    @classmethod
    def read(cls, assumed: Assumed | None = None) -> Inputs:
        """Read what the other benchmarks have measured."""
        outlines = json.loads((RESULTS / "outlines.json").read_text(encoding="utf-8"))["outlines"]
        costs = json.loads((RESULTS / "costs.json").read_text(encoding="utf-8"))
        ordered = dict(sorted(outlines.items(), key=lambda item: int(item[1]["tiles"])))
        return cls(outlines=ordered, costs=costs, assumed=assumed or Assumed())

    def gpu_tiles_per_s(self, model_key: str) -> float:
        """Assumed rate of an encoder on one GPU."""
        assumed = self.assumed
        return cost.gpu_tiles_per_s(model_key, assumed.peak_tflops, assumed.utilisation)


def si(value: float, unit: str = "") -> str:
    """Return a number with three digits and a decimal prefix."""
    if value < 1000 and value == round(value):
        return f"{value:.0f} {unit}".strip()
    prefixes = ("", "k", "M", "G", "T", "P")
    power = min(len(prefixes) - 1, max(0, int(np.floor(np.log10(abs(value)) / 3 + 1e-9))))
    short = value / 1000**power
    digits = 0 if short >= 99.5 else 1 if short >= 9.95 else 2
    return f"{short:.{digits}f} {prefixes[power]}{unit}".strip()


def span(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, length in (("months", MONTH), ("days", DAY), ("h", HOUR), ("min", 60)):
        if seconds >= 2 * length or (unit == "min" and seconds >= 60):
            return f"{seconds / length:,.{1 if seconds / length < 100 else 0}f} {unit}"
    return f"{seconds:.1f} s"


def counts(inputs: Inputs) -> list[Row]:
    """Tiles, shards and blocks."""
    return [
        {
            "size": f"{name}: {outline['what']}",
            "km2": f"{outline['km2']:,}",
            "tiles": f"{outline['tiles']:,}",
            "km2 / 8.2944": f"{outline['km2'] / cost.tile_km2():,.0f}",
            "shards of 8 x 8": f"{outline['squares']['8']:,}",
            "blocks of 576 px": f"{outline['squares']['2']:,}",
            "blocks of 1152 px": f"{outline['squares']['4']:,}",
        }
        for name, outline in inputs.outlines.items()
    ]


def requests(inputs: Inputs) -> list[Row]:
    """Requests and the time they take at full concurrency."""
    rows = []
    for name, outline in inputs.outlines.items():
        blocks, large = outline["squares"]["2"], outline["squares"]["4"]
        row = {
            "size": name,
            "requests (576 px)": si(blocks * (1 + cost.pixel_requests(576))),
            "requests (1152 px)": si(large * (1 + cost.pixel_requests(1152))),
            "bytes sent": si(blocks * inputs.costs["block"]["raw_bytes"], "B"),
        }
        for latency in (0.5, 5, 30):
            row[f"{latency:g} s a request"] = span(cost.fetch_seconds(blocks, 576, latency))
        rows.append(row)
    return rows


def quota(inputs: Inputs) -> list[Row]:
    """What a block may cost for the run to fit into a month's quota."""
    return [
        {
            "size": name,
            **{
                f"{tier:,} EECU-h a month": (
                    f"{si(cost.eecu_s_affordable(outline['squares']['2'], tier))} EECU-s"
                )
                for tier in cost.QUOTA_TIERS
            },
        }
        for name, outline in inputs.outlines.items()
    ]


def storage(inputs: Inputs) -> list[Row]:
    """Bytes and files on disk, THOR base, patch 16."""
    rows, costs = [], inputs.costs
    for name, outline in inputs.outlines.items():
        tiles, shards, blocks = outline["tiles"], outline["squares"]["8"], outline["squares"]["2"]
        row: dict[str, Any] = {"size": name}
        for dtype, size in costs["pooled_bytes"].items():
            row[f"vectors {dtype}"] = si(cost.pooled_bytes(tiles, shards, size), "B")
        for dtype, ratio in costs["grid_ratio"].items():
            row[f"grid {dtype}"] = si(cost.grid_bytes(tiles, dtype, ratio), "B")
        row["cache"] = si(cost.cache_bytes(blocks, costs["block"]), "B")
        row["files of the run"], row["files of the cache"] = si(3 * shards), si(3 * blocks)
        rows.append(row)
    return rows


def places(inputs: Inputs) -> list[Row]:
    """Tables of scattered places: each chip of 288 px is a block of its own."""
    rows, costs = [], inputs.costs
    chip = {**costs["block"], "raw_bytes": costs["block"]["raw_bytes"] * (cost.TILE / 576) ** 2}
    for count in PLACES:
        row: dict[str, Any] = {
            "places": f"{count:,}",
            "requests": si(count * (1 + cost.pixel_requests(cost.TILE))),
            "bytes sent": si(count * chip["raw_bytes"], "B"),
        }
        for latency in (0.5, 5, 30):
            row[f"{latency:g} s a request"] = span(cost.fetch_seconds(count, cost.TILE, latency))
        shards, float32 = -(-count // 64), costs["pooled_bytes"]["float32"]
        row["vectors float32, with centre"] = si(
            cost.pooled_bytes(count, shards, float32) + count * cost.WIDTH * 4, "B"
        )
        row["cache"] = si(cost.cache_bytes(count, chip), "B")
        rate = 1 / costs["encoder"]["thor_v1_base"]["core_s_per_tile"]
        row["core-hours, base"] = f"{count / rate / HOUR:,.1f}"
        rows.append(row)
    return rows


def computing(inputs: Inputs) -> list[Row]:
    """Hours of computing by size of the model."""
    rows = []
    for key, measured in inputs.costs["encoder"].items():
        rate, gpu = 1 / measured["core_s_per_tile"], inputs.gpu_tiles_per_s(key)
        hours = {
            name: inputs.outlines[name]["tiles"] / HOUR for name in ("country", "continent", "land")
        }
        rows.append(
            {
                "model": key,
                "GFLOP a tile": f"{cost.tile_flops(key) / 1e9:.1f}",
                "tiles/s of a core": f"{rate:.2f}",
                **{f"{name}: core-hours": f"{hours[name] / rate:,.0f}" for name in hours},
                "tiles/s of a GPU, assumed": f"{gpu:,.0f}",
                "land: GPU-hours, assumed": f"{hours['land'] / gpu:,.1f}",
            }
        )
    return rows


def limits(inputs: Inputs) -> list[Row]:
    """How long each limit alone would make a run take, and which binds."""
    rows, assumed = [], inputs.assumed
    for name, outline in inputs.outlines.items():
        blocks, tiles = outline["squares"]["2"], outline["tiles"]
        eecu = cost.eecu_hours(blocks, assumed.eecu_s)
        times = {
            "requests": cost.fetch_seconds(blocks, 576, assumed.latency_s),
            # A month's quota may be used up in a day: within it, quota costs no time.
            "quota": 0.0 if eecu <= assumed.tier else eecu / assumed.tier * MONTH,
            f"{assumed.gpus} GPUs": tiles / inputs.gpu_tiles_per_s("thor_v1_base") / assumed.gpus,
        }
        row = {"size": name} | {key: span(value) for key, value in times.items()}
        row["quota"] += f" ({eecu / assumed.tier:.1%} of a month's)" if not times["quota"] else ""
        rows.append(row | {"binds": max(times, key=lambda key: times[key])})
    return rows


#: The tables by the name they have in docs/scale.md.
TABLES: dict[str, Callable[[Inputs], list[Row]]] = {
    "counts": counts,
    "requests": requests,
    "quota": quota,
    "storage": storage,
    "places": places,
    "computing": computing,
    "limits": limits,
}


def main() -> None:
    """Print the tables; write them where the assumptions are the page's."""
    arguments = parser(__doc__)
    arguments.add_argument("--docs", action="store_true", help="renew the tables of docs/scale.md")
    for setting in fields(Assumed):
        kind: type[Any] = type(setting.default)
        flag = f"--{setting.name.replace('_', '-')}"
        arguments.add_argument(flag, type=kind, default=setting.default, help="(%(default)s)")
    options = arguments.parse_args()
    assumed = Assumed(
        **{setting.name: getattr(options, setting.name) for setting in fields(Assumed)}
    )
    inputs = Inputs.read(assumed)
    rows = {name: make(inputs) for name, make in TABLES.items()}
    for name, content in rows.items():
        print(f"\n{name}: {TABLES[name].__doc__}\n\n{table(content)}")
    if assumed != Assumed():
        print("\nNot written: these are not the page's assumptions.")
        return
    result = {"machine": inputs.costs["machine"], "assumed": asdict(assumed), "tables": rows}
    write_result("planet", result)
    if options.docs:
        text = DOCS.read_text(encoding="utf-8")
        tables = {name: table(content) for name, content in rows.items()}
        DOCS.write_text(renewed(text, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
