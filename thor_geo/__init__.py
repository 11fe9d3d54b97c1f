"""thor-geo: from an area of the Earth to THOR embeddings."""
