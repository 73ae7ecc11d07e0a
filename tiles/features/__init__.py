"""OGC API — Features: collections, items, filters, coordinate systems and formats over the layers' versions."""
