"""Where runs and composites lie: a folder, or an object store (S3, Google Cloud, Azure, HTTPS).

`files` is the one interface to both: read, size, put whole, put if absent, remove, list. Folders
are `pathlib.Path`; what lies in a store is a `StorePath`, which is written and read the same way.
"""

from thor_geo.storage.address import StoreAddress, StoreOptions, is_address
from thor_geo.storage.location import Location, located
from thor_geo.storage.store_path import StorePath

__all__ = ["Location", "StoreAddress", "StoreOptions", "StorePath", "is_address", "located"]
