"""The one way into a layer: a file, an upload, a raster, a city of a description."""
