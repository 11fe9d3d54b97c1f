"""The processes of a run, read from /proc: their roles, and how much memory they take.

A run is started with a mark in its environment, which all its processes inherit, so that they are
found even after their parents have died.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.processes import status as status_of

#: Environment variable of the mark.
MARK = "THOR_GEO_CAMPAIGN"

#: Roles of processes, by a part of their command lines.
_MODULES = {
    "prefetch": "thor_geo.composites.prefetch_process",
    "emulator": "thor_geo.emulator",
    "helper": "multiprocessing.resource_tracker",
    "launcher": "torch.distributed.run",
}


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process.

    Attributes:
        pid: Its id.
        parent: Its parent's.
        role: ``main`` (each rank is one), ``prefetch``, ``worker``, ``emulator``, ``helper``,
            ``launcher``, or ``fork`` for one that has not become anything yet.
        peak_kb: Largest resident set so far, kB (VmHWM).
        private_kb: Resident pages that it shares with no file and no shared memory, kB (RssAnon).
    """

    pid: int
    parent: int
    role: str
    peak_kb: int
    private_kb: int


def find(mark: str) -> list[Process]:
    """Return the living processes of the run with a mark, without zombies."""
    wanted = f"{MARK}={mark}".encode()
    # Parent, command line with environment, and status of each.
    processes: dict[int, tuple[int, bytes, dict[str, str]]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            if wanted not in environment.split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes() + b"\0\0" + environment
            status = status_of(folder.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is not ours
        if status["State"][0] != "Z" and "VmHWM" in status:
            processes[int(folder.name)] = (int(status["PPid"]), command, status)
    return [
        Process(
            pid=pid,
            parent=parent,
            role=_role(
                command, processes[parent][1] if parent in processes else b"", status["Name"]
            ),
            peak_kb=int(status["VmHWM"].split()[0]),
            private_kb=int(status["RssAnon"].split()[0]),
        )
        for pid, (parent, command, status) in sorted(processes.items())
    ]


def _role(command: bytes, parents: bytes, name: str) -> str:
    # Forks keep command line and environment of their parent, but PyTorch renames its workers.
    if name == "pt_data_worker":
        return "worker"
    arguments = command.split(b"\0\0")[0].split(b"\0")
    for role, module in _MODULES.items():
        if any(module.encode() in argument for argument in arguments):
            return role
    # A rank that Lightning started has its parent's command line, but another environment.
    return "fork" if command == parents else "main"
