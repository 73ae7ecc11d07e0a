"""The formats that answers come in, chosen by `f=` or by the header Accept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from twin.errors import BadInput, NotAcceptable
from twin.text import Text


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name for `f=`, its media type, what people call it, how its file names end.

    `accepts` are further media types that mean it. One that is `whole` is written in one go, however large; others
    come in pages.
    """

    name: str
    media_type: str
    title: str
    suffix: str = "json"
    accepts: tuple[str, ...] = ()
    whole: bool = False


JSON = Format("json", "application/json", "JSON")
HTML = Format("html", "text/html", "HTML", "html", ("application/xhtml+xml",))
SCHEMA = Format("json", "application/schema+json", "JSON Schema", accepts=("application/json",))
GEOJSON = Format("json", "application/geo+json", "GeoJSON", "geojson", ("application/json",))
JSONFG = Format("jsonfg", "application/fg+json", "JSON-FG", "json", ("application/vnd.ogc.fg+json",))
NDJSON = Format("ndjson", "application/x-ndjson", "GeoJSON, line by line", "ndjson",
                ("application/ndjson", "application/jsonl"), whole=True)  # fmt: skip
SEQUENCE = Format("geojsonseq", "application/geo+json-seq", "GeoJSON Text Sequence", "geojsons", whole=True)
CSV = Format("csv", "text/csv", "CSV", "csv", whole=True)
FLATGEOBUF = Format("flatgeobuf", "application/vnd.flatgeobuf", "FlatGeobuf", "fgb",
                    ("application/flatgeobuf",), whole=True)  # fmt: skip
GEOPARQUET = Format("geoparquet", "application/vnd.apache.parquet", "GeoParquet", "parquet", whole=True)
MVT = Format("mvt", "application/vnd.mapbox-vector-tile", "Mapbox Vector Tile", "mvt")

DOCUMENT = (JSON, HTML)
SCHEMAS = (SCHEMA, HTML)
ITEM = (GEOJSON, JSONFG, HTML)
ITEMS = (GEOJSON, JSONFG, HTML, NDJSON, SEQUENCE, CSV, FLATGEOBUF, GEOPARQUET)


def negotiate(request: Request, offered: Sequence[Format]) -> Format:
    """Return the format that the request asks for; without a wish, the first."""
    if (named := request.query_params.get("f")) is not None:
        found = next((o for o in offered if o.name == named), None)
        if found is None:
            raise BadInput(
                Text(
                    en="f: “{named}” is not offered here. Known: {known}.",
                    vi="f: ở đây không có dạng “{named}”. Có: {known}.",
                ).format(named=named[:40], known=", ".join(o.name for o in offered))
            )
        return found
    accept = request.headers.get("accept")
    if not accept or accept == "*/*":
        return offered[0]
    for wanted in _by_weight(accept):
        for o in offered:
            if _matches(wanted, o):
                return o
    raise NotAcceptable(
        Text(
            en="Accept: none of these types is offered here. Known: {known}.",
            vi="Accept: ở đây không có kiểu nào trong số đó. Có: {known}.",
        ).format(known=", ".join(o.media_type for o in offered))
    )


def _by_weight(accept: str) -> list[str]:
    weighted = []
    for position, part in enumerate(accept.split(",")):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if weight > 0:
            weighted.append((-weight, position, media_type))
    return [media_type for *_, media_type in sorted(weighted)]


def _matches(wanted: str, o: Format) -> bool:
    own = (o.media_type, *o.accepts)
    return wanted == "*/*" or wanted in own or (wanted.endswith("/*") and o.media_type.startswith(wanted[:-1]))
