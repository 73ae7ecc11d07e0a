"""The agencies' door: readers, mapping, checks and publishing of their files; the sample city."""

import os

# GDAL looks into a file to choose its driver, and some drivers go on to open other files or addresses that the
# file names. They are taken out before the library is loaded.
os.environ.setdefault("GDAL_SKIP", "VRT,OGR_VRT,WMS,WMTS,WCS,OAPIF,WFS,CSW,HTTP,Carto")
