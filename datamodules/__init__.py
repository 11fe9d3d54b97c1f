"""The package `thor_geo.datamodules` under the name that Lightning templates use.

Use it or the full name; the classes are the same. A project with a folder ``datamodules`` of its
own hides this one, never the other, which is why nothing in thor_geo imports this one.
"""

from thor_geo.datamodules import CompositeDataModule, FolderDataModule

__all__ = ["CompositeDataModule", "FolderDataModule"]
