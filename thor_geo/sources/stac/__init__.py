"""STAC: composites from a STAC API or a static STAC catalogue, without an Earth Engine account.

The only room that imports `pystac` and `pystac_client`, and it does so when a catalogue is asked:
importing this package costs nothing, and works without the optional packages.
"""

from __future__ import annotations

from thor_geo.sources.stac.spec import CatalogueSpec

__all__ = ["CatalogueSpec"]
