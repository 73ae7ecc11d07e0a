"""What a request for a layer's cells means: its parameters, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastapi import Request
from starlette.datastructures import QueryParams

from layers.contracts import theme_of
from tiles.cells.answers import CellsMetadata
from tiles.cells.outlines import square_kilometres
from tiles.cells.statement import CellsQuery
from tiles.cells.tiles import finest_at
from tiles.features.paging import BAD_TOKEN, read_token, version_of_token
from tiles.features.selection import permit_for
from tiles.http.principal import city_context, language_of, principal_of
from tiles.ogc import parameters as request_parameters
from tiles.ogc.formats import CSV, Format, negotiate
from tiles.ogc.parameters import Parameter
from tiles.vector.tile_matrix_sets import Grid, check_tile, find_grid
from tiles.vector.tilesets import TILE, permit_for_tile
from twin.access.permit import Permit, permit_of
from twin.catalogue.catalogue import Version
from twin.cells.cover import MAX_RESOLUTION
from twin.cells.rollup import Rolled, finest_within, resolution_for
from twin.errors import BadInput
from twin.query.expressions import Parameters
from twin.query.reference import offered
from twin.text import Text

# By default, the finest resolution of which the requested area holds at most about so many cells; and the usual page.
USUAL_CELLS = 5000
# What every row has; a field that is called so does not come along.
TAKEN = frozenset({"cell", "features", "per_km2"})

JSON = Format("json", "application/json", "JSON")
GEOJSON = Format("geojson", "application/geo+json", "GeoJSON", "geojson")
ARROW = Format("arrow", "application/vnd.apache.arrow.stream", "Arrow", "arrows", whole=True)
PARQUET = Format("parquet", "application/vnd.apache.parquet", "Parquet", "parquet", whole=True)
FORMATS = (JSON, GEOJSON, CSV, ARROW, PARQUET)

RESOLUTION = Parameter(
    "resolution", "H3 resolution, from 0 to that of the layer's own cells (`cellResolution` of the collection). "
    f"Without it the finest of which the requested area holds about {USUAL_CELLS:,} cells at most.",
    {"type": "integer", "format": "h3-resolution", "minimum": 0, "maximum": MAX_RESOLUTION},
)  # fmt: skip
PARAMETERS = (
    request_parameters.format_parameter(FORMATS),
    request_parameters.LANG,
    RESOLUTION,
    Parameter("bbox", "Cells that meet this box: west, south, east, north in degrees (EPSG:4326; six numbers: with "
              "heights, which are not used). West may be greater than east: the box then crosses the 180th meridian. "
              "A cell's numbers are always those of the whole cell.",
              {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6,
               "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}]}),
    *(replace(p, description=f"{p.description} The numbers are those of the features that match.")
      if p.name == "filter" else p for p in request_parameters.FILTER),
    request_parameters.DATETIME,
    Parameter("properties", "Only these numbers beside `features` and `per_km2`, with commas.",
              {"type": "array", "items": {"type": "string", "format": "rolled"}}),
    Parameter("limit", f"How many cells at most: {USUAL_CELLS:,} a page without it, and at most the server's limit "
              "(10,000, as set by TWIN_ITEMS_LIMIT). Formats that are written in one go (csv, arrow, parquet) give "
              "all cells without it, up to TWIN_STREAM_LIMIT.",
              {"type": "integer", "minimum": 1, "default": USUAL_CELLS}),
    request_parameters.VERSION,
    request_parameters.AS_OF,
    request_parameters.AT,
    Parameter("token", "Where a page begins; comes with the link `next`.", {"type": "string", "format": "cell-token"}),
)  # fmt: skip
NAMES = frozenset(p.name for p in PARAMETERS)
TILE_PARAMETERS = (
    Parameter("resolution", "H3 resolution; without it one that suits the zoom.", RESOLUTION.schema), *TILE,
)  # fmt: skip
TILE_NAMES = frozenset(p.name for p in TILE_PARAMETERS)
# What narrows the features that are counted.
NARROWING = ("filter", "filter-lang", "filter-crs", "datetime")


@dataclass(frozen=True, slots=True)
class CellsRequest:
    """A request for cells, understood."""

    chosen: Permit
    format: Format
    question: CellsQuery
    about: CellsMetadata
    limit: int
    given: dict[str, str]

    @property
    def pinned(self) -> dict[str, str]:
        """The parameters of other pages of the same answer: all that were given, with the version and resolution."""
        kept = {k: v for k, v in self.given.items() if k not in ("token", "asOf", "at")}
        return kept | {"version": str(self.chosen.version.number), "resolution": str(self.question.resolution)}


@dataclass(frozen=True, slots=True)
class CellTileRequest:
    """A request for a tile of cells, understood; `narrowed` tells one filter from another."""

    chosen: Permit
    grid: Grid
    question: CellsQuery
    narrowed: str


async def understand(request: Request, layer_id: str) -> CellsRequest:
    """Read a request for cells."""
    city, given = city_context(request), request.query_params
    current = permit_of(principal_of(request), city.layers, layer_id)
    form = negotiate(request, FORMATS)
    request_parameters.check_language(given)
    request_parameters.check_names(given, NAMES, {})
    number, at = request_parameters.read_version(given), request_parameters.read_as_of(given)
    if "token" in given and number is None and at is None:
        number = version_of_token(given["token"])
    chosen = await permit_for(city, current, number, at)
    settings = city.settings
    area = request_parameters.read_box(given["bbox"]) if "bbox" in given else None
    resolution = read_resolution(given, chosen)
    if resolution is None:
        resolution = _suiting(chosen, area.bounds if area is not None else None)
    parameters = Parameters()
    narrowing = QueryParams({k: v for k, v in given.items() if k in NARROWING})
    references = offered(settings.profile)
    conditions = await request_parameters.read_conditions(city.parser, narrowing, chosen, references, parameters)
    columns = read_columns(given, chosen)
    if form.whole:
        limit = request_parameters.read_limit(given, settings.stream_limit, settings.stream_limit)
    else:
        limit = request_parameters.read_limit(given, min(USUAL_CELLS, settings.items_limit), settings.items_limit)
    return CellsRequest(
        chosen=chosen,
        format=form,
        question=CellsQuery(chosen, resolution, columns, area, conditions, parameters, _after(given, chosen.version)),
        about=CellsMetadata(chosen, resolution, columns, language_of(request)),
        limit=limit,
        given=dict(given),
    )


async def understand_tile(
    request: Request, layer_id: str, grid: str, matrix: int, row: int, column: int
) -> CellTileRequest:
    """Read a request for a tile of cells."""
    city, given = city_context(request), request.query_params
    chosen, profile = await permit_for_tile(request, layer_id, TILE_NAMES), city.settings.profile
    found = find_grid(grid, profile)
    check_tile(found, matrix, column, row)
    zoom = found.zoom(matrix)
    resolution = read_resolution(given, chosen, finest_at(zoom))
    if resolution is None:
        resolution = min(resolution_for(zoom, theme_of(chosen.layer).rollup_cells), chosen.resolution)
    parameters = Parameters()
    conditions = await request_parameters.read_filter(city.parser, given, chosen, offered(profile), parameters)
    return CellTileRequest(
        chosen=chosen,
        grid=found,
        question=CellsQuery(chosen, resolution, offered_columns(chosen), None, conditions, parameters),
        narrowed=request_parameters.filter_key(given) if conditions else "",
    )


def read_resolution(given: QueryParams, permit: Permit, finest: int | None = None) -> int | None:
    """Read `resolution`, which may be as fine as the cells that may be shown, or as `finest` if that is coarser."""
    text = given.get("resolution")
    if text is None:
        return None
    finest = permit.resolution if finest is None else min(finest, permit.resolution)
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= finest):
        raise BadInput(
            Text(
                en="resolution: “{text}” is not possible here. Possible are: {known}.",
                vi="resolution: không dùng được “{text}” ở đây. Có thể dùng: {known}.",
            ).format(text=text[:20], known=", ".join(map(str, range(finest + 1))))
        )
    return int(text)


def offered_columns(chosen: Permit) -> tuple[Rolled, ...]:
    """Return the columns that have a value in a cell and may be shown."""
    rolled = theme_of(chosen.layer).rolled(c.name for c in chosen.columns)
    return tuple(c for c in rolled if c.name not in TAKEN)


def read_columns(given: QueryParams, chosen: Permit) -> tuple[Rolled, ...]:
    """Read `properties`: the numbers that an answer has, in the order of the theme."""
    there, text = offered_columns(chosen), given.get("properties")
    if text is None:
        return there
    names = {name.strip() for name in text.split(",")} - {""}
    if unknown := names - {c.name for c in there} - TAKEN:
        raise BadInput(
            Text(
                en="properties: cells of this layer have no “{name}”. Known: {known}.",
                vi="properties: ô của lớp này không có “{name}”. Có: {known}.",
            ).format(name=min(unknown)[:60], known=", ".join(c.name for c in there) or "—")
        )
    return tuple(c for c in there if c.name in names)


def _suiting(permit: Permit, box: tuple[float, float, float, float] | None) -> int:
    """Return the resolution that shows an area well: the requested box, as far as there are features in it."""
    bounds = permit.bounds or (0.0, 0.0, 0.0, 0.0)
    if box is not None:
        inner = max(box[0], bounds[0]), max(box[1], bounds[1]), min(box[2], bounds[2]), min(box[3], bounds[3])
        bounds = inner if inner[0] <= inner[2] and inner[1] <= inner[3] else box
    return min(finest_within(square_kilometres(bounds), USUAL_CELLS), permit.resolution)


def _after(given: QueryParams, version: Version) -> int | None:
    if "token" not in given:
        return None
    place = read_token(given["token"], ())
    if place.version != version.number or not place.forward:
        raise BadInput(BAD_TOKEN)
    return place.fid
