"""H3 cells: covers of geometries, the plane they lie in, and roll-ups to coarser cells."""
