"""LightningDataModules: dataset, sampler, and normalisation on the device."""

from datamodules.composite import CompositeDataModule

__all__ = ["CompositeDataModule"]
