"""The emulator as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._faults import FaultPlan
from thor_geo.support.processes import child_environment

#: Where an archive of Sentinel-2 keeps one of Sentinel-1.
SENTINEL1_FOLDER = "S1_GRD"
SENTINEL1_COLLECTION = "COPERNICUS/S1_GRD"

#: How long a child may take to open its archive and answer, seconds.
START_TIMEOUT_S = 60.0


class EmulatorProcess:
    """Runs the emulator in one child process, which ends with its parent.

    The child is a fresh interpreter, not a fork, so the parent may have threads and devices.

    Args:
        archive: Folder of the archive; or a mapping of collection ids to folders.
        port: TCP port; 0 takes a free one.
        faults: What to get wrong.
        collection: Collection id to serve a single archive as; by default Sentinel-2's.
        max_concurrent: Requests in flight above which HTTP 429 is answered; by default 40.

    Example:
        >>> with EmulatorProcess("scenes") as emulator:  # doctest: +SKIP
        ...     ee.Initialize(AnonymousCredentials(), project="emulator", url=emulator.url)
    """

    def __init__(
        self,
        archive: str | Path | Mapping[str, Path],
        port: int = 0,
        faults: FaultPlan | None = None,
        *,
        collection: str | None = None,
        max_concurrent: int | None = None,
    ) -> None:
        self.archives: tuple[tuple[str | None, Path], ...] = (
            tuple(archive.items())
            if isinstance(archive, Mapping)
            else ((collection, Path(archive)),)
        )
        self.port = port
        self.faults = faults
        self.max_concurrent = max_concurrent
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The address to give to ``ee.Initialize(url=...)``.

        Raises:
            RuntimeError: If the process has not been started.
        """
        if self._url is None:
            raise RuntimeError("The emulator is not running: call start() first.")
        return self._url

    @property
    def pid(self) -> int | None:
        """Process id of the child, None if it is not running."""
        return None if self._process is None else self._process.pid

    def start(self) -> Self:
        """Start the child and wait until it answers.

        Raises:
            ArchiveError: If it ends or stays silent, with what it wrote to its standard error.
        """
        if self._process is not None:
            return self
        with tempfile.TemporaryDirectory(prefix="thor-geo-emulator-") as folder:
            announce, errors = Path(folder) / "url", Path(folder) / "stderr"
            arguments = self._arguments(Path(folder), announce)
            with errors.open("wb") as stderr:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "thor_geo.emulator", *arguments],
                    env=child_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    # Ctrl-C is for the parent, which still needs answers while it ends.
                    start_new_session=True,
                )
            try:
                self._url = self._wait(announce, errors)
            except BaseException:
                self.stop()
                raise
        return self

    def _arguments(self, folder: Path, announce: Path) -> Sequence[str]:
        arguments = ["--port", str(self.port)]
        for name, scenes in self.archives:
            arguments += ["--scenes", str(scenes)]
            arguments += [] if name is None else ["--collection", name]
        arguments += ["--parent-pid", str(os.getpid()), "--announce", str(announce)]
        if self.max_concurrent is not None:
            arguments += ["--max-concurrent", str(self.max_concurrent)]
        if self.faults is not None:
            plan = folder / "faults.json"
            plan.write_text(self.faults.to_json(), encoding="utf-8")
            arguments += ["--faults", str(plan)]
        return arguments

    def _wait(self, announce: Path, errors: Path) -> str:
        """Wait for the child to announce its address, which it does once it listens."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if announce.is_file():
                return announce.read_text(encoding="utf-8")
            if self._process.poll() is not None:
                output = errors.read_text(encoding="utf-8", errors="replace").strip()
                raise ArchiveError(f"The emulator ended with {self._process.returncode}: {output}")
            time.sleep(0.02)
        raise ArchiveError(f"The emulator did not answer within {START_TIMEOUT_S:g} s.")

    def stop(self) -> None:
        """Stop the child; nothing happens if there is none."""
        process, self._process, self._url = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        """Start the child."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop the child, whatever happened; exceptions pass."""
        self.stop()
