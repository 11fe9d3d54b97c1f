"""How many requests a run in an object store makes, and what they cost.

Backs the tables of docs/scale.md ("Requests to a store").

    python -m benchmarks.store_requests           # 3 minutes
    python -m benchmarks.store_requests --docs    # also renews docs/scale.md

Runs of two, four and six shards are written into moto's S3 on this machine, with an encoder that
costs nothing; what they ask is counted on the way, by whoever asks. What is common to all is a
launch's, what each further shard adds is a shard's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.support import predicting as ours
from benchmarks.support.faulty_store import faulty_store
from benchmarks.support.ground import Ground
from benchmarks.support.object_store import new_bucket, s3_server
from benchmarks.support.report import RESULTS, ROOT, Report, Row, parser, renewed, table
from benchmarks.support.side import Side
from thor_geo.cli.main import ENVIRONMENT

DOCS = ROOT / "docs" / "scale.md"

#: USD for 1,000 requests, assumed: those of Amazon S3 Standard in us-east-1 as of December 2026.
#: Requests that remove are taken to be free.
PUT_USD, GET_USD = 0.005, 0.0004
#: Tiles of a full shard of the default 8 x 8.
SHARD_TILES = 64

#: What a run may write, and the shards of the runs that are compared.
OUTPUTS = {"vectors": (True, False), "maps": (False, True), "vectors and maps": (True, True)}
SHARDS = (2, 4, 6)
KINDS = ("PUT", "LIST", "GET", "HEAD", "removals")

NOTES = (
    "Counted at a door before the store, so that zarr's requests are among them; LIST is a GET "
    "with a query. Removals are POST: obstore 0.12 removes in bulk, whatever the number.",
    "Nothing failed, so that nothing was asked twice. A map of a shard is one object, whatever the "
    "number of its chunks. The previews of maps are drawn from all of them when a run ends.",
    "The cache of composites was in a folder. The shards have 4 tiles; those of 64 ask for as "
    "much.",
)


def counts(bucket: str, ground: Ground, outputs: str) -> list[Counter[str]]:
    """Return what runs of `SHARDS` shards ask for, and then the same command once more, each."""
    pooled, grid = OUTPUTS[outputs]
    taken: list[Counter[str]] = []
    with s3_server() as server, faulty_store(server) as door:
        made = new_bucket(server, bucket)
        with patch.dict(os.environ, {**made.environment, "AWS_ENDPOINT_URL": door.url}):
            us = Side(ENVIRONMENT)
            try:
                us(ours.start)
                for shards in SHARDS:
                    settings = ours.Settings(
                        ground=ground.part(shards, 1),
                        model_key=None,
                        pooled=pooled,
                        grid=grid,
                        batch=4,
                        workers=0,
                    )
                    for _ in range(2):
                        door.asked.clear()
                        us(ours.predict, settings, made.url(f"run-{shards}"), keep=True)
                        taken.append(_named(door.asked))
            finally:
                us.close()
    return taken


def _named(asked: Counter[str]) -> Counter[str]:
    named = Counter({kind: asked[kind] for kind in KINDS})
    named["removals"] = asked["POST"] + asked["DELETE"]
    assert sum(named.values()) == sum(asked.values()), f"other kinds of requests: {asked}"
    return named


def measured(outputs: str, ground: Ground) -> tuple[list[Row], list[str]]:
    """Return rows for a launch, a shard and a second launch, and what is not linear."""
    taken = counts(outputs.replace(" ", "-"), ground, outputs)
    first, again = taken[::2], taken[1::2]
    rows, faults = [], []
    for what, runs in (("first", first), ("again", again)):
        few, some, many = runs
        step = {kind: (many[kind] - few[kind]) / (SHARDS[2] - SHARDS[0]) for kind in KINDS}
        begin = {kind: few[kind] - SHARDS[0] * step[kind] for kind in KINDS}
        faults += [
            f"{outputs}, {what}: {kind} requests do not grow with the shards."
            for kind in KINDS
            if some[kind] != begin[kind] + SHARDS[1] * step[kind]
        ]
        for when, number in (("launch", begin), ("shard", step)):
            rows.append({"outputs": outputs, "launch": what, "of": when, **number})
    return rows, faults


def usd(row: Row) -> float:
    """Return the price of the requests of a row."""
    return float(
        (row["PUT"] + row["LIST"]) * PUT_USD / 1000 + (row["GET"] + row["HEAD"]) * GET_USD / 1000
    )


def tables(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the tables of docs/scale.md.

    Args:
        rows: The rows of results/store_requests.json.
    """
    named = {
        ("first", "launch"): "a launch",
        ("first", "shard"): "a shard that is written",
        ("again", "shard"): "a shard that was there",
    }
    asked, priced = [], []
    for row in rows:
        name = named.get((row["launch"], row["of"]))
        if name is None:
            continue
        cells = {kind: f"{row[kind]:g}" for kind in KINDS}
        asked.append({"outputs": row["outputs"], "": name, **cells})
        if (row["launch"], row["of"]) == ("first", "shard"):
            million = 1e6 / SHARD_TILES
            put, get = row["PUT"] + row["LIST"], row["GET"] + row["HEAD"]
            priced.append(
                {
                    "outputs": row["outputs"],
                    "PUT, LIST a tile": f"{put:g} / {SHARD_TILES} = {put / SHARD_TILES:.3f}",
                    "GET, HEAD a tile": f"{get:g} / {SHARD_TILES} = {get / SHARD_TILES:.3f}",
                    "PUT, LIST a million tiles": f"{put * million:,.0f}",
                    "GET, HEAD a million tiles": f"{get * million:,.0f}",
                    "USD a million tiles": f"{put * million / 1000:g} x {PUT_USD} + "
                    f"{get * million / 1000:g} x {GET_USD} = {usd(row) * million:.2f}",
                }
            )
    return {"store requests": asked, "store prices": priced}


def renew(rows: list[Row]) -> str:
    """Return docs/scale.md with the tables of these rows."""
    made = {name: table(content) for name, content in tables(rows).items()}
    return renewed(DOCS.read_text(encoding="utf-8"), made)


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--docs", action="store_true", help="renew the tables of docs/scale.md")
    options = arguments.parse_args()
    report = Report(
        name="store_requests",
        claim="The requests of a run in an object store grow with the number of its shards.",
        notes=list(NOTES),
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-store-requests-") as name:
        ground = Ground(folder=Path(name), across=SHARDS[-1], down=1, shard_tiles=2)
        ground.fill()
        for outputs in OUTPUTS:
            rows, faults = measured(outputs, ground)
            for row in rows:
                report.add(row)
            report.faults += faults
    code = report.finish()
    if options.docs:
        content: dict[str, Any] = json.loads((RESULTS / "store_requests.json").read_text())
        DOCS.write_text(renew(content["rows"]), encoding="utf-8")
        print(f"written: {DOCS}")
    return code


if __name__ == "__main__":
    sys.exit(main())
