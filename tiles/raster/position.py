"""The values of a raster at points, as OGC API — EDR has them: `position?coords=POINT(106.7 10.8)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import shapely
from fastapi import APIRouter, Request, Response

from layers.contracts import theme_of
from layers.palette import known_pixels
from tiles.features.items import LayerId
from tiles.features.selection import keeping, permit_of_request
from tiles.http.openapi import reads_parameters
from tiles.http.principal import city_context, language_of
from tiles.http.selection import is_known
from tiles.ogc import display
from tiles.ogc import parameters as request_parameters
from tiles.ogc.formats import GEOJSON, Format, negotiate
from tiles.ogc.parameters import Parameter, format_parameter
from tiles.ogc.schemas import Schema
from tiles.raster.files import OpenRaster
from tiles.raster.image import codes_of
from tiles.raster.routes import check_raster
from twin.access.permit import Permit
from twin.crs import transform
from twin.errors import BadInput
from twin.text import Language, Text

MAX_POINTS = 1000
MAX_TEXT = 60_000
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
UCUM = "http://www.opengis.net/def/uom/UCUM/"

COVERAGE = Format("covjson", "application/prs.coverage+json", "CoverageJSON", accepts=("application/vnd.cov+json",))
FORMS = (GEOJSON, COVERAGE)
COORDS = Parameter(
    "coords", "Where, in longitude and latitude, as WKT: `POINT(106.7 10.8)`, or `MULTIPOINT((106.7 10.8),(106.8 "
    f"10.9))` with at most {MAX_POINTS} points.", {"type": "string", "format": "wkt-points", "maxLength": MAX_TEXT},
)  # fmt: skip
PARAMETERS = (
    COORDS,
    format_parameter(FORMS),
    request_parameters.LANG,
    request_parameters.VERSION,
    request_parameters.AS_OF,
    request_parameters.AT,
)
NAMES = frozenset(p.name for p in PARAMETERS)

VALUE: Schema = {"type": ["number", "string", "null"]}
VALUES: Schema = {
    "type": "object",
    "required": ["type", "features", "layer", "version", "parameter"],
    "properties": {
        "type": {"const": "FeatureCollection"}, "layer": {"type": "string"}, "version": {"type": "integer"},
        "parameter": {"type": "string"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "geometry": {"type": "object"},
                    "properties": {
                        "type": "object",
                        "required": ["value", "label", "unit"],
                        "properties": {"value": VALUE, "label": {"type": ["string", "null"]},
                                       "unit": {"type": ["string", "null"]}},
                    },
                },
            },
        },
    },
}  # fmt: skip
COVERAGES: Schema = {
    "type": "object",
    "required": ["type", "domain", "parameters", "ranges"],
    "properties": {
        "type": {"const": "Coverage"}, "domain": {"type": "object"}, "parameters": {"type": "object"},
        "ranges": {"type": "object"},
    },
}  # fmt: skip

router = APIRouter(tags=["raster tiles"])

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SampledValues:
    """What a raster has at some points: its values, and where they are known."""

    chosen: Permit
    points: Points
    values: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]


@router.get(
    "/collections/{layer}/position",
    response_class=Response,
    responses={
        200: {
            "description": "The values",
            "content": {GEOJSON.media_type: {"schema": VALUES}, COVERAGE.media_type: {"schema": COVERAGES}},
        },
        304: {"description": "The reader has it already"},
        406: {"description": "Offered, but not in this form"},
    },
    summary="The values of a raster at points",
    openapi_extra={"parameters": [p.openapi() | ({"required": True} if p is COORDS else {}) for p in PARAMETERS]},
)
@reads_parameters
async def position(request: Request, layer: LayerId) -> Response:
    """Give the value of the pixel at each point, with unit or class; null outside the raster and where it has none."""
    city, given, language = city_context(request), request.query_params, language_of(request)
    one = check_raster(await permit_of_request(request, layer, NAMES))
    own = negotiate(request, FORMS)
    points, several = _read_points(given.get("coords"))
    headers = keeping(request, one, own.name, language) | {"Content-Language": language}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)

    def work(opened: OpenRaster) -> SampledValues:
        return sample(opened, one, points)

    sampled = await city.rasters.run(one, work)
    document = _coverage(sampled, several) if own is COVERAGE else _features(sampled, language)
    return Response(orjson.dumps(document), media_type=own.media_type, headers=headers)


def _read_points(text: str | None) -> tuple[Points, bool]:
    """Return the requested points, and whether they came as several."""
    wrong = BadInput(
        Text(
            en="coords: write longitude and latitude as POINT(106.7 10.8), or at most {limit} points as "
            "MULTIPOINT((106.7 10.8),(106.8 10.9)).",
            vi="coords: hãy ghi kinh độ và vĩ độ dạng POINT(106.7 10.8), hoặc tối đa {limit} điểm dạng "
            "MULTIPOINT((106.7 10.8),(106.8 10.9)).",
        ).format(limit=MAX_POINTS)
    )
    if text is None or len(text) > MAX_TEXT or "\x00" in text:
        raise wrong
    try:
        shape = shapely.from_wkt(text)
    except (shapely.GEOSException, UnicodeError):
        raise wrong from None
    if shape is None or shape.geom_type not in ("Point", "MultiPoint") or shape.is_empty:
        raise wrong
    points: Points = shapely.get_coordinates(shape)
    parts = shapely.get_num_geometries(shape)
    # An empty point among others has no coordinates.
    if len(points) != parts or parts > MAX_POINTS or not np.isfinite(points).all():
        raise wrong
    if (np.abs(points[:, 0]) > 180).any() or (np.abs(points[:, 1]) > 90).any():
        raise wrong
    return points, shape.geom_type == "MultiPoint"


def sample(opened: OpenRaster, one: Permit, points: Points) -> SampledValues:
    """Read the pixel that each point lies in; nothing is interpolated."""
    data, band = opened.data, int((one.version.raster or {}).get("band", 1))
    there = transform(points, 4326, opened.crs)
    inside = np.isfinite(there).all(axis=1)
    columns, rows = ~data.transform * (np.where(inside, there[:, 0], 0), np.where(inside, there[:, 1], 0))
    inside &= (columns >= 0) & (columns < data.width) & (rows >= 0) & (rows < data.height)
    values, known = np.zeros(len(points)), np.zeros(len(points), bool)
    places = [(float(x), float(y)) for x, y in there[inside]]
    read = list(data.sample(places, indexes=band, masked=True))
    if read:
        pixels = np.ma.stack(read)[:, 0]
        scale, offset = float(data.scales[band - 1]), float(data.offsets[band - 1])
        values[inside] = np.asarray(pixels.data, dtype=np.float64) * scale + offset
        known[inside] = ~np.ma.getmaskarray(pixels)
    known = known_pixels(theme_of(one.layer), values, known)
    codes = codes_of(one)
    if codes is not None:
        known &= np.isin(values, list(codes))
    return SampledValues(one, points, values, known)


def _value(sampled: SampledValues, i: int) -> float | None:
    # Single precision has seven digits: more would pretend to know better.
    return float(f"{sampled.values[i]:.7g}") if sampled.known[i] else None


def _features(sampled: SampledValues, language: Language) -> dict[str, Any]:
    """Return the values as GeoJSON: a feature for each point, in their order."""
    one, of = sampled.chosen, theme_of(sampled.chosen.layer)
    assert of.raster is not None  # noqa: S101  # `check_raster` saw to it
    field, codes = of.by_name[of.raster.field], codes_of(one)
    sign = display.unit(field.unit, language)
    features = []
    for i, (x, y) in enumerate(sampled.points.tolist()):
        value = _value(sampled, i)
        properties: dict[str, Any] = {"value": value, "label": None, "unit": field.unit}
        if value is not None and codes is not None:
            term = codes[int(value)]
            properties |= {"value": term, "label": display.value(term, field, language), "code": int(value)}
        elif value is not None:
            properties["label"] = f"{display.number(value, language)} {sign}".strip()
        features.append(
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": properties}
        )
    return {
        "type": "FeatureCollection",
        "layer": one.layer.id,
        "version": one.version.number,
        "published": one.version.published.isoformat().replace("+00:00", "Z"),
        "parameter": field.name,
        "title": field.title.in_language(language),
        "licence": one.layer.licence,
        "attribution": one.layer.attribution,
        "sample": one.layer.sample,
        "features": features,
    }


def _coverage(sampled: SampledValues, several: bool) -> dict[str, Any]:
    """Return the values as CoverageJSON: a point or a set of points; classes as their codes, with what these mean."""
    one, of = sampled.chosen, theme_of(sampled.chosen.layer)
    assert of.raster is not None  # noqa: S101
    field, codes = of.by_name[of.raster.field], codes_of(one)
    numbers = [_value(sampled, i) for i in range(len(sampled.points))]
    observed: dict[str, Any] = {"label": field.title.as_dict()}
    parameter: dict[str, Any] = {"type": "Parameter", "description": of.description.as_dict()}
    if codes is None:
        parameter["unit"] = {"symbol": {"type": UCUM, "value": field.unit or "1"}}
    else:
        terms = {t: sorted(code for code, meant in codes.items() if meant == t) for t in dict.fromkeys(codes.values())}
        vocabulary = field.vocabulary or {}
        observed["categories"] = [{"id": term, "label": vocabulary[term].title.as_dict()} for term in terms]
        parameter["categoryEncoding"] = terms
    parameter["observedProperty"] = observed
    xs, ys = sampled.points[:, 0].tolist(), sampled.points[:, 1].tolist()
    values = numbers if codes is None else [None if n is None else int(n) for n in numbers]
    array: dict[str, Any] = {
        "type": "NdArray", "dataType": "float" if codes is None else "integer", "values": values,
    }  # fmt: skip
    axes: dict[str, Any] = {"x": {"values": xs}, "y": {"values": ys}}
    if several:
        axes = {
            "composite": {
                "dataType": "tuple", "coordinates": ["x", "y"],
                "values": [[x, y] for x, y in zip(xs, ys, strict=True)],
            }
        }  # fmt: skip
        array |= {"axisNames": ["composite"], "shape": [len(values)]}
    return {
        "type": "Coverage",
        "twin:layer": one.layer.id,
        "twin:version": one.version.number,
        "domain": {
            "type": "Domain",
            "domainType": "MultiPoint" if several else "Point",
            "axes": axes,
            "referencing": [{"coordinates": ["x", "y"], "system": {"type": "GeographicCRS", "id": CRS84}}],
        },
        "parameters": {field.name: parameter},
        "ranges": {field.name: array},
    }
