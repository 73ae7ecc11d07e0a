"""Format of a file, by its content and, where that leaves a choice, by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ingest.readers.archive import members
from ingest.readers.limits import Limits
from ingest.readers.source import cannot_read
from ingest.readers.text import sibling
from ingest.readers.xml import root_of
from twin.errors import BadInput
from twin.text import Text

HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read here, and the file names that it usually has."""

    name: str
    suffixes: tuple[str, ...]


GEOJSON = Format("GeoJSON", (".geojson", ".json"))
GEOJSON_LINES = Format("GeoJSONL", (".geojsonl", ".geojsons", ".ndjson", ".jsonl"))
GEOPACKAGE = Format("GeoPackage", (".gpkg",))
SHAPEFILE = Format("Shapefile", (".shp",))
FLATGEOBUF = Format("FlatGeobuf", (".fgb",))
GEOPARQUET = Format("GeoParquet", (".parquet", ".geoparquet"))
CSV = Format("CSV", (".csv", ".tsv", ".txt"))
XLSX = Format("XLSX", (".xlsx", ".xlsm"))
KML = Format("KML", (".kml",))
DXF = Format("DXF", (".dxf",))
MAPINFO_TAB = Format("MapInfo TAB", (".tab",))
MAPINFO_MIF = Format("MapInfo MIF", (".mif",))
FILEGDB = Format("FileGDB", (".gdb",))
OSM = Format("OpenStreetMap PBF", (".osm.pbf", ".pbf"))
CITYJSON = Format("CityJSON", (".city.json",))
CITYJSON_LINES = Format("CityJSONL", (".city.jsonl",))
CITYGML = Format("CityGML", (".gml", ".citygml", ".xml"))
GTFS = Format("GTFS", (".zip",))
GEOTIFF = Format("GeoTIFF", (".tif", ".tiff"))
FORMATS = (
    GEOJSON, GEOJSON_LINES, GEOPACKAGE, SHAPEFILE, FLATGEOBUF, GEOPARQUET, CSV, XLSX, KML, DXF, MAPINFO_TAB,
    MAPINFO_MIF, FILEGDB, OSM, CITYJSON, CITYJSON_LINES, CITYGML, GTFS, GEOTIFF,
)  # fmt: skip
# Files that belong to another one, by the suffix of that one.
_PARTS = {
    ".dbf": ".shp", ".shx": ".shp", ".prj": ".shp", ".cpg": ".shp", ".mid": ".mif", ".dat": ".tab", ".map": ".tab",
    ".id": ".tab", ".ind": ".tab",
}  # fmt: skip


def recognise(path: Path, limits: Limits) -> Format | None:
    """Return the format of a file; None is a zip archive that is not a format by itself. Others are refused."""
    if path.is_dir():
        return FILEGDB
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.strip():
        raise cannot_read(path, Text(en="it is empty", vi="tệp rỗng"))
    if (whole := _PARTS.get(path.suffix.lower())) and sibling(path, whole):
        raise cannot_read(
            path,
            Text(
                en="it is a part of a {whole} file; name that one",
                vi="đây là một phần của tệp {whole}; hãy nêu tên tệp đó",
            ).format(whole=whole),
        )
    for magic, format in _MAGIC:
        if head.startswith(magic):
            return format
    if head.startswith(b"PK"):
        return _zip_format(path, limits)
    if b"OSMHeader" in head[:64]:
        return OSM
    return _refuse_known(path, head) or _text_format(path, head)


_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"SQLite format 3\0", GEOPACKAGE),
    (b"fgb\x03fgb", FLATGEOBUF),
    (b"PAR1", GEOPARQUET),
    (b"II*\0", GEOTIFF), (b"MM\0*", GEOTIFF), (b"II+\0", GEOTIFF), (b"MM\0+", GEOTIFF),
    (b"\x00\x00\x27\x0a", SHAPEFILE),
)  # fmt: skip

