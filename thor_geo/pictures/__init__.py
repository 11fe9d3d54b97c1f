"""All drawing: the quicklook, colours of embeddings, panels and legends."""
