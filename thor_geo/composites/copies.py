"""The folder on this machine into which a cache in an object store is copied while a run lasts."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from thor_geo.composites._folder import STATE_PREFIX
from thor_geo.errors import CacheError
from thor_geo.storage import StorePath

#: The folder of the process that launched this one, which all of them on a machine share.
FOLDER = "THOR_GEO_CACHE_COPIES"


@dataclass(frozen=True, kw_only=True)
class Copies:
    """A folder of copies; it is removed by the process that made it.

    Folders of killed runs are found by their names, see `_folder.remove_dead_states`.

    Attributes:
        folder: The folder.
        inherited: What the environment named before; None if nothing.
        maker: Process that made it, and removes it at its end at the latest; None if it was joined.
    """

    folder: Path
    inherited: str | None
    maker: int | None

    @classmethod
    def open(cls) -> Self:
        """Join the folder of the process that launched this one, or make one.

        Raises:
            CacheError: If none can be made.
        """
        inherited = os.environ.get(FOLDER)
        own = f"{STATE_PREFIX}{os.getpid()}-"
        # A second one of the same process has its own, whichever is closed first.
        if inherited and Path(inherited).is_dir() and not Path(inherited).name.startswith(own):
            return cls(folder=Path(inherited), inherited=inherited, maker=None)
        try:
            folder = tempfile.mkdtemp(prefix=own)
        except OSError as error:
            raise CacheError(
                f"No folder for the composites that are copied from the object store can be made "
                f"({error.strerror or error}). Set the environment variable TMPDIR to a folder on "
                "a disk of this machine, with room for the composites of a run."
            ) from error
        os.environ[FOLDER] = folder
        made = cls(folder=Path(folder), inherited=inherited, maker=os.getpid())
        atexit.register(made.close)
        return made

    def of(self, shared: StorePath) -> Path:
        """Return the folder for one cache.

        Args:
            shared: Its root in the object store.
        """
        named = f"{shared.address.options.endpoint} {shared}"
        return self.folder / hashlib.sha256(named.encode()).hexdigest()[:16]

    def close(self) -> None:
        """Remove the folder if this process made it."""
        if self.maker != os.getpid():  # it was joined, or this is a fork of its maker
            return
        atexit.unregister(self.close)
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.environ.get(FOLDER) != str(self.folder):
            return
        if self.inherited is None:
            del os.environ[FOLDER]
        else:
            os.environ[FOLDER] = self.inherited
