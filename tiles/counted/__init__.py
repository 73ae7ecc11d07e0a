"""The features of a layer counted in H3 cells: as tables, as pages, as tiles."""
