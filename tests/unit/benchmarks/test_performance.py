"""If this fails, docs/performance.md shows other figures than were measured."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import performance
from benchmarks.growth import halves
from benchmarks.support.report import EXIT_FAULTS, RESULTS, ROOT, Report, document

FILES = {path.stem: path for path in RESULTS.glob("*.json")}


def result(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILES[name].read_text(encoding="utf-8"))
    return content


def row(name: str, **where: object) -> dict[str, Any]:
    """Return the only row of a result with these values; underscores stand for spaces."""
    wanted = {key.replace("_", " "): value for key, value in where.items()}
    (only,) = (
        row
        for row in result(name)["rows"]
        if all(row[key] == value for key, value in wanted.items())
    )
    return only


def test_the_page_quotes_the_results() -> None:
    """Every row of its tables, and the figures of its text."""
    page = " ".join((ROOT / "docs" / "performance.md").read_text(encoding="utf-8").split())
    missing = [text for text in quoted() if text not in page]
    assert missing == []


def test_the_explorers_page_quotes_what_a_run_on_a_web_server_takes() -> None:
    page = " ".join((ROOT / "docs" / "explorer.md").read_text(encoding="utf-8").split())
    drawn, click = (
        row("remote_view", run="with its overview", what=what)
        for what in ("until the map is drawn", "the first click")
    )
    without = row("remote_view", run="without an overview", what="until the map is drawn")
    for text in (
        f"takes {drawn['MB']} MB in {drawn['requests']} requests",
        f"{drawn['seconds']:.1f} s after the command was typed",
        f"{click['MB']} MB of 192 dimensions, in {click['seconds']:.1f} s",
        f"read first: {without['seconds']:.1f} s",
    ):
        assert text in page


def quoted() -> Iterator[str]:
    for size in ("tiny", "small", "base", "large"):
        for patch in (16, 8) if size != "large" else (16,):
            ours, vit = (
                row("encoder", variant=size, patch=patch, batch=8, what=what)
                for what in ("ours", "plain ViT")
            )
            rates = [f"{x['tiles_s']:.{1 if x['tiles_s'] > 9 else 2}f}" for x in (ours, vit)]
            yield f"| {size} | {patch} | {' | '.join(rates)} | {ours['of_sgemm']:.0%}".replace(
                "%", " %"
            )
    costs = json.loads(FILES["costs"].read_text())
    core = [1 / costs["encoder"][f"thor_v1_{size}"]["core_s_per_tile"] for size in SIZES]
    yield f"{core[2]:.2f} tiles/s with base ({core[0]:.1f} with tiny, {core[1]:.2f} with small)"
    yield from quoted_runs()
    for blocks, name in (("zstd", "zstd (the default)"), ("none", "uncompressed")):
        cells = [
            row("reading", blocks=blocks, what=what)["tiles/s"]
            for what in ("PlanDataset", "RasterDataset, one file", "rasterio, the blocks' files")
        ]
        yield f"| {name} | " + " | ".join(f"{cell:,.0f}" for cell in cells)
    first = row("reading", blocks="zstd", what="PlanDataset, blocks met for the first time")
    yield f"checksum: {first['tiles/s']:.0f} tiles/s"
    worker = row("reading", blocks="zstd, one DataLoader worker", what="PlanDataset")
    yield f"hands over {worker['tiles/s']:.0f}."
    for kind in ("an area", "places"):
        share = result("fetch")["figures"][f"share of the possible of {kind}, median of the runs"]
        yield f"reaches {100 * share:.0f} %"
    yield from quoted_places()
    yield from quoted_probes()
    yield from quoted_similar()
    start = "quickstart, archive {}: first tile embedded"
    for text, what, digits in (
        ("`thor-geo --help`", "thor-geo --help", 2),
        ("`import thor_geo`", "import thor_geo", 2),
        ("quickstart, first tile embedded", start.format("there"), 1),
        ("its scenes generated on the way", start.format("generated"), 1),
        ("PyTorch alone takes", "import torch", 1),
        ("Lightning with it", "import lightning.pytorch.cli", 1),
    ):
        link = " " if text[0] in "PL" else " | "
        yield f"{text}{link}{row('startup', what=what)['median']:.{digits}f}"
    drawn = row("remote_view", run="with its overview", what="until the map is drawn")
    tiles = result("remote_view")["figures"]["tiles"]
    yield f"{drawn['seconds']:.1f} s, {drawn['MB']} MB for {tiles:,}"
    yield from quoted_sizes()
    for name, text in (("kill", "kills"), ("determinism", "runs"), ("disk", "cases")):
        yield f"| {len(result(f'chaos_{name}')['rows'])} {text} |"
    yield f"| {len(result('chaos_faults')['rows'])} runs |"
    yield f"| {result('chaos_fuzz')['figures']['inputs']:,} inputs |"
    yield f"| {len(result('chaos_store')['rows'])} of its runs |"
    yield f"| {len(result('chaos_store')['figures']['Plans of faults'])} plans |"


SIZES = ("tiny", "small", "base")


def quoted_similar() -> Iterator[str]:
    made, real = result("similar")["rows"]
    yield f"| {made['vectors'].split()[0]} made vectors of 768 | {real['vectors'].split()[0]} cells"
    for start, *keys in (
        ("first answer, files not in memory", "first answer s"),
        (
            "later ones: median, 95th percentile",
            "later, files dropped: median s",
            "later, files dropped: p95 s",
        ),
    ):
        cells = [", ".join(f"{row[key]:.2f} s" for key in keys) for row in (made, real)]
        yield f"| {start} | {' | '.join(cells)} |"
    for row in result("similar_libraries")["rows"]:
        yield f"| {row['index']} | {row['build s']} s, {row['build peak MB']:,} MB |"
        yield f"| {row['median ms']:.1f} ms, {row['p95 ms']:.1f} ms | {row['peak MB']:,} MB |"


def quoted_probes() -> Iterator[str]:
    probe = result("probe")
    for what, start in (
        ("made: 2,710 x 768, 4 classes", "| 2,710 x 768, 4 classes |"),
        ("quickstart: 1,948 x 192, 4 classes", "| 1,948 x 192, 4 classes, "),
    ):
        old, new = (row("probe", what=what, build=build) for build in ("old", "new"))
        fits = [f"{old['of these fits']:.0f} s", f"{new['of these fits']:.1f} s"]
        yield start
        yield " | ".join([*fits, f"{old['wall s']:.0f} s", f"{new['wall s']:.1f} s"])
    large = row("probe", what="made: 10,000 x 768, 10 classes", build="new")
    yield f"| {large['of these fits']:.0f} s | | {large['wall s']:.1f} s |"
    same = [each for each in probe["figures"]["the same answers"] if each["sides"] == "new and old"]
    yield f"at most {max(each['largest difference of macro F1'] for each in same)} from"
    least = min(_percent(each["same predictions"]) for each in same)
    yield f"and {least:g} % of the saved"
    for sides in ("new and optimum", "old and optimum"):
        quickstart, made = (
            _percent(each["same penalty"])
            for each in probe["figures"]["the same answers"]
            if each["sides"] == sides
        )
        yield f"{made:g} and {quickstart:g} %"


def _percent(text: str) -> float:
    return float(text.removesuffix("%"))


def quoted_places() -> Iterator[str]:
    rates = {x["what"]: x["each/s"] for x in result("places")["rows"]}
    yield f"embeds {rates['scattered places']:.0f} places/s where they are scattered"
    yield f"and {rates['dense places']:.0f} where four"
    yield f"over an area embeds {rates['tiles of an area']:.0f} tiles/s"
    theirs, ours = (x["places/s"] for x in result("rs_embed")["rows"])
    yield f"at {ours:.1f} places/s, by rs-embed 0.3.1 at {theirs:.1f}"
    figures = result("rs_embed")["figures"]
    times = figures["times rs-embed's places/s"]
    yield f"{times} times as fast"
    yield f"differ by at most {figures['largest difference of the vectors']}"
    plan = row("planning", area="1 million places", step="plan")
    yield f"| {plan['with starting Python']:.1f} s, {plan['peak GB']:.2f} GB for {plan['tiles']}"
    start = row("planning", area="1 million places", step="start")
    yield f"of a million places, after {start['with starting Python']:.1f} s"


def quoted_runs() -> Iterator[str]:
    parts = {
        "base, vectors and maps": ("overhead, thor_v1_base", "the encoder alone"),
        "tiny, vectors and maps": ("overhead, thor_v1_tiny", "the encoder alone"),
        "tiny, vectors": ("tiny, pooled", "TerraTorch"),
        "an encoder that costs nothing, vectors": ("ceiling, pooled", "TerraTorch"),
        "an encoder that costs nothing, maps": ("ceiling, grid", "TerraTorch"),
    }
    for text, (part, other) in parts.items():
        ours, theirs = (
            row("pipeline", part=part, what=what)["tiles/s"] for what in ("thor-geo predict", other)
        )
        rates = [f"{rate:#.3g}".rstrip(".") for rate in (ours, theirs)]
        yield f"| {text} | {rates[0]} tiles/s |"
        yield f": {rates[1]} | {ours / theirs:.{1 if ours > 100 else 2}f} |"
    cold = {x["what"]: x["median s"] for x in result("pipeline")["rows"] if "cold" in x["part"]}
    fetch, compute, both = cold.values()
    yield f"took {both:.1f} s, where fetching alone took {fetch:.1f} s and computing alone "
    yield f"{compute:.1f} s"
    figures = result("pipeline")["figures"]
    yield f"at most {figures['largest difference of the vectors']}"
    yield f"is {figures['overhead of thor_v1_tiny, %']} %)"
    yield f"({figures['cold run beyond the longer of its halves, %']} %)"


def quoted_sizes() -> Iterator[str]:
    for role, text in (
        ("main", "peak of the main process, tiny"),
        ("worker", "peak of a reading process"),
        ("prefetch", "peak of the prefetch process"),
    ):
        peaks = row("chaos_memory", process=role, cache="cold")
        few, many = peaks["peak at 1,000, MB"], peaks["peak at 10,000, MB"]
        sizes = [f"{few:,.0f} MB", f"{many:,.0f} MB"]
        if role == "main":
            sizes = [f"{sizes[0]} at 1,089", f"{sizes[1]} at 10,201"]
        yield f"| {text} | {' | '.join(sizes)} |"
    large = result("growth")["rows"][-1]
    first, second = (large[f"{half} half, s/1,000 tiles"] for half in ("first", "second"))
    yield f"a run of {large['tiles']:,} tiles"
    yield f"| {first:.2f} in its first half | {second:.2f} in its second |"
    plans = [row("planning", area=area, step="plan") for area in ("1 million", "all land")]
    yield "| planning | " + " | ".join(
        f"{x['with starting Python']:.1f} s, {x['peak GB']:.2f} GB for {x['tiles']}" for x in plans
    )
    ranks = [row("planning", area=area, step="start") for area in ("1 million", "all land")]
    yield "after {:.1f} s for a million tiles, and after {:.1f} s".format(
        *(x["with starting Python"] for x in ranks)
    )
    small, big = result("merge")["rows"]
    yield f"| {small['merge peak MB']:.0f} MB at {small['tiles']:,} |"
    yield f"| {big['merge peak MB']:.0f} MB at {big['tiles']:,} ({big['merge s']:.0f} s) |"
    yield f"| {small['box MB read before']:.1f}, then {small['box MB read after']:.1f} |"
    yield f"| {big['box MB read before']:.0f}, then {big['box MB read after']:.1f} |"
    few, many = result("open_run")["rows"]
    yield f"| {few['batches peak MB']:.0f} MB at {few['rows']:,} |"
    yield f"| {many['batches peak MB']:.0f} MB at {many['rows']:,} |"
    yield f"| {few['matrix kept MB']:.0f} MB for a matrix of {few['vectors MB']:,.0f} MB |"
    yield f"| {many['matrix kept MB']:.0f} MB for one of {many['vectors MB']:,.0f} MB |"
    for sizes in result("storage")["figures"]["bytes a tile in one shard"]:
        dtype = sizes["dtype"]
        kept = [
            f"{row('storage', what=f'{kind} {dtype}')['top-10 kept %']:.2f} %"
            for kind in ("vectors", "maps")
        ]
        cells = [f"{sizes['vectors']:,}", f"{sizes['maps']:,}", *kept]
        yield f"| {dtype} | {' | '.join(cells)} |".replace("100.00 %", "100 %")
    ratio = json.loads(FILES["costs"].read_text())["block"]["compressed_ratio"]
    yield f"blocks at {100 * ratio:.0f} % of their plain bytes"


@pytest.mark.parametrize("name", [name for name in FILES if "claim" in result(name)])
def test_results_are_whole_runs_of_benchmarks_that_exist(name: str) -> None:
    content = result(name)
    assert content["name"] == name
    assert not content["quick"]
    module = content["command"].split()[2]
    assert importlib.util.find_spec(module) is not None


def test_a_result_is_shown_with_all_that_it_holds(tmp_path: Path) -> None:
    columns = {f"column {k}": float(k) for k in range(9)}
    code = Report(
        name="chaos_growth",
        claim="It grows.",
        rows=[columns, columns],
        faults=["It does not."],
        figures={"slope": 1.5, "more": [{"turn": 1}]},
        notes=["By hand."],
    ).finish(tmp_path)
    assert code == EXIT_FAULTS
    content = json.loads((tmp_path / "chaos_growth.json").read_text())
    shown = document(content)
    for part in ("**Does not hold:** It grows.", "- **Does not hold:** It does not.", "| turn |"):
        assert part in shown
    for part in ("- slope: 1.5", "- By hand.", "| column 8 | 8.00 | 8.00 |"):
        assert part in shown
    assert f"{content['machine']['cores']} cores" in shown
    assert "`python -m benchmarks.chaos.growth`" in shown


def test_the_short_form_replaces_no_evidence(tmp_path: Path) -> None:
    assert Report(name="growth", claim="It grows.", quick=True).finish(tmp_path) == 0
    assert not list(tmp_path.iterdir())


def test_halves_leave_out_the_start_and_weigh_tiles() -> None:
    # ten shards of 4 tiles, the first after 60 s, then 1 s each; and two part-filled ones
    ends = [(60.0 + k, 4) for k in range(10)] + [(72.0, 2), (76.0, 2)]
    start, middle, end, first, second = halves(list(reversed(ends)))
    assert (start, middle, end) == (60.0, 65.0, 76.0)
    assert first == pytest.approx(5 / 20)
    assert second == pytest.approx(11 / 20)


@pytest.mark.parametrize(
    ("code", "outcome", "failed"),
    [
        (0, "holds", 0),
        (EXIT_FAULTS, "DOES NOT HOLD", 1),
        (1, "BROKE OFF (exit code 1)", 1),
        (-9, "BROKE OFF (exit code -9)", 1),
    ],
)
def test_a_benchmark_that_breaks_off_is_not_one_whose_claim_fails(
    code: int,
    outcome: str,
    failed: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise `make bench` hides a crash."""

    def ended(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", ended)
    monkeypatch.setattr(sys, "argv", ["performance", "--quick", "growth"])
    assert performance.main() == failed
    assert capsys.readouterr().out.splitlines()[-1] == f"growth: {outcome}"
