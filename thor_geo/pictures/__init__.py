"""Everything that is drawn: the quicklook, colours of embeddings, panels and legends."""
