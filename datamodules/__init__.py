"""LightningDataModules: dataset, sampler, and normalisation on the device."""

from datamodules.composite import CompositeDataModule
from datamodules.folder import FolderDataModule

__all__ = ["CompositeDataModule", "FolderDataModule"]
