"""A run in the browser: its map, the places most similar to one, and a probe of a few examples."""

from thor_geo.explorer.serve import serve

__all__ = ["serve"]