_KNOWN_BUT_NOT_READ: tuple[tuple[re.Pattern[bytes], Text], ...] = (
    (
        re.compile(rb"AC10\d\d"),
        Text(en="it is a DWG drawing; save it as DXF", vi="đây là bản vẽ DWG; hãy lưu thành DXF"),
    ),
    (
        re.compile(rb"AutoCAD Binary DXF"),
        Text(
            en="it is a binary DXF; save it as a DXF in text form",
            vi="đây là DXF nhị phân; hãy lưu thành DXF dạng văn bản",
        ),
    ),
    (
        re.compile(rb"\xd0\xcf\x11\xe0"),
        Text(en="it is an old Office file; save it as XLSX", vi="đây là tệp Office cũ; hãy lưu thành XLSX"),
    ),
    (
        re.compile(rb"%PDF"),
        Text(en="it is a PDF; ask for the data that it was made from", vi="đây là PDF; hãy xin dữ liệu gốc"),
    ),
    (
        re.compile(rb"\x1f\x8b"),
        Text(
            en="it is packed with gzip; unpack it first, or pack it as ZIP",
            vi="tệp nén gzip; hãy giải nén, hoặc nén ZIP",
        ),
    ),
    (
        re.compile(rb"(?i)<!doctype html|<html"),
        Text(
            en="it is a web page, perhaps one that asks for a login; download the data itself",
            vi="đây là trang web, có thể là trang đăng nhập; hãy tải chính dữ liệu",
        ),
    ),
    (re.compile(rb"Rar!|7z\xbc\xaf"), Text(en="pack it as ZIP instead", vi="hãy nén lại dạng ZIP")),
)


def _refuse_known(path: Path, head: bytes) -> Format | None:
    for pattern, reason in _KNOWN_BUT_NOT_READ:
        if pattern.match(head):
            raise cannot_read(path, reason)
    return None


def _text_format(path: Path, head: bytes) -> Format:
    name = path.name.lower()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if text[:1] in (b"{", b"[", b"\x1e"):
        return _json_format(path, text, name)
    if text[:1] == b"<" or (wide and head[2:4] in (b"<\0", b"\0<")):
        return _xml_format(path)
    if re.match(rb"(?:999\r?\n[^\n]*\n\s*)*0\s*\r?\n\s*SECTION", text):
        return DXF
    if re.match(rb"!table\b", text, re.IGNORECASE):
        return MAPINFO_TAB
    if re.match(rb"version\s+\d+", text, re.IGNORECASE) and name.endswith(".mif"):
        return MAPINFO_MIF
    if name.endswith(CSV.suffixes) and (wide or b"\0" not in head):
        return CSV
    raise BadInput(
        Text(
            en="{file} is of no format that is read here. Read are: {formats}.",
            vi="{file} không thuộc định dạng nào đọc được. Các định dạng đọc được: {formats}.",
        ).format(file=path.name, formats=", ".join(f.name for f in FORMATS))
    )


_KNOWN_JSON: tuple[tuple[re.Pattern[bytes], Text], ...] = (
    (
        re.compile(rb'"esriGeometry\w+"|"geometryType"\s*:|"attributes"\s*:\s*\{'),
        Text(
            en="it is the JSON of ArcGIS; ask the server for GeoJSON (f=geojson), or save it as GeoPackage",
            vi="đây là JSON của ArcGIS; hãy yêu cầu máy chủ trả GeoJSON (f=geojson), hoặc lưu thành GeoPackage",
        ),
    ),
    (
        re.compile(rb'"type"\s*:\s*"Topology"'),
        Text(en="it is TopoJSON; save it as GeoJSON", vi="đây là TopoJSON; hãy lưu thành GeoJSON"),
    ),
)
# By the name of the root, for what is well known.
_KNOWN_XML: dict[str, Text] = {
    "osm": Text(
        en="it is OpenStreetMap in XML; save it as .osm.pbf (osmium cat FILE -o FILE.osm.pbf)",
        vi="đây là OpenStreetMap dạng XML; hãy lưu thành .osm.pbf (osmium cat TỆP -o TỆP.osm.pbf)",
    ),
    "FeatureCollection": Text(en="it is GML; save it as GeoPackage", vi="đây là GML; hãy lưu thành GeoPackage"),
    "gpx": Text(en="it is GPX; save it as GeoJSON or KML", vi="đây là GPX; hãy lưu thành GeoJSON hoặc KML"),
    "svg": Text(
        en="it is a picture (SVG); ask for the data that it was made from",
        vi="đây là hình vẽ (SVG); hãy xin dữ liệu gốc",
    ),
    "html": Text(
        en="it is a web page, perhaps one that asks for a login; download the data itself",
        vi="đây là trang web, có thể là trang đăng nhập; hãy tải chính dữ liệu",
    ),
    "ExceptionReport": Text(
        en="it is an error message of a server; ask for the data again",
        vi="đây là thông báo lỗi của máy chủ; hãy yêu cầu dữ liệu lại",
    ),
}


