"""The command line: ``thor-geo emulator`` and ``python -m thor_geo.emulator``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from thor_geo.emulator._faults import FaultPlan
from thor_geo.emulator._products import COLLECTIONS, Product
from thor_geo.emulator.catalogue import write_catalogue
from thor_geo.emulator.generate import ensure_archive
from thor_geo.emulator.generate_s1 import ensure_sentinel1_archive
from thor_geo.emulator.launch import SENTINEL1_COLLECTION, SENTINEL1_FOLDER
from thor_geo.emulator.server import DEFAULT_COLLECTION, MAX_CONCURRENT, EmulatorServer
from thor_geo.errors import DependencyError
from thor_geo.support.redact import redact, redact_output

_EXAMPLE = """\
example:
  thor-geo emulator --generate out/scenes            # a made-up landscape, 205 MB
  thor-geo emulator --scenes out/scenes              # serve it until Ctrl-C
  thor-geo emulator --scenes out/scenes --latency 0.5 --max-concurrent 4
  thor-geo emulator --stac out/scenes                # or list it as a STAC catalogue

A run over such a folder starts an emulator of its own:
  thor-geo predict -c configs/quickstart.yaml --data.emulator.archive=out/scenes

Exit codes: 0 stopped by Ctrl-C, or everything is written; 1 the message says why not; 2 an argument
is wrong.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thor-geo emulator",
        description="Serve a folder of scenes to the unmodified Earth Engine client, on this "
        "machine only.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenes", type=Path, action="append", metavar="DIR",
        help="folder with index.json, scenes.json or chip.json, Sentinel-1 in its folder S1_GRD; "
        "may be given several times, with --collection for each",
    )  # fmt: skip
    parser.add_argument(
        "--collection", action="append", metavar="ID",
        help=f"collection id of the --scenes at the same place (default: {DEFAULT_COLLECTION})",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: 8765)")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="fault plan, a JSON file")
    parser.add_argument("--latency", type=float, metavar="S", help="wait before every answer")
    parser.add_argument(
        "--max-concurrent", type=int, default=MAX_CONCURRENT, metavar="N",
        help=f"requests in flight above which 429 is answered (default: {MAX_CONCURRENT})",
    )  # fmt: skip
    parser.add_argument("--generate", type=Path, metavar="DIR", help="write an archive and end")
    parser.add_argument("--seed", type=int, default=0, help="seed of --generate (default: 0)")
    parser.add_argument(
        "--product", choices=list(COLLECTIONS), default="sr",
        help="what --generate makes: Level-2A (sr), Level-1C (toa) or Cloud Score+ (default: sr)",
    )  # fmt: skip
    parser.add_argument(
        "--stac", type=Path, metavar="DIR",
        help="write a STAC catalogue of a folder of scenes into it, for data.stac, and end",
    )  # fmt: skip
    # Set by EmulatorProcess: whose end to follow, and where to write the address.
    parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--announce", type=Path, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until it is interrupted, or generate an archive.

    Args:
        argv: Arguments; by default the process's.

    Returns:
        Exit status: 0, or 1 after an error, which is printed to standard error.
    """
    redact_output()
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        if options.generate is not None:
            return _generate(options.generate, options.seed, options.product)
        if options.stac is not None:
            print(f"{write_catalogue(options.stac)}: set data.stac.url to it")
            return 0
        if not options.scenes:
            parser.error(
                "give --scenes DIR to serve, --generate DIR to write an archive, or --stac DIR to "
                "write a catalogue"
            )
        return _serve(options)
    except (DependencyError, OSError, ValueError) as error:  # ArchiveError is a ValueError
        print(f"thor-geo emulator: {redact(error)}", file=sys.stderr)
        return 1


def _generate(folder: Path, seed: int, product: Product) -> int:
    began = time.monotonic()
    ensure_archive(folder, seed=seed, product=product)
    if product == "sr":
        ensure_sentinel1_archive(folder / SENTINEL1_FOLDER, seed=seed)
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    print(f"{folder}: {size / 1e6:.0f} MB, {time.monotonic() - began:.1f} s")
    collection = "" if product == "sr" else f" --collection {COLLECTIONS[product]}"
    print(f"Serve it: thor-geo emulator --scenes {folder}{collection}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    names = options.collection or [DEFAULT_COLLECTION]
    if len(names) != len(options.scenes) or len(set(names)) != len(names):
        raise ValueError(
            f"--scenes was given {len(options.scenes)} times and --collection {len(names)} times: "
            "give each folder its own collection id, in the same order"
        )
    faults = FaultPlan.from_json(options.faults) if options.faults else FaultPlan()
    if options.latency is not None:
        faults = replace(faults, latency_s=options.latency)
    served = dict(zip(names, options.scenes, strict=True))
    if not options.collection and (radar := options.scenes[0] / SENTINEL1_FOLDER).is_dir():
        served[SENTINEL1_COLLECTION] = radar
    server = EmulatorServer(
        served,
        port=options.port,
        faults=faults,
        max_concurrent=options.max_concurrent,
    )
    # Children are ended with SIGTERM; both ways out are the same.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.parent_pid is not None:
        threading.Thread(target=_follow, args=(options.parent_pid,), daemon=True).start()
    for name, archive in server.archives.items():
        print(f"Serving {len(archive.scenes)} scenes of {archive.folder} as {name}. To connect:\n")
    print("    import ee")
    print("    from google.auth.credentials import AnonymousCredentials")
    print(f"    ee.Initialize(AnonymousCredentials(), project='emulator', url='{server.url}')\n")
    print(f"Statistics: {server.url}/_emulator/stats   Stop: Ctrl-C", flush=True)
    if options.announce is not None:
        part = options.announce.with_suffix(".part")
        part.write_text(server.url, encoding="utf-8")
        part.replace(options.announce)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        summary = server.statistics.summary()
        print(f"\nStopped after {summary['requests']} requests.", flush=True)
    finally:
        server.stop()
        signal.signal(signal.SIGTERM, before)
    return 0


def _follow(parent: int) -> None:
    """End this process when its parent has ended, however that came about."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
