"""TorchGeo datasets over composites, over a user's GeoTIFFs, and over the maps of a run."""

from thor_geo.datasets.colour import true_colour
from thor_geo.datasets.composite import CompositeDataset
from thor_geo.datasets.embeddings import EmbeddingDataset
from thor_geo.datasets.folder import FolderDataset
from thor_geo.datasets.picture import composite_picture
from thor_geo.datasets.places import PlaceDataset
from thor_geo.datasets.planned import PlanDataset, collate
from thor_geo.datasets.stacked import SensorStack
from thor_geo.datasets.windowed import WindowDataset

__all__ = [
    "CompositeDataset",
    "EmbeddingDataset",
    "FolderDataset",
    "PlaceDataset",
    "PlanDataset",
    "SensorStack",
    "WindowDataset",
    "collate",
    "composite_picture",
    "true_colour",
]