def _json_format(path: Path, text: bytes, name: str) -> Format:
    kinds = re.findall(rb'"type"\s*:\s*"(\w{1,40})"', text)
    first_line = text.partition(b"\n")[0]
    if b"CityJSON" in kinds or b"CityJSONFeature" in kinds or b'"CityObjects"' in text:
        one_a_line = b'"CityJSON"' in first_line and b'"CityObjects"' in first_line and name.endswith(".jsonl")
        return CITYJSON_LINES if one_a_line or b"CityJSONFeature" in kinds else CITYJSON
    if text[:1] == b"\x1e" or name.endswith(GEOJSON_LINES.suffixes):
        return GEOJSON_LINES
    geojson = {b"FeatureCollection", b"Feature", b"Point", b"Polygon", b"MultiPolygon", b"LineString",
               b"MultiLineString", b"MultiPoint", b"GeometryCollection"}  # fmt: skip
    is_arcgis = b'"esriGeometry' in text and b"Feature" not in kinds
    if (
        text[:1] == b"{"
        and not is_arcgis
        and b"Topology" not in kinds
        and (geojson & set(kinds) or b'"features"' in text)
    ):
        lines = re.match(rb'\{[^\n]*"type"\s*:\s*"Feature"[^\n]*\}\s*\r?\n\s*\{', text)
        return GEOJSON_LINES if lines else GEOJSON
    for pattern, reason in _KNOWN_JSON:
        if pattern.search(text):
            raise cannot_read(path, reason)
    raise cannot_read(
        path,
        Text(en="it is JSON, but neither GeoJSON nor CityJSON", vi="là JSON nhưng không phải GeoJSON hay CityJSON"),
    )


def _xml_format(path: Path) -> Format:
    root = root_of(path)
    namespace, _, name = root.rpartition(" ")
    if name == "kml":
        return KML
    if name == "CityModel" and "citygml" in namespace:
        return CITYGML
    if name in _KNOWN_XML:
        raise cannot_read(path, _KNOWN_XML[name])
    raise cannot_read(
        path,
        Text(
            en="it is XML with the root “{root}”; of XML, only KML and CityGML are read",
            vi="là XML với phần tử gốc “{root}”; trong XML chỉ đọc KML và CityGML",
        ).format(root=name[:60]),
    )


# By a part that the archive of a known program has.
_KNOWN_ZIP = {
    "content.xml": Text(
        en="it is a document of LibreOffice; save the table as XLSX or CSV",
        vi="đây là tài liệu LibreOffice; hãy lưu bảng thành XLSX hoặc CSV",
    ),
    "word/document.xml": Text(
        en="it is a Word document; save its table as XLSX or CSV",
        vi="đây là tệp Word; hãy lưu bảng thành XLSX hoặc CSV",
    ),
    "ppt/presentation.xml": Text(
        en="it is a PowerPoint file; ask for the data itself", vi="đây là tệp PowerPoint; hãy xin chính dữ liệu"
    ),
    "xl/workbook.bin": Text(
        en="it is an XLSB workbook; save it as XLSX", vi="đây là bảng tính XLSB; hãy lưu thành XLSX"
    ),
}


def _zip_format(path: Path, limits: Limits) -> Format | None:
    names = {entry.filename.lower() for entry in members(path, limits)}
    if "xl/workbook.xml" in names:
        return XLSX
    for part, reason in _KNOWN_ZIP.items():
        if part in names:
            raise cannot_read(path, reason)
    if any(name.rpartition("/")[2] == "stops.txt" for name in names):
        return GTFS
    return None
