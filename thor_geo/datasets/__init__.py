"""TorchGeo datasets over composites."""

from thor_geo.datasets.colour import true_colour
from thor_geo.datasets.composite import CompositeDataset
from thor_geo.datasets.folder import FolderDataset
from thor_geo.datasets.picture import composite_picture
from thor_geo.datasets.planned import PlanDataset, collate

__all__ = [
    "CompositeDataset",
    "FolderDataset",
    "PlanDataset",
    "collate",
    "composite_picture",
    "true_colour",
]
