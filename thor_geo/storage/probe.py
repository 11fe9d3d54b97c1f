"""Whether a store can hold a run: asked before any work starts."""

from __future__ import annotations

from contextlib import suppress

from thor_geo.errors import ConfigError, StoreError
from thor_geo.storage.store_path import StorePath
from thor_geo.support.files import temporary_name


def check_store(root: StorePath, *, argument: str = "output.dir") -> None:
    """Do to an object all that a run does: put it twice, read, look for one not there, remove.

    Args:
        root: Where the run is to lie.
        argument: The setting that holds it, for messages.

    Raises:
        ConfigError: If it is an address that can only be read.
        StoreError: If one of these is refused, or the store lets a second writer replace what the
            first has put, so that two could bind it to different runs.
    """
    if root.address.read_only:
        raise ConfigError(
            argument,
            str(root),
            "a web server can only be read",
            "Write to s3://, gs:// or az://, or to a folder.",
        )
    probe = root / temporary_name("probe")
    # The first request is one whose answer says what is wrong: to a HEAD, stores send no text.
    probe.put_if_absent(b"first")
    try:
        if probe.put_if_absent(b"second"):
            raise StoreError(
                f"`{argument}={str(root)!r}`: the store takes a conditional put (If-None-Match) "
                "for an object that exists, so that two writers would replace each other's "
                "files. Use one that has conditional puts, as S3, Google Cloud and Azure have, "
                "or write to a folder and copy it."
            )
        (root / temporary_name("absent")).exists()
    except BaseException:
        with suppress(StoreError):  # what was wrong first is what counts
            probe.unlink()
        raise
    probe.unlink()
