"""The formats of whole layers, and how the rows of a version are written in each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layers.contracts import theme_of
from tiles.features import statement, tables
from tiles.features.rendering import closing, feature_texts, opening
from tiles.features.statement import RowQuery
from tiles.features.streaming import Chunks, batches, streaming
from tiles.http.server import CityContext
from tiles.ogc.formats import CSV, FLATGEOBUF, GEOJSON, GEOPARQUET
from twin.access.permit import Permit
from twin.query.reference import WGS84
from twin.text import Text


@dataclass(frozen=True, slots=True)
class DownloadFormat:
    """A format: how its files end, its media type, what people call it and what it is good for.

    One that `grows` is written from its beginning to its end, so it can be sent while it is written.
    """

    suffix: str
    media_type: str
    title: str
    use: Text
    grows: bool


FORMS = {
    form.suffix: form
    for form in (
        DownloadFormat("geojson", GEOJSON.media_type, "GeoJSON",
             Text(en="for the web and scripts", vi="cho web và kịch bản lệnh"), grows=True),
        DownloadFormat("gpkg", "application/geopackage+sqlite3", "GeoPackage",
             Text(en="for QGIS and other GIS programs", vi="cho QGIS và các phần mềm GIS"), grows=False),
        DownloadFormat("fgb", FLATGEOBUF.media_type, "FlatGeobuf",
             Text(en="with a spatial index, readable in parts", vi="có chỉ mục không gian, đọc được từng phần"),
             grows=False),
        DownloadFormat("parquet", GEOPARQUET.media_type, "GeoParquet",
             Text(en="for analysis: pandas, DuckDB", vi="để phân tích: pandas, DuckDB"), grows=True),
        DownloadFormat("csv", CSV.media_type, "CSV",
             Text(en="for spreadsheets, geometry as WKT", vi="cho bảng tính, hình học dạng WKT"), grows=True),
    )
}  # fmt: skip


async def _rows(city: CityContext, chosen: Permit, columns: Sequence[str]) -> AsyncGenerator[Sequence[Any], None]:
    select = RowQuery(chosen.version).select(columns, None)
    async with streaming(city) as connection, aclosing(batches(connection, select)) as read:
        async for rows in read:
            yield rows


def chunks(city: CityContext, chosen: Permit, form: DownloadFormat, words: Mapping[str, str]) -> Chunks:
    """Yield the bytes of a file that grows."""
    columns = chosen.columns
    if form.suffix == "geojson":
        return _geojson(_rows(city, chosen, statement.geojson(columns, WGS84).columns()), words)
    rows = _rows(city, chosen, statement.table(columns))
    if form.suffix == "csv":
        kind = theme_of(chosen.layer).geometry
        return tables.as_csv(rows, 0, columns, kind, WGS84, mark=tables.BYTE_ORDER_MARK)
    return tables.as_geoparquet(rows, 0, columns, WGS84, metadata=words)


async def _geojson(rows: AsyncGenerator[Sequence[Any], None], words: Mapping[str, str]) -> Chunks:
    yield opening(dict(words))
    count = 0
    async with aclosing(rows):
        async for batch in rows:
            text = ",\n".join(feature_texts(batch, 0, WGS84))
            yield (b",\n" if count else b"\n") + text.encode()
            count += len(batch)
    yield closing({"numberReturned": count})


async def write(
    city: CityContext, chosen: Permit, form: DownloadFormat, words: Mapping[str, str], folder: Path
) -> Path:
    """Write a file that does not grow, in a folder of its own."""
    path = folder / f"file.{form.suffix}"
    count = 0

    async def counted() -> AsyncGenerator[Sequence[Any], None]:
        nonlocal count
        async with aclosing(_rows(city, chosen, statement.table(chosen.columns))) as rows:
            async for batch in rows:
                count += len(batch)
                yield batch

    title, description = chosen.layer.title.en, chosen.layer.description.en or chosen.layer.title.en
    options: dict[str, Any]
    if form.suffix == "gpkg":
        options = {"driver": "GPKG", "IDENTIFIER": title, "DESCRIPTION": description}
    else:
        options = {
            "driver": "FlatGeobuf", "SPATIAL_INDEX": "YES", "TEMPORARY_DIR": str(folder), "TITLE": title,
            "DESCRIPTION": description,
        }  # fmt: skip
    await tables.write_with_gdal(
        counted(), 0, chosen.columns, WGS84, path, layer=chosen.layer.id, layer_metadata=dict(words), **options
    )
    # Drivers do not tell everything that fails when a file is closed.
    written = await asyncio.to_thread(_count, path)
    if written != count:
        raise OSError(f"{written} of {count} features were written")
    return path


def _count(path: Path) -> int:
    import pyogrio

    return int(pyogrio.read_info(path, force_feature_count=True)["features"])
