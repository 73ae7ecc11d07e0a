"""What the colours of a raster mean: as JSON for programs, as a picture (SVG) for pages."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import orjson
from fastapi import APIRouter, Request, Response

from layers.contracts import theme_of
from tiles.features.selection import keeping
from tiles.http.principal import City, CurrentPrincipal, Lang
from tiles.http.selection import is_known
from tiles.ogc import display
from tiles.ogc.formats import JSON, Format, negotiate
from tiles.ogc.parameters import format_parameter
from tiles.ogc.schemas import Schema
from tiles.raster.image import codes_of
from tiles.raster.routes import LayerName, only_raster
from twin.access.permit import Permit
from twin.text import Language, Text

SVG = Format("svg", "image/svg+xml", "SVG", "svg")
FORMS = (JSON, SVG)
LEGEND: Schema = {
    "type": "object",
    "required": ["layer", "version", "title", "kind", "entries"],
    "properties": {
        "layer": {"type": "string"}, "version": {"type": "integer"}, "title": {"type": "string"},
        "kind": {"enum": ["classes", "ramp"]}, "unit": {"type": ["string", "null"]},
        "shownFrom": {"type": ["number", "null"]}, "opacity": {"type": "number"},
        "entries": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["value", "label", "color"],
                "properties": {
                    "value": {"type": ["string", "number"]}, "codes": {"type": "array", "items": {"type": "integer"}},
                    "label": {"type": "string"}, "color": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
                },
            },
        },
    },
}  # fmt: skip
ROW, BOX = 20, 14

router = APIRouter(tags=["raster tiles"])


@router.get(
    "/collections/{layer}/map/legend",
    response_class=Response,
    responses={
        200: {
            "description": "The legend",
            "content": {JSON.media_type: {"schema": LEGEND}, SVG.media_type: {"schema": {"type": "string"}}},
        },
        304: {"description": "The reader has it already"},
        406: {"description": "Offered, but not in this form"},
    },
    summary="What the colours of a raster mean",
    openapi_extra={"parameters": [format_parameter(FORMS).openapi()]},
)
async def legend(request: Request, city: City, principal: CurrentPrincipal, lang: Lang, layer: LayerName) -> Response:
    """Give the classes of a raster, or the values between which its colours are blended, with unit."""
    one = only_raster(layer, city, principal)
    own = negotiate(request, FORMS)
    headers = keeping(request, one, own.name, lang) | {"Content-Language": lang}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    document = describe(one, lang)
    body = orjson.dumps(document) if own is JSON else _picture(document).encode()
    return Response(body, media_type=own.media_type, headers=headers)


def describe(one: Permit, language: Language) -> dict[str, Any]:
    """Return the legend of a version's raster: the classes that it has, or the stops of the theme's ramp."""
    of, codes = theme_of(one.layer), codes_of(one)
    assert of.raster is not None  # noqa: S101  # `only_raster` saw to it
    field, fill = of.by_name[of.raster.field], of.style["fill"]
    sign = display.unit(field.unit, language)
    entries: list[dict[str, Any]] = []
    if codes is None:
        for value, color in fill["stops"]:
            label = f"{display.number(value, language)} {sign}".strip()
            entries.append({"value": value, "label": label, "color": color})
    else:
        for term, entry in (field.vocabulary or {}).items():
            if numbers := sorted(code for code, meant in codes.items() if meant == term):
                color = fill["categories"].get(term, fill["other"])
                label = entry.title.in_language(language)
                entries.append({"value": term, "codes": numbers, "label": label, "color": color})
    return {
        "layer": one.layer.id,
        "version": one.version.number,
        "title": Text(en="{layer}: {field}", vi="{layer}: {field}")
        .format(layer=one.layer.title, field=field.title)
        .in_language(language),
        "kind": "ramp" if codes is None else "classes",
        "unit": field.unit,
        "shownFrom": of.raster.shown_from,
        "opacity": of.style.get("opacity", 1),
        "entries": entries,
    }


def _picture(document: dict[str, Any]) -> str:
    """Draw boxes of colour with their labels; of a ramp, with the colours blended between them."""
    entries = document["entries"]
    width = 24 + BOX + 7 * max([len(document["title"]), *(len(e["label"]) for e in entries)], default=0)
    height = ROW * (len(entries) + 1) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="8" y="18" font-weight="bold">{escape(document["title"])}</text>'
    ]
    top = ROW + 8
    if document["kind"] == "ramp" and len(entries) > 1:
        last = len(entries) - 1
        stops = "".join(f'<stop offset="{i / last:.4f}" stop-color="{e["color"]}"/>' for i, e in enumerate(entries))
        parts.append(
            f'<defs><linearGradient id="ramp" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient></defs>'
            f'<rect x="8" y="{top + BOX / 2}" width="{BOX}" height="{ROW * last}" fill="url(#ramp)" stroke="#888888"/>'
        )
    for i, entry in enumerate(entries):
        y = top + ROW * i
        if document["kind"] == "classes":
            parts.append(f'<rect x="8" y="{y}" width="{BOX}" height="{BOX}" fill="{entry["color"]}" stroke="#888888"/>')
        parts.append(f'<text x="{16 + BOX}" y="{y + 11}">{escape(entry["label"])}</text>')
    return "".join([*parts, "</svg>"])
