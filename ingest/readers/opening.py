"""Opening a file: only real files, the reader that fits, and what an archive holds."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.readers import archive
from ingest.readers import recognise as formats
from ingest.readers.recognise import FORMATS, Format, recognise
from ingest.readers.source import LayerNotChosen, Reader, ReadOptions, cannot_read, workspace
from twin.errors import BadInput, SetupProblem
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import RasterReader


def open_file(path: Path, options: ReadOptions | None = None) -> Reader:
    """Open a file of features with the reader for its format. Close the reader when done."""
    options = options or ReadOptions()
    path = plain_path(path)
    format = recognise(path, options.limits)
    if format is None:
        return _open_archive(path, options)
    return _open(path, format, options)


def open_raster(path: Path, options: ReadOptions | None = None) -> RasterReader:
    """Open a raster, as it is or alone in a zip archive. Close the reader when done."""
    from ingest.readers.raster import RasterReader

    options = options or ReadOptions()
    path = plain_path(path)
    format = recognise(path, options.limits)
    if format is formats.GEOTIFF:
        return RasterReader(path, options)
    if format is None and (found := _rasters(path, options)):
        folder = archive.unpack(path, options)
        try:
            reader = RasterReader(folder / found[0], options)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        reader.own(folder)
        return reader
    raise cannot_read(path, Text(en="it is not a GeoTIFF", vi="không phải GeoTIFF"))


def is_raster(path: Path, options: ReadOptions | None = None) -> bool:
    """Return whether this is a file for `open_raster`; refused files are refused here already."""
    options = options or ReadOptions()
    path = plain_path(path)
    format = recognise(path, options.limits)
    return format is formats.GEOTIFF or (format is None and bool(_rasters(path, options)))


def _rasters(path: Path, options: ReadOptions) -> list[str]:
    names = [entry.filename for entry in archive.members(path, options.limits)]
    rasters = [name for name in names if name.lower().endswith(formats.GEOTIFF.suffixes)]
    # A shapefile with a picture beside it is a shapefile; a picture with a description beside it is a picture.
    return rasters if len(rasters) == 1 and all(n.lower().endswith(_WEAK) for n in _candidates(names)) else []


def plain_path(path: Path) -> Path:
    """Resolve a path; anything but a regular file, or the folder of a FileGDB, is refused.

    GDAL takes some names for addresses, databases or its virtual file systems. An absolute path of a file that exists
    is none of these.
    """
    name = str(path)
    if name.startswith("/vsi") or re.match(r"^[A-Za-z][A-Za-z0-9+.-]{1,30}:", name) or "\0" in name:
        raise BadInput(
            Text(
                en="“{path}” is refused: it is not the name of a file but an address. Download the file first.",
                vi="“{path}” bị từ chối: đây không phải tên tệp mà là địa chỉ. Hãy tải tệp về trước.",
            ).format(path=name[:200])
        )
    try:
        resolved = path.resolve(strict=True)
        mode = resolved.stat().st_mode
    except (OSError, ValueError, RuntimeError):
        raise BadInput(
            Text(en="There is no file “{path}”.", vi="Không có tệp “{path}”.").format(path=name[:200])
        ) from None
    if stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and resolved.suffix.lower() == ".gdb"):
        return resolved
    raise BadInput(
        Text(
            en="“{path}” is not a file. Name a file, or the .gdb folder of a FileGDB.",
            vi="“{path}” không phải tệp. Hãy nêu tên một tệp, hoặc thư mục .gdb của FileGDB.",
        ).format(path=name[:200])
    )


# Archives ------------------------------------------------------------------------------------------

# What an archive is looked through for, the whole things before the parts of others.
_INSIDE = (
    ".shp", ".gpkg", ".fgb", ".geojson", ".geojsonl", ".ndjson", ".parquet", ".geoparquet", ".kml", ".gml", ".citygml",
    ".city.json", ".city.jsonl", ".tab", ".mif", ".dxf", ".osm.pbf", ".xlsx", ".json", ".csv", ".tsv", ".xml",
)  # fmt: skip
_WEAK = (".json", ".csv", ".tsv", ".xml", ".txt")


def _candidates(names: list[str]) -> list[str]:
    """Return the files of an archive that could be opened; tables and the like only where there is nothing better."""
    plain = [n for n in names if not n.startswith("__MACOSX/") and not n.rpartition("/")[2].startswith(".")]
    databases = sorted({m[1] for n in plain if (m := re.match(r"(.*?\.gdb)/", n, re.IGNORECASE))})
    if databases:
        return databases
    found = [n for n in plain if n.lower().endswith(_INSIDE)]
    strong = [n for n in found if not n.lower().endswith(_WEAK) or n.lower().endswith(".city.json")]
    return strong or found


def _open_archive(path: Path, options: ReadOptions) -> Reader:
    names = [entry.filename for entry in archive.members(path, options.limits)]
    found = _candidates(names)
    if not found:
        nested = any(name.lower().endswith(archive.NESTED) for name in names)
        raise cannot_read(
            path,
            Text(
                en="it holds archives inside; unpack it once first",
                vi="bên trong còn tệp nén; hãy giải nén một lần trước",
            )
            if nested
            else Text(
                en="the archive holds no file of a format that is read here",
                vi="tệp nén không chứa định dạng nào đọc được",
            ),
        )
    inner = options
    if len(found) > 1:
        by_stem = {Path(name).stem: name for name in found}
        if options.layer not in by_stem:
            raise LayerNotChosen(path.name, sorted(by_stem), options.layer)
        found = [by_stem[options.layer]]
        inner = _without_layer(options)
    folder = archive.unpack(path, options, _belonging(names, found[0]))
    try:
        file = folder / found[0]
        format = recognise(file, options.limits)
        if format is None or format is formats.GEOTIFF:
            raise cannot_read(path, Text(en="it holds archives inside", vi="bên trong còn tệp nén"))
        if options.layer == Path(found[0]).stem:
            inner = _without_layer(options)
        reader = _open(file, format, inner)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    reader.own(folder)  # type: ignore[attr-defined]
    return reader


def _without_layer(options: ReadOptions) -> ReadOptions:
    return replace(options, layer=None)


def _belonging(names: list[str], chosen: str) -> list[str]:
    """Return the chosen file of an archive with those that belong to it: the same name with other suffixes, or a
    folder.
    """
    stem = re.sub(r"\.[^./]+$", "", chosen).casefold()
    return [n for n in names if n == chosen or n.startswith(f"{chosen}/") or n.casefold().startswith(f"{stem}.")]


# Which reader ---------------------------------------------------------------------------------------


def _open(path: Path, format: Format, options: ReadOptions) -> Reader:
    try:
        return _OPEN[format](path, format, options)
    except ModuleNotFoundError as missing:
        raise SetupProblem(
            Text(
                en="To read {format}, the Python package “{package}” is needed. Install it: pip install {package}",
                vi="Để đọc {format} cần gói Python “{package}”. Hãy cài: pip install {package}",
            ).format(format=format.name, package=missing.name)
        ) from None


def _geojson(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.geojson import check_lines, feature_ids, readable_copy, scan
    from ingest.readers.vector import VectorReader

    lines = format is formats.GEOJSON_LINES
    if lines:
        check_lines(path, options.limits)
    found = scan(path, options.limits, lines)
    folder = workspace(options) if found.zeros or found.wide_integers else None
    try:
        reader = VectorReader(
            path, options, format.name, "GeoJSONSeq" if lines else "GeoJSON",
            read_from=readable_copy(path, folder) if folder else None,
            ids=partial(feature_ids, path, lines) if found.ids else None,
            replace_id=found.ids and not found.property_id,
        )  # fmt: skip
    except BaseException:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if folder:
        reader.own(folder)
    if found.half_surrogates:
        reader.note("text.broken", str(found.half_surrogates))
    return reader


def _geopackage(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.geopackage import check_schema, with_plain_types
    from ingest.readers.vector import VectorReader

    if not check_schema(path, options.limits):
        return VectorReader(path, options, format.name, "GPKG")
    folder = workspace(options)
    try:
        reader = VectorReader(path, options, format.name, "GPKG", read_from=with_plain_types(path, folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    reader.own(folder)
    return reader


def _shapefile(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.dbf import WideNumbers, records_in, shapes_in
    from ingest.readers.text import declared_by_shapefile, sibling
    from ingest.readers.vector import VectorReader

    if sibling(path, ".shx") is None:
        raise cannot_read(
            path,
            Text(
                en="the file {shx} that belongs to it is missing; send .shp, .shx, .dbf and .prj together, best as ZIP",
                vi="thiếu tệp {shx} đi kèm; hãy gửi cùng lúc .shp, .shx, .dbf và .prj, tốt nhất là nén ZIP",
            ).format(shx=f"{path.stem}.shx"),
        )
    dbf = sibling(path, ".dbf")
    if dbf is None:
        raise cannot_read(
            path,
            Text(
                en="the file {dbf} with its attributes is missing; send .shp, .shx, .dbf, .prj together, best as ZIP",
                vi="thiếu tệp {dbf} chứa thuộc tính; hãy gửi cùng lúc .shp, .shx, .dbf và .prj, tốt nhất là nén ZIP",
            ).format(dbf=f"{path.stem}.dbf"),
        )
    drawn, described = shapes_in(path), records_in(dbf)
    if drawn is None or described is None:
        raise cannot_read(
            path,
            Text(
                en="the .shp or the .dbf is cut off: it is shorter than it says; copy or download all parts again",
                vi="tệp .shp hoặc .dbf bị cụt: ngắn hơn mức tệp tự ghi; hãy sao chép hoặc tải lại mọi phần",
            ),
        )
    wide = WideNumbers(dbf)
    reader = VectorReader(
        path, options, format.name, "ESRI Shapefile", declared_by_shapefile(path), wide=wide if wide.columns else None
    )
    if drawn != described:
        reader.note(
            "rows.left_out",
            Text(
                en="the .shp has {drawn} shapes, the .dbf {described} rows",
                vi=".shp có {drawn} hình, .dbf có {described} dòng",
            ).format(drawn=drawn, described=described),
        )
    return reader


def _mapinfo(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.mapinfo import open_mapinfo

    return open_mapinfo(path, format.name, options)


def _plain(driver: str) -> Callable[[Path, Format, ReadOptions], Reader]:
    def opener(path: Path, format: Format, options: ReadOptions) -> Reader:
        from ingest.readers.vector import VectorReader

        return VectorReader(path, options, format.name, driver)

    return opener


def _drawing(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.dxf import scan_drawing
    from ingest.readers.vector import VectorReader

    left_out = scan_drawing(path, options.limits)
    reader = VectorReader(path, options, format.name, "DXF")
    if left_out is not None:
        reader.note("objects.left_out", left_out)
    return reader


def _geodatabase(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.vector import VectorReader

    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (Path(folder) / name).is_symlink():
                raise cannot_read(path, Text(en="it holds a link to another file", vi="có liên kết tới tệp khác"))
    return VectorReader(path, options, format.name, "OpenFileGDB")


def _csv(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.table import CsvReader

    return CsvReader(path, options)


def _xlsx(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.xlsx import XlsxReader

    return XlsxReader(path, options)


def _parquet(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.parquet import ParquetReader

    return ParquetReader(path, options)


def _kml(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.kml import KmlReader

    return KmlReader(path, options)


def _osm(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.osm import OsmReader

    return OsmReader(path, options)


def _cityjson(path: Path, format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.cityjson import CityJsonReader

    return CityJsonReader(path, options, lines=format is formats.CITYJSON_LINES)


def _citygml(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.citygml import CityGmlReader

    return CityGmlReader(path, options)


def _gtfs(path: Path, _format: Format, options: ReadOptions) -> Reader:
    from ingest.readers.gtfs import open_gtfs

    return open_gtfs(path, options)


def _raster(path: Path, _format: Format, _options: ReadOptions) -> Reader:
    raise cannot_read(
        path,
        Text(
            en="it is a raster, and features were expected (themes that take rasters: twin layer themes)",
            vi="đây là ảnh raster, không phải dữ liệu đối tượng (chuyên đề nhận ảnh raster: twin layer themes)",
        ),
    )


_OPEN: dict[Format, Callable[[Path, Format, ReadOptions], Reader]] = {
    formats.GEOJSON: _geojson,
    formats.GEOJSON_LINES: _geojson,
    formats.GEOPACKAGE: _geopackage,
    formats.SHAPEFILE: _shapefile,
    formats.FLATGEOBUF: _plain("FlatGeobuf"),
    formats.GEOPARQUET: _parquet,
    formats.CSV: _csv,
    formats.XLSX: _xlsx,
    formats.KML: _kml,
    formats.DXF: _drawing,
    formats.MAPINFO_TAB: _mapinfo,
    formats.MAPINFO_MIF: _mapinfo,
    formats.FILEGDB: _geodatabase,
    formats.OSM: _osm,
    formats.CITYJSON: _cityjson,
    formats.CITYJSON_LINES: _cityjson,
    formats.CITYGML: _citygml,
    formats.GTFS: _gtfs,
    formats.GEOTIFF: _raster,
}
assert set(_OPEN) == set(FORMATS)  # noqa: S101 - a format without a reader is a mistake of this module
