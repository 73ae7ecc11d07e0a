"""Counted cells as documents and tables: JSON, GeoJSON, CSV, Arrow, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import h3ronpy
import numpy as np
import orjson
import pyarrow as pa
import shapely

from tiles.cells.outlines import outlines
from tiles.cells.statement import AggregatedCells
from tiles.features import tables
from tiles.features.streaming import Chunks
from twin.access.permit import Permit
from twin.cells.cover import Int64
from twin.cells.rollup import Rolled
from twin.spreadsheets import cell
from twin.text import Language, Text

# Decimals of coordinates in degrees: about a centimetre.
DIGITS = 7

FEATURES = Text(en="Features, each counted once", vi="Số đối tượng, mỗi đối tượng đếm một lần")
PER_KM2 = Text(en="Features per km² of the cell", vi="Số đối tượng trên mỗi km² của ô")
CELL = Text(en="H3 cell", vi="Ô H3")

Parts = AsyncGenerator[AggregatedCells, None]


@dataclass(frozen=True, slots=True)
class CellsMetadata:
    """What the numbers are: of which version of which layer, at which resolution, from which columns."""

    permit: Permit
    resolution: int
    columns: tuple[Rolled, ...]
    language: Language

    def document(self) -> dict[str, Any]:
        """Return the metadata that all cells share."""
        layer, version = self.permit.layer, self.permit.version
        return {
            "layer": layer.id,
            "title": layer.title.in_language(self.language),
            "version": version.number,
            "published": version.published.isoformat().replace("+00:00", "Z"),
            "licence": layer.licence,
            "attribution": layer.attribution,
            "sample": layer.sample,
            "resolution": self.resolution,
            "resolutions": list(range(self.permit.resolution + 1)),
            "properties": self.properties(),
        }

    def properties(self) -> dict[str, dict[str, Any]]:
        """Each number's title, type and unit (UCUM), and by which rule the features' values become the cell's."""
        properties: dict[str, dict[str, Any]] = {
            "features": {"title": FEATURES.in_language(self.language), "type": "integer"},
            "per_km2": {"title": PER_KM2.in_language(self.language), "type": "number", "unit": "/km2"},
        }
        by_name = {c.name: c for c in self.permit.columns}
        for rolled in self.columns:
            column = by_name[rolled.name]
            about: dict[str, Any] = {
                "title": column.title.in_language(self.language), "type": rolled.result, "rollup": rolled.rule,
            }  # fmt: skip
            if column.unit and rolled.rule != "count":
                about["unit"] = column.unit
            if rolled.weight:
                about["weight"] = rolled.weight
            properties[rolled.name] = about
        return properties

    @property
    def names(self) -> list[str]:
        """The names of a row's values, in their order."""
        return ["cell", "features", "per_km2", *(c.name for c in self.columns)]


def as_text(cells: Int64) -> list[str]:
    """Cells in their usual hexadecimal form."""
    texts: list[str] = pa.array(h3ronpy.cells_to_string(cells.view(np.uint64))).to_pylist()
    return texts


def densities(counted: AggregatedCells) -> list[float]:
    """Features per square kilometre, by each cell's own area."""
    areas = pa.array(h3ronpy.cells_area_km2(counted.cells.view(np.uint64))).to_numpy(zero_copy_only=False)
    rounded: list[float] = np.round(np.array(counted.features, dtype=np.float64) / areas, 3).tolist()
    return rounded


def _rows(counted: AggregatedCells) -> list[tuple[Any, ...]]:
    return list(zip(as_text(counted.cells), counted.features, densities(counted), *counted.values, strict=True))


# Pages ---------------------------------------------------------------------------------------------


def as_json(counted: AggregatedCells, about: CellsMetadata, ending: dict[str, Any]) -> bytes:
    """Return a page of cells as JSON."""
    names = about.names
    cells = [dict(zip(names, row, strict=True)) for row in _rows(counted)]
    return orjson.dumps(about.document() | {"cells": cells} | ending)


def as_geojson(counted: AggregatedCells, about: CellsMetadata, ending: dict[str, Any]) -> bytes:
    """Return a page of cells as GeoJSON polygons."""
    names = about.names
    features = []
    for row, shape in zip(_rows(counted), outlines(counted.cells), strict=True):
        geometry = {"type": "Polygon", "coordinates": [shapely.get_coordinates(shape).round(DIGITS).tolist()]}
        properties = dict(zip(names, row, strict=True))
        features.append({"type": "Feature", "id": row[0], "geometry": geometry, "properties": properties})
    return orjson.dumps({"type": "FeatureCollection", **about.document(), "features": features} | ending)


# All in one go -------------------------------------------------------------------------------------


async def as_csv(parts: Parts, about: CellsMetadata) -> Chunks:
    """Cells as CSV, safe to open in a spreadsheet."""
    rows: list[Sequence[Any]] = [about.names]
    async with aclosing(parts):
        async for counted in parts:
            rows += [[cell(value) for value in row] for row in _rows(counted)]
            yield _written(rows)
            rows = []
    if rows:
        yield _written(rows)


def _written(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def schema_of(about: CellsMetadata) -> pa.Schema:
    """Return the Arrow schema: `cell` as H3's own unsigned number; titles, units and rules in the fields' metadata."""
    properties = about.properties()
    types = {"features": pa.int64(), "per_km2": pa.float64()} | {c.name: tables.ARROW[c.result] for c in about.columns}
    fields = [pa.field("cell", pa.uint64(), nullable=False, metadata={"title": CELL.in_language(about.language)})]
    fields += [pa.field(name, type_, metadata=properties[name]) for name, type_ in types.items()]
    whole = about.document()
    metadata = {"city_twin": json.dumps({k: v for k, v in whole.items() if k != "resolutions"}, ensure_ascii=False)}
    return pa.schema(fields, metadata)


def _batch(counted: AggregatedCells, schema: pa.Schema) -> pa.RecordBatch:
    values = [counted.cells.view(np.uint64), counted.features, densities(counted), *counted.values]
    return pa.record_batch([pa.array(v, f.type) for v, f in zip(values, schema, strict=True)], schema=schema)


async def as_arrow(parts: Parts, about: CellsMetadata) -> Chunks:
    """Cells as a stream of Arrow's IPC format."""
    schema, sink = schema_of(about), tables.Sink()
    writer = pa.ipc.new_stream(sink, schema)
    async with aclosing(parts):
        async for counted in parts:
            writer.write_batch(_batch(counted, schema))
            yield sink.taken()
    writer.close()
    yield sink.taken()


async def as_parquet(parts: Parts, about: CellsMetadata) -> Chunks:
    """Cells as Parquet, a row group at a time."""
    schema = schema_of(about)

    async def batches() -> tables.RecordBatches:
        async with aclosing(parts):
            async for counted in parts:
                yield _batch(counted, schema)

    async with aclosing(tables.write_parquet(batches(), schema)) as written:
        async for chunk in written:
            yield chunk
