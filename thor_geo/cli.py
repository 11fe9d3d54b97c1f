"""The ``thor-geo`` command: dispatches before anything heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from thor_geo.errors import ThorGeoError

HELP = """\
usage: thor-geo [-h] [--version] <command> ...

From an area of the Earth to THOR embeddings.

commands:
  predict     embed an area: thor-geo predict -c configs/quickstart.yaml
  emulator    serve a folder of scenes to the Earth Engine client:
              thor-geo emulator --scenes DIR

`thor-geo <command> --help` says more about each.
"""

#: Exit codes of an error that the message explains, and of Ctrl-C (128 + SIGINT).
EXIT_ERROR, EXIT_INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; None for the process's own.

    Returns:
        The exit code: 0, 2 for an error that the message explains, 3 if tiles failed.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if args[0] == "--version":
        print(f"thor-geo {version('thor-geo')}")
        return 0
    try:
        if args[0] == "predict":
            from thor_geo.predict import predict

            return predict(args)
        if args[0] == "emulator":
            from thor_geo.emulator import main as emulator

            return emulator(args[1:])
    except KeyboardInterrupt:
        print("thor-geo: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            raise
        print(f"thor-geo: {type(explained).__name__}: {explained}", file=sys.stderr)
        return EXIT_ERROR
    print(f"thor-geo: unknown command {args[0]!r}. Choose predict or emulator.", file=sys.stderr)
    return EXIT_ERROR


def _explained(error: BaseException | None) -> ThorGeoError | None:
    """Return this project's own error behind an error (the parser wraps those of constructors)."""
    while error is not None and not isinstance(error, ThorGeoError):
        error = error.__cause__
    return error
