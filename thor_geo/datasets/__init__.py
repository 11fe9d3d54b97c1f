"""TorchGeo datasets over composites and over a user's GeoTIFFs."""

from thor_geo.datasets.colour import true_colour
from thor_geo.datasets.composite import CompositeDataset
from thor_geo.datasets.folder import FolderDataset
from thor_geo.datasets.picture import composite_picture
from thor_geo.datasets.places import PlaceDataset
from thor_geo.datasets.planned import PlanDataset, collate
from thor_geo.datasets.stacked import SensorStack
from thor_geo.datasets.windowed import WindowDataset

__all__ = [
    "CompositeDataset",
    "FolderDataset",
    "PlaceDataset",
    "PlanDataset",
    "SensorStack",
    "WindowDataset",
    "collate",
    "composite_picture",
    "true_colour",
]
