"""Words for scenes that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from thor_geo.errors import BlockError, SceneError
from thor_geo.ground.lattice import Block
from thor_geo.support.words import counted


def none_usable(block: Block, faults: Iterable[SceneError]) -> str:
    """Return a message for a block none of whose scenes can be used."""
    listed = list(faults)
    others = f" and {counted(len(listed) - 1, 'other')}" if listed[1:] else ""
    return (
        f"Block {block.id}: none of the scenes that pass the filters can be used: "
        f"{listed[0].scene}{others}. {listed[0]}"
    )


def check_there(path: Path, scene: str, band: str) -> None:
    """Refuse a file on this machine that is not there or may not be read.

    Raises:
        SceneError: If it is not there.
        BlockError: If it cannot be opened for another reason.
    """
    try:
        with path.open("rb"):
            pass
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise unreadable_file(scene, band, f"{path.name} is not there") from error
    except OSError as error:
        raise BlockError(
            f"{path}, the file of item {scene!r} for {band}, cannot be opened "
            f"({error.strerror}). Give yourself permission to read it, and run again."
        ) from error


def unreadable_file(scene: str, band: str, reason: str) -> SceneError:
    """Return the error of a scene with a file that cannot be read."""
    return SceneError(
        scene,
        f"has a file for {band} that cannot be read: {reason}",
        "If it is gone for good, the catalogue should no longer list it; `data.stac.exclude` "
        "leaves the item out.",
    )
