"""Embeddings of a run as arrays: vectors of tiles, cells of maps, and their similarity."""

from thor_geo.results.cells import ZoneCells, zone_cells
from thor_geo.results.cosine import Cosine
from thor_geo.results.tiles import Tiles, read_tiles

__all__ = ["Cosine", "Tiles", "ZoneCells", "read_tiles", "zone_cells"]
