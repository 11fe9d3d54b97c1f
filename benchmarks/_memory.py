"""What Linux says of a process in /proc: its resident memory above all."""

from __future__ import annotations

from pathlib import Path


def status(pid: int | str = "self") -> dict[str, str]:
    """Return the fields of a process's /proc/PID/status.

    Args:
        pid: Its id, or ``self``.

    Raises:
        FileNotFoundError: If there is no such process, or no /proc: this needs Linux.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = (line.split(":", 1) for line in lines)
    return {name: value.strip() for name, value in fields}


def resident_mb(field: str = "VmHWM") -> float:
    """Return resident memory of this process, MB (10^6 bytes).

    Args:
        field: ``VmHWM``, the most so far, or ``VmRSS``, now. Linux counts both in units of
            1,024 bytes.
    """
    return int(status()[field].split()[0]) * 1024 / 1e6
