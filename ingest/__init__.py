"""The agencies' door: readers, mapping, checks and publishing of their files; the sample city."""

import os

# GDAL looks into a file to choose its driver, and some drivers go on to open other files or addresses that the
# file names, or to run programs. Those that no reader uses are taken out before the library is loaded; a reader
# also compares the driver with its own. What is left: Shapefile, MapInfo, GeoJSON, GeoPackage, FileGDB, FlatGeobuf,
# DXF, and the plain raster formats.
_UNUSED = (
    "VRT,OGR_VRT,WMS,WMTS,WCS,OAPIF,WFS,CSW,HTTP,Carto,GDALG,OGCAPI,EEDA,EEDAI,NGW,PLSCENES,PLMosaic,AmigoCloud,"
    "Elasticsearch,GPSBabel,ADBC,DAAS,STACIT,STACTA,Zarr,MBTiles,PMTiles,MVT,PCIDSK,PDS4,VICAR,PDF,LVBAG,S57,DGN,CSV,"
    "GML,GPX,LIBKML,KML,KMLSUPEROVERLAY,ESRIJSON,TopoJSON,JSONFG,OGR_GMT,SQLite,WAsP,GeoRSS,VFK,PGDUMP,OSM,OGR_PDS,"
    "EDIGEO,Idrisi,ODS,XLSX,SXF,Selafin,JML,VDV,MapML,GTFS,MiraMonVector,AVCBin,AVCE00,AIVector,DERIVED,DIMAP,SAFE,"
    "SENTINEL2"
)
os.environ.setdefault("GDAL_SKIP", _UNUSED)
# A single JSON object is read whole; the driver stops at this many megabytes.
os.environ.setdefault("OGR_GEOJSON_MAX_OBJ_SIZE", "128")
# One batch on its way from GDAL to Arrow is cut at this many bytes, however many rows were requested.
os.environ.setdefault("OGR_ARROW_MEM_LIMIT", str(256 * 2**20))
