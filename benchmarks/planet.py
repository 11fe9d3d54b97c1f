"""From a village to the planet: what a run costs, and which shard size survives pre-emption.

    python -m benchmarks.planet                     # prints the tables, writes results/planet.json
    python -m benchmarks.planet --docs              # and renews them in docs/scale.md
    python -m benchmarks.planet --replay OUT        # shard times of a run that took place
    python -m benchmarks.planet --uptimes FILE      # seconds until interruption, one a line

What is assumed (see `_planet_tables.Assumed`) can be set: --latency-s, --eecu-s, --tier and so on.
A minute on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks._planet_tables import TABLES, Assumed, Inputs
from benchmarks.preemption import replayed
from benchmarks.report import RESULTS, ROOT, renewed, table

DOCS = ROOT / "docs" / "scale.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", action="store_true", help="renew the tables of docs/scale.md")
    parser.add_argument("--replay", type=Path, help="a run directory to take shard times from")
    parser.add_argument("--uptimes", type=Path, help="file of seconds until interruption")
    for one in fields(Assumed):
        flag = f"--{one.name.replace('_', '-')}"
        kind: type[Any] = int if one.name == "gpus" else float
        parser.add_argument(flag, type=kind, default=one.default, help="default %(default)s")
    args = parser.parse_args()
    assumed = Assumed(**{one.name: getattr(args, one.name) for one in fields(Assumed)})
    given = Inputs.read(
        assumed=assumed,
        replay=None if args.replay is None else replayed(args.replay),
        uptimes=() if args.uptimes is None else tuple(map(float, args.uptimes.read_text().split())),
    )
    rows = {name: make(given) for name, make in TABLES.items()}
    for name, content in rows.items():
        print(f"\n{name}: {TABLES[name].__doc__}\n\n{table(content)}")
    if args.replay or args.uptimes or assumed != Assumed():
        print("\nNot written: these are not the page's assumptions.")
        return
    result = {"machine": given.costs["machine"], "assumed": asdict(assumed), "tables": rows}
    (RESULTS / "planet.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.docs:
        text = DOCS.read_text(encoding="utf-8")
        tables = {name: table(content) for name, content in rows.items()}
        DOCS.write_text(renewed(text, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
