"""Commands in processes that need not import anything: forks of one that has imported it all.

Most of a short command's time is Python importing PyTorch, Lightning and TorchGeo. A `WarmServer`
does so once and forks a process for every command. What a command does to its environment,
warnings, log handlers, signal handlers, PyTorch's global settings, Earth Engine's client or
`sys.argv` ends with it, as in any process. It leads a process group, and its `__main__` is
`thor_geo.__main__`, from which Lightning starts further ranks (those are cold).

One difference remains: what libraries read from the environment when they are imported (numbers of
threads, places of caches below HOME) is that of the server. Tests of such things start a process.

The server never starts a thread, so it may fork. It listens on a Unix socket, where each connection
is a command: in come the standard streams and the request, out go the process id and the exit code.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

from thor_geo.cli.main import ENVIRONMENT

#: What commands import, at once or when they come to it.
MODULES = (
    *(f"thor_geo.cli.{name}" for name in ("predict", "fetch", "stats", "status", "validate")),
    *(f"thor_geo.cli.{name}" for name in ("merge", "view", "export", "similar", "change", "probe")),
    "thor_geo.composites.prefetch_process",
    "thor_geo.pictures.quicklook",
    "thor_geo.sources.earthengine.client",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "xarray",
    "zarr",
)

#: How long a command may take, seconds.
TIMEOUT_S = 300.0

_NUMBER = struct.Struct("<q")


class WarmProcess:
    """A running command: the part of `subprocess.Popen` that is needed here."""

    def __init__(self, connection: socket.socket, args: list[str]) -> None:
        self.args = args
        self.returncode: int | None = None
        self._connection = connection
        self.pid = self._receive(TIMEOUT_S)

    def _receive(self, timeout: float | None) -> int:
        self._connection.settimeout(timeout)
        try:
            answer = self._connection.recv(_NUMBER.size, socket.MSG_WAITALL)
        except (TimeoutError, BlockingIOError) as error:
            raise subprocess.TimeoutExpired(self.args, timeout or 0) from error
        number: int = _NUMBER.unpack(answer)[0]
        return number

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: If it still runs after *timeout* seconds.
        """
        if self.returncode is None:
            self.returncode = self._receive(timeout)
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the command and what it has started, if it still runs."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)


class WarmServer:
    """Forks commands; the server itself starts with the first of them.

    Args:
        cwd: Working folder of the commands.
    """

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._process: subprocess.Popen[str] | None = None

    def start(
        self,
        *args: object,
        stdout: IO[Any],
        stderr: IO[Any],
        env: Mapping[str, str] | None = None,
    ) -> WarmProcess:
        """Start a command.

        Args:
            *args: What follows ``thor-geo``.
            stdout: Open file to write to.
            stderr: Same.
            env: Variables on top of the environment of this process.
        """
        address = f"{self._folder.name}/socket"
        if self._process is None:
            self._process = _started(address, self.cwd)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        request = {
            "args": [str(arg) for arg in args],
            "env": {**os.environ, **(env or {})},
            "cwd": str(self.cwd),
        }
        text = json.dumps(request).encode()
        files = [stdout.fileno(), stderr.fileno()]
        socket.send_fds(connection, [_NUMBER.pack(len(text))], files)
        connection.sendall(text)
        return WarmProcess(connection, request["args"])

    def run(
        self, *args: object, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; return its exit code and what it has written."""
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            process = self.start(*args, stdout=stdout, stderr=stderr, env=env)
            try:
                code = process.wait(TIMEOUT_S)
            finally:
                process.kill()
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(process.args, code, stdout.read(), stderr.read())

    def close(self) -> None:
        """End the server; commands that still run go on."""
        if self._process is not None:
            self._process.communicate()
        self._folder.cleanup()


def _started(address: str, cwd: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.support.warm", address],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"The server of warm processes ended with {process.wait()}.")
    return process


def serve(address: str) -> None:
    """Import what commands need, then fork for each connection until standard input ends."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for module in MODULES:
        import_module(module)
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()  # what is looked at later is copied
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    attendants: set[int] = set()
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        # What was waited for is in the times that `time make test` shows.
        attendants -= {pid for pid in attendants if os.waitpid(pid, os.WNOHANG)[0]}
        if sys.stdin in readable:
            return
        connection, _ = listener.accept()
        attendant = os.fork()
        if attendant == 0:
            listener.close()
            _attend(connection)
        attendants.add(attendant)
        connection.close()


def _attend(connection: socket.socket) -> NoReturn:
    """Start one command and wait for it."""
    head, files, _, _ = socket.recv_fds(connection, _NUMBER.size, 2)
    request = json.loads(connection.recv(_NUMBER.unpack(head)[0], socket.MSG_WAITALL))
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.setsid()
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        for number, file in enumerate(files, start=1):
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        _command(request["args"])
    connection.sendall(_NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _command(args: list[str]) -> NoReturn:
    """Do what ``python -m thor_geo`` does, to the end of the process."""
    sys.argv = ["thor-geo", *args]
    code: object = 0
    try:
        runpy.run_module("thor_geo.__main__", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    serve(sys.argv[1])
    os._exit(0)  # nothing to clean up, and nanobind would complain of what is left
