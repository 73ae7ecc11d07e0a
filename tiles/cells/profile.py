"""Everything known of a cell: one indexed question over all layers that the reader may see."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

import asyncpg
import h3
import numpy as np
import shapely
from fastapi import APIRouter, Path, Query, Response

from layers.contracts import theme_of
from layers.theme import Theme
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.server import CityContext
from tiles.ogc import display
from twin.access.permit import Permit, every_permit
from twin.cells.cover import MAX_RESOLUTION, cover, format_cell, parse_cell, resolution_of, span
from twin.db.sql import json_object
from twin.db.tables import DATA_SCHEMA
from twin.errors import BadInput
from twin.text import Language, Text

# What a click asks about: in Ho Chi Minh City a cell of 2,468 m² (the mean of the world, 2,150 m², holds nowhere).
CLICK_RESOLUTION = 11
FEATURES_A_LAYER = 20
# How near to a point or a line a click must be, in degrees (about 10 m).
NEAR = 9e-5
# `lng,lat` in degrees, as the OpenAPI document says it and the server reads it.
POINT_TEXT = r" *[+-]?(?:180(?:\.0*)?|(?:1[0-7]\d|0?\d{1,2})(?:\.\d*)?) *, *[+-]?(?:90(?:\.0*)?|[0-8]?\d(?:\.\d*)?) *"
# The question's fourth and fifth parameter, as WKT.
POINT = "ST_GeomFromText($4::text, 4326)"
OUTLINE = "ST_GeomFromText($5::text, 4326)"

router = APIRouter(tags=["cells"])

Longitude = Annotated[float, Query(ge=-180, le=180, description="Longitude in degrees (EPSG:4326).")]
Latitude = Annotated[float, Query(ge=-90, le=90, description="Latitude in degrees (EPSG:4326).")]


At = Annotated[
    str | None,
    Query(
        description="A point `lng,lat`: features there are marked `here`.",
        json_schema_extra={"format": "longitude-latitude", "pattern": f"^{POINT_TEXT}$"},
    ),
]


@router.get("/cells/at", summary="Everything known of the place at a point")
async def at_point(
    city: City, principal: CurrentPrincipal, lang: Lang, response: Response, lng: Longitude, lat: Latitude
) -> dict[str, Any]:
    """Answer for the cell of resolution 11 around a point; features at the point itself are marked `here`."""
    cell = parse_cell(h3.latlng_to_cell(lat, lng, CLICK_RESOLUTION))
    return await _answer(city, every_permit(principal, city.layers), cell, (lng, lat), lang, response)


@router.get("/cells/{cell}", summary="Everything known of a cell")
async def of_cell(
    city: City, principal: CurrentPrincipal, lang: Lang, response: Response,
    cell: Annotated[str, Path(description="H3 index, hexadecimal.", json_schema_extra={"format": "h3"})],
    at: At = None,
) -> dict[str, Any]:  # fmt: skip
    """Answer for one cell of any resolution, by agency and layer.

    A layer's own cells may be coarser or finer: coarser ones are refined with the geometry, finer ones are summed.
    """
    point = parse_point(at) if at is not None else None
    return await _answer(city, every_permit(principal, city.layers), parse_cell(cell), point, lang, response)


def parse_point(text: str) -> tuple[float, float]:
    """Read `lng,lat` in degrees."""
    if re.fullmatch(POINT_TEXT, text, re.ASCII):
        lng, lat = (float(part) for part in text.split(","))
        return lng, lat
    raise BadInput(
        Text(
            en="“{text}” is not a point. Give longitude and latitude in degrees: 106.7009,10.7769",
            vi="“{text}” không phải một điểm. Hãy cho kinh độ, vĩ độ: 106.7009,10.7769",
        ).format(text=text[:60])
    )


@lru_cache(maxsize=512)
def _layer_sql(table: str, of: Theme, columns: tuple[tuple[str, str], ...], resolution: int, wanted: int) -> str:
    """One layer's part of the question.

    $1 are the cells that cover the requested one at its own and every coarser resolution, $2 and $3 the lowest and
    highest index of its descendants at each resolution 0..15, $4 the point (or NULL), $5 the requested cell's polygon.
    """
    values = json_object(list(columns))
    near = 0 if of.geometry == "polygon" else NEAR
    here = f"coalesce(ST_DWithin(f.geom, {POINT}, {near}), false)"
    if wanted < resolution:
        which = f"cell BETWEEN ($2::bigint[])[{resolution + 1}] AND ($3::bigint[])[{resolution + 1}]"
    else:
        which = "cell = ANY($1::bigint[])"
    # Coarser cells only narrow the search: the geometry decides. Nor do fine cells tell what a coarse one lies inside.
    exact = f"WHERE ST_Intersects(f.geom, {OUTLINE})" if wanted > resolution else ""
    whole = "false"
    if wanted == resolution:
        whole = "c.whole"
    elif wanted > resolution:
        whole = f"ST_Covers(f.geom, {OUTLINE})"
    return (
        f"SELECT '{table}'::text AS table_name, count(*) OVER () AS total, f.id, {whole} AS whole, {here} AS here, "
        f"({values})::text AS properties "
        f"FROM (SELECT fid, bool_and(whole) AS whole FROM {DATA_SCHEMA}.{table}_cells WHERE {which} GROUP BY fid) AS c "
        f"JOIN {DATA_SCHEMA}.{table} AS f USING (fid) {exact} "
        f"ORDER BY here DESC, f.importance DESC, f.fid LIMIT {FEATURES_A_LAYER}"
    )


def cell_sql(permits: Sequence[Permit], wanted: int) -> str:
    """Return one statement for all layers: one index look-up each."""
    parts = []
    for permit in permits:
        version, columns = permit.version, tuple((column.name, column.sql("f")) for column in permit.columns)
        parts.append(f"({_layer_sql(version.table, theme_of(permit.layer), columns, version.resolution, wanted)})")
    # The last part finds nothing; it tells PostgreSQL the types of parameters that no other part may use.
    given = "($1::bigint[], $2::bigint[], $3::bigint[], $4::text, $5::text)"
    types = f"SELECT NULL, 0, NULL, NULL, NULL, NULL WHERE {given} IS NULL AND false"
    return " UNION ALL ".join([*parts, types])


async def _answer(
    city: CityContext, permits: list[Permit], cell: int, point: tuple[float, float] | None, language: Language,
    response: Response,
) -> dict[str, Any]:  # fmt: skip
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Authorization, X-API-Key, Accept-Language"
    name = format_cell(cell)
    found: dict[str, list[Any]] = {}
    wanted = resolution_of(cell)
    async with city.connection() as connection:
        # Nearly always one: a permit that does not tell of cells so fine is answered for the one around.
        for resolution in sorted({min(wanted, permit.finest_cell) for permit in permits}, reverse=True):
            some = [permit for permit in permits if min(wanted, permit.finest_cell) == resolution]
            exact = point if resolution == wanted and some[0].finest_cell >= CLICK_RESOLUTION else None
            around = cell if resolution == wanted else parse_cell(h3.cell_to_parent(name, resolution))
            for record in await _read(connection, some, around, exact):
                found.setdefault(record["table_name"], []).append(record)
    return {
        "cell": name,
        "resolution": wanted,
        "at": list(point) if point else None,
        "boundary": [[round(lng, 7), round(lat, 7)] for lat, lng in h3.cell_to_boundary(name)],
        "agencies": _by_agency(permits, wanted, found, language),
    }


async def _read(
    connection: asyncpg.Connection, permits: Sequence[Permit], cell: int, point: tuple[float, float] | None
) -> list[Any]:
    spans = [span(cell, resolution) for resolution in range(MAX_RESOLUTION + 1)]
    outline = shapely.Polygon([(lng, lat) for lat, lng in h3.cell_to_boundary(format_cell(cell))])
    records: list[Any] = await connection.fetch(
        cell_sql(permits, resolution_of(cell)),
        _covering(outline, cell, {permit.version.resolution for permit in permits}),
        [low for low, _ in spans], [high for _, high in spans],
        shapely.to_wkt(shapely.Point(point)) if point else None, shapely.to_wkt(outline, rounding_precision=-1),
    )  # fmt: skip
    return records


def _covering(outline: shapely.Polygon, cell: int, resolutions: set[int]) -> list[int]:
    """Return the coarser cells that the requested one touches: fine cells reach a little beyond their parents."""
    own = resolution_of(cell)
    shapes = np.array([outline], dtype=object)
    coarser = [cover(shapes, resolution).cell for resolution in sorted(resolutions) if resolution < own]
    return [cell, *(int(c) for cells in coarser for c in cells)]


def _by_agency(
    permits: Sequence[Permit], wanted: int, found: dict[str, list[Any]], language: Language
) -> list[dict[str, Any]]:
    agencies: dict[str, dict[str, Any]] = {}
    for permit in permits:
        layer, records = permit.layer, found.get(permit.version.table)
        if not records or permit.count(records[0]["total"]) is None:
            continue
        entry = agencies.setdefault(
            layer.agency.name,
            {
                "agency": {"name": layer.agency.name, "title": layer.agency.title.in_language(language)},
                "layers": [],
            },
        )
        entry["layers"].append(_layer_answer(permit, wanted, records, language))
    return list(agencies.values())


def _layer_answer(permit: Permit, wanted: int, records: Sequence[Any], language: Language) -> dict[str, Any]:
    layer, current, of = permit.layer, permit.version, theme_of(permit.layer)
    # Present where the answer is for the cell around the requested one.
    coarser = {"resolution": permit.finest_cell} if permit.finest_cell < wanted else {}
    features = []
    for record in records:
        properties = json.loads(record["properties"])
        features.append(
            {
                "id": record["id"],
                "title": display.title(of, properties),
                "here": record["here"],
                "whole": record["whole"],
                "properties": {k: v for k, v in properties.items() if v is not None},
                "display": display.rows(permit.columns, of, properties, language),
            }
        )
    return {
        "layer": layer.id,
        "title": layer.title.in_language(language),
        "theme": of.name,
        "version": current.number,
        "published": current.published.isoformat().replace("+00:00", "Z"),
        "licence": layer.licence,
        "attribution": layer.attribution,
        "sample": layer.sample,
        "total": records[0]["total"],
        **coarser,
        "features": features,
    }
