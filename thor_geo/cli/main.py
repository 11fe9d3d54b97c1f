"""The ``thor-geo`` command: dispatches before anything heavy is imported."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from thor_geo.cli.help import page, wants_help
from thor_geo.errors import ConfigError, own_error
from thor_geo.support.progress import is_first_process
from thor_geo.support.redact import redact, redact_output

HELP = """\
usage: thor-geo [-h] [--version] <command> ...

Turn an area of the Earth into THOR embeddings, and use them.

make a run:
  predict     embed an area
  fetch       only fetch the composites, for example on a machine without a GPU
  stats       measure an area's own statistics, to normalise with them

check a run:
  status      show how far it is
  validate    check every file
  merge       put all vectors into one sorted GeoParquet

use a run:
  view        see it in the browser, or draw it
  export      write the embeddings as GeoTIFFs, for QGIS
  similar     find the places most like a given one
  index       let similar answer at once, among millions
  change      compare two runs
  probe       measure what the embeddings know about your labels, and map it
  publish     describe it for catalogues and people, and check its address

without an account:
  emulator    serve a folder of scenes to the Earth Engine client

examples:
  thor-geo predict -c configs/quickstart.yaml      # a generated area; needs no account
  thor-geo predict -c configs/gee.yaml             # your area; edit the config first
  thor-geo view out/quickstart
  thor-geo similar out/quickstart --at 12.03,60.005
  thor-geo probe out/oslo --labels landcover.gpkg --target class

`thor-geo <command> --help` explains a command.
"""

#: Module and function of every command; a module is imported when its command runs. A function of
#: the command's own name expects that name before the arguments.
COMMANDS = {
    "predict": ("thor_geo.cli.predict", "predict"),
    "fetch": ("thor_geo.cli.fetch", "fetch"),
    "stats": ("thor_geo.cli.stats", "stats"),
    "status": ("thor_geo.cli.status", "run_status"),
    "validate": ("thor_geo.cli.validate", "run_validate"),
    "merge": ("thor_geo.cli.merge", "run_merge"),
    "view": ("thor_geo.cli.view", "run_view"),
    "export": ("thor_geo.cli.export", "run_export"),
    "similar": ("thor_geo.cli.similar", "run_similar"),
    "index": ("thor_geo.cli.index", "run_index"),
    "change": ("thor_geo.cli.change", "run_change"),
    "probe": ("thor_geo.cli.probe", "run_probe"),
    "publish": ("thor_geo.cli.publish", "run_publish"),
    "emulator": ("thor_geo.emulator", "main"),
}

#: Variables that libraries read when they are loaded; those that the user has set are kept.
ENVIRONMENT = {
    # OpenMP: waiting threads sleep. By default they spin, and so keep the processes that read
    # composites, for which they wait, off the cores.
    "OMP_WAIT_POLICY": "PASSIVE",
    # PyTorch: large tensors in huge pages, which the system clears much faster (Linux).
    "THP_MEM_ALLOC_ENABLE": "1",
}

#: Exit codes: an error that the message explains; one after which the same command may succeed
#: (EX_TEMPFAIL of sysexits.h); Ctrl-C (128 + SIGINT); a closed output (128 + SIGPIPE).
EXIT_ERROR, EXIT_RETRY, EXIT_INTERRUPTED, EXIT_PIPE = 2, 75, 130, 141

# Ranks but the first wait this long, seconds, before they speak of what is wrong with the command.
# Importing may take the first so long on a slow file system.
_BEHIND_FIRST_S = 15.0


def let_first_rank_speak() -> None:
    """Wait, on every rank but the first, before an error that all of them have is printed.

    Launchers end the others when the first has said it and ended.
    """
    if not is_first_process():
        time.sleep(_BEHIND_FIRST_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; None for the process's own.

    Returns:
        The exit code: 0; 2 for an error that the message explains, 75 if the same command may
        succeed without a change; 3 if tiles failed.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if args[0] == "--version":
        print(f"thor-geo {version('thor-geo')}")
        return 0
    if wants_help(args):
        print(page(args[0]), end="")
        return 0
    redact_output()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        if args[0] in COMMANDS:
            module, function = COMMANDS[args[0]]
            run: Callable[[list[str]], int] = getattr(_imported(module), function)
            code = run(args if function == args[0] else args[1:])
            sys.stdout.flush()  # notices a closed output here, not when Python ends
            return code
    except BrokenPipeError:
        # The reader has closed the output, as `head` does. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except KeyboardInterrupt:
        print("thor-geo: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        explained = own_error(error, contexts=False)
        if explained is None:
            raise
        if isinstance(explained, ConfigError):
            let_first_rank_speak()
        if args[0] in ("predict", "fetch", "stats"):
            explained = import_module("thor_geo.cli.parser").with_key(explained, args[1:])
        lines = [f"thor-geo: {type(explained).__name__}: {redact(explained)}"]
        # What a caller added, such as a way to go on without what failed.
        lines += [redact(note) for note in getattr(explained, "__notes__", ())]
        print("\n".join(lines), file=sys.stderr)
        return EXIT_RETRY if explained.retryable else EXIT_ERROR
    known = ", ".join(COMMANDS)
    print(f"thor-geo: unknown command {args[0]!r}. Choose one of {known}.", file=sys.stderr)
    return EXIT_ERROR


def _imported(name: str) -> ModuleType:
    """Import a command's module.

    The garbage collector rests meanwhile: modules stay, and looking through them again and again as
    they grow would take a quarter of the time.
    """
    gc.disable()
    try:
        return import_module(name)
    finally:
        # Moves the modules to the oldest generation, which is rarely looked through.
        gc.freeze()
        gc.unfreeze()
        gc.enable()
