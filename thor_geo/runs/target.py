"""Files made from a run: what they must not replace, and how an earlier one is kept until then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.runs.rundir import RunDirectory
from thor_geo.support.files import sync, temporary_path


def check_target(
    run: RunDirectory, target: Path, *, folder: bool, overwrite: bool, argument: str = "--to"
) -> None:
    """Refuse a target that exists, that is more than an earlier merge, or that is part of a run.

    Args:
        run: The run directory.
        target: The file or folder to make.
        folder: Whether it is to be a folder.
        overwrite: Whether an existing one may be replaced.
        argument: Name of the option that gave it.

    Raises:
        ConfigError: If it is one of a run's own files or lies in one of its folders, or if it
            exists, and must not or cannot be replaced.
        RunDirectoryError: If it cannot be inspected.
    """
    with _explained(target):
        needed = _run_file(run, target)
        if needed is not None:
            raise ConfigError(
                argument,
                str(target),
                f"would replace a file that a run needs ({needed})",
                "Give another path.",
            )
        if not os.path.lexists(target):
            return
        if not overwrite:
            raise ConfigError(argument, str(target), "exists", "Give another path, or --overwrite.")
        if not (target.is_dir() if folder else target.is_file()):
            expected = "folder" if folder else "file"
            problem = "is a folder" if target.is_dir() else f"is not a {expected}"
            raise ConfigError(argument, str(target), problem, "Remove it, or give another path.")
        if folder and any(not path.match("part-*.parquet") for path in target.iterdir()):
            raise ConfigError(
                argument,
                str(target),
                "holds more than an earlier merge's parts",
                "Give another path.",
            )


@contextmanager
def atomic_target(
    run: RunDirectory, target: Path, *, folder: bool, overwrite: bool
) -> Iterator[Path]:
    """Yield a temporary path that becomes the target when the block succeeds.

    Whatever happens, an earlier merge stays until the new one is complete. If the target is a link,
    the file it points to is replaced.

    Args:
        run: The run directory.
        target: The file or folder to make.
        folder: Whether it is a folder; it is made, empty.
        overwrite: Whether an existing one may be replaced.

    Yields:
        A path in the same folder.

    Raises:
        ConfigError: As `check_target` does, before the first write and before the last.
        RunDirectoryError: If it cannot be written.
    """
    check_target(run, target, folder=folder, overwrite=overwrite)
    real = Path(os.path.realpath(target))
    temporary = temporary_path(real)
    # Its name must not be that of a temporary file: those may be deleted.
    old = temporary.with_suffix(".old")
    with _explained(target):
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
            if folder:
                temporary.mkdir()
            yield temporary
            for path in [*sorted(temporary.iterdir()), temporary] if folder else [temporary]:
                sync(path)
            check_target(run, target, folder=folder, overwrite=overwrite)
            if folder and real.exists():
                real.rename(old)  # a folder that is not empty cannot be replaced at once
            temporary.replace(real)
            sync(real.parent)
        finally:
            _remove(temporary)
            # Decided by what exists: an interrupt may come between any two lines above.
            if old.exists() and not real.exists():
                _put_back(old, real)
            _remove(old)


def _put_back(old: Path, real: Path) -> None:
    try:
        old.rename(real)
    except OSError as error:
        raise RunDirectoryError(
            f"`{real}` could not be replaced, nor put back ({error.strerror or error}). The "
            f"earlier merge is whole, and is now `{old}`: rename it."
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def made_from(run: RunDirectory, name: str) -> Path:
    """Return where a file that is made from a run goes, if the user does not say.

    It lies beside the run's own files; of a run in a store it is ``<name of the run>-<name>`` in
    the current folder.

    Args:
        run: The run directory.
        name: Name of the file or folder.
    """
    if isinstance(run.path, Path):
        return run.path / name
    return Path(f"{run.path.name}-{name}")


def _is_run(folder: Path) -> bool:
    return RunDirectory(folder).run_json.exists()


def _run_file(run: RunDirectory, target: Path) -> str | None:
    """Return the name of the run's file or folder that a path is or lies in, None without one."""
    real = Path(os.path.realpath(target))
    # Other runs' files are just as precious.
    runs = {path: RunDirectory(path) for path in real.parents if _is_run(path)}
    if isinstance(run.path, Path):
        runs[run.path] = run
    needed: list[Path] = []
    for folder, each in runs.items():
        files = (each.run_json, each.plan_parquet, each.quicklook, each.colours, each.overview)
        folders = (each.markers, each.failures, each.pooled, each.grid, each.place_store)
        needed += [folder / part.name for part in (*files, *folders, each.index)]
        needed += folder.glob(".*.lock")
    for path in (real, *real.parents):
        for file in needed:
            # The same file by another name, on file systems that ignore upper and lower case.
            same = path.exists() and file.exists() and path.samefile(file)
            if same or path == Path(os.path.realpath(file)):
                return file.name
    return None


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turn errors of the file system into one that names the remedy.

    Raises:
        RunDirectoryError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"`{target}` cannot be written ({error.strerror or error}). Free some space there, or "
            "give a path where you may write, and run the command again: an earlier file is kept."
        ) from error
