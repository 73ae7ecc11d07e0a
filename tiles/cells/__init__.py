"""H3 cells: the profile of a cell, and layers aggregated by cells."""
