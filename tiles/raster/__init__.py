"""Rasters: pictures, heights, legends and values at points, from the files of raster versions."""
