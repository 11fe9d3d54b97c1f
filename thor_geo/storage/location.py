"""Where a run, a cache or a file lies: a path of this machine's, or one in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from thor_geo.storage.address import StoreAddress, StoreOptions, is_address
from thor_geo.storage.clients import check_installed
from thor_geo.storage.store_path import StorePath

#: What is common to both, and means the same: ``/``, name, stem, suffix, parent, with_suffix,
#: with_name, relative_to, exists, read_bytes, unlink. The rest is in `thor_geo.storage.files`.
Location: TypeAlias = Path | StorePath


def located(
    path: str | Path | StorePath,
    options: StoreOptions | None = None,
    *,
    argument: str = "output.dir",
) -> Location:
    """Return the location that a user has written.

    Args:
        path: A path, in which ``~`` is resolved, or the address of a store.
        options: How the store is reached.
        argument: The setting that holds it, for messages.

    Raises:
        ConfigError: If it begins as an address does, and is none of a bucket.
        DependencyError: If it is an address, and obstore is not installed.
    """
    if isinstance(path, StorePath):
        return path
    if is_address(path):
        address = StoreAddress.parse(str(path), options, argument=argument)
        check_installed(address)
        return StorePath(address)
    return Path(path).expanduser()
