"""LightningModules."""

from thor_geo.tasks.embedding import THOREmbeddingTask

__all__ = ["THOREmbeddingTask"]
