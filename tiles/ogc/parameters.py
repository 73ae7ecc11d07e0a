"""The parameters of items: declared once, for the OpenAPI document and for the check of what a request names."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shapely.geometry.base import BaseGeometry
from starlette.datastructures import QueryParams

from tiles.ogc import formats
from tiles.ogc.filter_parsing import FilterParser
from twin.access.permit import Permit
from twin.catalogue.catalogue import Column
from twin.errors import BadInput
from twin.query import spatial
from twin.query.costs import check_cost
from twin.query.expressions import Parameters, Translator
from twin.query.moments import Span, read_datetime, read_day, read_moment
from twin.query.queryables import Queryable, moment_of, queryables
from twin.query.reference import CRS84, WGS84, Reference, read_reference
from twin.text import LANGUAGES, Text

DEFAULT_LIMIT = 10
MAX_IDS = 1000
# As many digits as Python makes a number of; a larger limit is taken for the greatest all the same.
WHOLE = re.compile(r"0{0,99}[1-9]\d{0,3999}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: its name, its JSON Schema, what it does. Lists are written with commas."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})

    def openapi(self) -> dict[str, Any]:
        """Return the parameter as OpenAPI describes it."""
        document: dict[str, Any] = {
            "name": self.name, "in": "query", "required": False, "description": self.description,
            "schema": dict(self.schema),
        }  # fmt: skip
        if self.schema.get("type") == "array":
            document |= {"style": "form", "explode": False}
        return document


def format_parameter(offered: Sequence[formats.Format]) -> Parameter:
    """Return the parameter `f` of an address that offers these formats."""
    return Parameter(
        "f", "Format of the answer; without it the header Accept decides.",
        {"type": "string", "enum": [o.name for o in offered]},
    )  # fmt: skip


LANG = Parameter("lang", "Language of the answer.", {"type": "string", "enum": list(LANGUAGES)})
CRS = Parameter("crs", "Coordinate system of the answer, by its address; see `crs` of the collection.",
                {"type": "string", "format": "crs", "default": CRS84})  # fmt: skip
VERSION = Parameter("version", "A kept version of the layer, by number; without it the current one.",
                    {"type": "integer", "format": "version", "minimum": 1, "maximum": 2**31 - 1})  # fmt: skip
AS_OF = Parameter("asOf", "The version that was current at this time (RFC 3339).",
                  {"type": "string", "format": "as-of"})  # fmt: skip
AT = Parameter("at", "The city as of this moment (RFC 3339): the version that was current then, unless `version` or "
               "`asOf` names another. The values of that moment are at /collections/{layer}/state.",
               {"type": "string", "format": "as-of"})  # fmt: skip
PROPERTIES = Parameter("properties", "Only these properties, with commas.",
                       {"type": "array", "items": {"type": "string", "format": "queryable"}})  # fmt: skip

DATETIME = Parameter("datetime", "A moment, a date (the whole day) or an interval start/end with .. for open "
                     "(RFC 3339), compared with the layer's primary instant; a layer that has none is not narrowed "
                     "by it.",
                     {"type": "string", "format": "moment-or-interval"})  # fmt: skip
FILTER = (
    Parameter("filter", "A CQL2 expression over the queryables.", {"type": "string", "format": "cql2"}),
    Parameter("filter-lang", "What `filter` is written in.",
              {"type": "string", "enum": ["cql2-text", "cql2-json"], "default": "cql2-text"}),
    Parameter("filter-crs", "Coordinate system of geometries in `filter`.",
              {"type": "string", "format": "crs", "default": CRS84}),
)  # fmt: skip

ITEM = (format_parameter(formats.ITEM), LANG, CRS, VERSION, AS_OF, AT, PROPERTIES)
ITEMS = (
    format_parameter(formats.ITEMS),
    LANG,
    Parameter("limit", "How many features at most. 10 without it; more than the server's limit (10,000, as set by "
              "TWIN_ITEMS_LIMIT) is taken for that limit. Formats that are written in one go (ndjson, geojsonseq, csv, "
              "flatgeobuf, geoparquet) give all features without it, up to TWIN_STREAM_LIMIT.",
              {"type": "integer", "minimum": 1, "default": DEFAULT_LIMIT}),
    Parameter("bbox", "Features that intersect this box: west, south, east, north (six numbers: with heights, which "
              "are not used), in the order of axes of `bbox-crs`. In degrees, west may be greater than east: the box "
              "then crosses the 180th meridian.",
              {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6,
               "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}]}),
    Parameter("bbox-crs", "Coordinate system of `bbox`.", {"type": "string", "format": "crs", "default": CRS84}),
    CRS,
    DATETIME,
    *FILTER,
    Parameter("sortby", "What to sort by, with commas; a minus before a name means falling.",
              {"type": "array", "items": {"type": "string", "format": "sort-key"}}),
    PROPERTIES,
    Parameter("ids", "Only the features with these ids, with commas.",
              {"type": "array", "items": {"type": "string"}, "maxItems": MAX_IDS}),
    VERSION,
    AS_OF,
    AT,
    Parameter("count", "Whether `numberMatched` is counted when a filter is set; without a filter it is always there.",
              {"type": "boolean", "default": False}),
    Parameter("token", "Where a page begins; comes with the links `next` and `prev`.",
              {"type": "string", "format": "page-token"}),
)  # fmt: skip
ITEM_NAMES = frozenset(p.name for p in ITEM)
ITEMS_NAMES = frozenset(p.name for p in ITEMS)


def check_names(given: QueryParams, known: Collection[str], further: Mapping[str, Any]) -> None:
    """Refuse a parameter that is not known, and one that is given twice."""
    seen: set[str] = set()
    for name, _ in given.multi_items():
        if name not in known and name not in further:
            raise BadInput(
                Text(
                    en="There is no parameter “{name}” here. Known: {known}.",
                    vi="Ở đây không có tham số “{name}”. Có: {known}.",
                ).format(name=name[:60], known=", ".join([*sorted(known), *further]))
            )
        if name in seen:
            raise BadInput(
                Text(
                    en="“{name}” is given twice. Write several values with commas.",
                    vi="“{name}” xuất hiện hai lần. Hãy ghi nhiều giá trị cách nhau bằng dấu phẩy.",
                ).format(name=name[:60])
            )
        seen.add(name)


def _refuse(name: str, value: str, wanted: Text) -> BadInput:
    return BadInput(
        Text(en="{name}: “{value}” is not {wanted}.", vi="{name}: “{value}” không phải {wanted}.").format(
            name=name, value=value[:60], wanted=wanted
        )
    )


def read_limit(given: QueryParams, default: int, maximum: int) -> int:
    """Read `limit`; a larger one than the maximum is taken for it."""
    text = given.get("limit")
    if text is None:
        return default
    if not WHOLE.fullmatch(text):
        raise _refuse("limit", text, Text(en="a whole number from 1 on", vi="số nguyên từ 1 trở lên"))
    return min(int(text), maximum)


def read_version(given: QueryParams) -> int | None:
    """Read `version`."""
    text = given.get("version")
    if text is None:
        return None
    if not WHOLE.fullmatch(text):
        raise _refuse("version", text, Text(en="a version's number", vi="số phiên bản"))
    return int(text)


def read_as_of(given: QueryParams) -> datetime | None:
    """Read `asOf`, else `at` where no version is named; a date means its end."""
    text = given.get("asOf")
    if text is None:
        moment = given.get("at")
        return read_moment(moment, "at", end_of_day=True) if moment is not None and "version" not in given else None
    if "version" in given:
        raise BadInput(Text(en="Give either version or asOf, not both.", vi="Chỉ cho version hoặc asOf, không cả hai."))
    return read_moment(text, "asOf", end_of_day=True)


def read_flag(given: QueryParams, name: str) -> bool:
    """Read a parameter that is true or false."""
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise _refuse(name, text, Text(en="true or false", vi="true hay false"))
    return text == "true"


def read_crs(given: QueryParams, name: str, known: Mapping[str, Reference]) -> Reference:
    """Read a parameter that names a coordinate system."""
    text = given.get(name)
    return WGS84 if text is None else read_reference(text, name, known)


def read_columns(given: QueryParams, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Read `properties`: the columns out of those that may be shown which an answer has, in their order."""
    text = given.get("properties")
    if text is None:
        return columns
    wanted = {name.strip() for name in text.split(",")} - {""}
    unknown = wanted - {c.name for c in columns} - {"id", "geometry"}
    if unknown:
        raise BadInput(
            Text(
                en="properties: there is no “{name}”. Known: {known}.", vi="properties: không có “{name}”. Có: {known}."
            ).format(name=min(unknown)[:60], known=", ".join(c.name for c in columns))
        )
    return tuple(c for c in columns if c.name in wanted)


async def read_conditions(
    parser: FilterParser, given: QueryParams, permit: Permit, references: Mapping[str, Reference],
    parameters: Parameters,
) -> list[str]:  # fmt: skip
    """Return the conditions that a request sets, as SQL that is joined with AND; their values go to the parameters."""
    known, found = queryables(permit.columns), []
    if (text := given.get("bbox")) is not None:
        box = spatial.to_wkb(read_box(text, read_crs(given, "bbox-crs", references)))
        found.append(f"ST_Intersects(f.geom, ST_GeomFromWKB({parameters.add(box, 'bytea')}, 4326))")
    elif "bbox-crs" in given:
        read_crs(given, "bbox-crs", references)
    if (text := given.get("datetime")) is not None:
        span, column = read_datetime(text), moment_of(permit.columns)
        if column is not None:
            found += _during(span, column, parameters)
    if (text := given.get("ids")) is not None:
        found.append(_ids(text, parameters))
    found += await read_filter(parser, given, permit, references, parameters)
    for name, text in given.items():
        if name not in ITEMS_NAMES:
            found.append(f"{known[name].sql} = {_value(name, text, known[name], parameters)}")
    return found


def read_box(text: str, reference: Reference = WGS84) -> BaseGeometry:
    """Read `bbox` as a geometry in EPSG:4326."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (4, 6) or not all(NUMBER.fullmatch(part) for part in parts):
        raise _refuse("bbox", text, Text(en="four or six numbers: west,south,east,north",
                                         vi="bốn hoặc sáu số: tây,nam,đông,bắc"))  # fmt: skip
    try:
        return spatial.box([float(part) for part in parts], reference)
    except BadInput as error:
        raise BadInput(Text(en=error.message.en.replace("filter:", "bbox:", 1),
                            vi=error.message.vi.replace("filter:", "bbox:", 1))) from None  # fmt: skip


def _during(span: Span, column: Column, parameters: Parameters) -> list[str]:
    found, name = [], column.sql("f")
    for sign, moment in ((">=", span.start), ("<=", span.end)):
        if moment is not None and column.type == "date":
            found.append(f"{name} {sign} {parameters.add(moment.date(), 'date')}")
        elif moment is not None:
            found.append(f"{name} {sign} {parameters.add(moment, 'timestamptz')}")
    return found or [f"{name} IS NOT NULL"]


def _ids(text: str, parameters: Parameters) -> str:
    listed = text.split(",")
    if len(listed) > MAX_IDS:
        raise BadInput(
            Text(en="ids: at most {limit} at once.", vi="ids: mỗi lần tối đa {limit}.").format(limit=MAX_IDS)
        )
    return f"f.id = ANY({parameters.add([i for i in listed if chr(0) not in i], 'text[]')})"


async def read_filter(
    parser: FilterParser, given: QueryParams, permit: Permit, references: Mapping[str, Reference],
    parameters: Parameters,
) -> list[str]:  # fmt: skip
    """Read `filter`, if there is one: a condition, whose values are added to the parameters."""
    language = given.get("filter-lang", "cql2-text")
    if language not in ("cql2-text", "cql2-json"):
        raise _refuse("filter-lang", language, Text(en="cql2-text or cql2-json", vi="cql2-text hay cql2-json"))
    reference = read_crs(given, "filter-crs", references)
    text = given.get("filter")
    if text is None:
        return []
    tree = await parser.parse(text, language)
    translator = Translator(queryables(permit.columns), parameters, reference, permit.version.bounds)
    condition = await parser.translate(text, lambda: translator.condition(tree))
    check_cost(translator.cost, permit.version.features)
    return [condition]


def filter_key(given: QueryParams) -> str:
    """Return a digest of the filter that a request sets, which tells it from others in caches and entity tags."""
    text = "\0".join(given.get(parameter.name, "") for parameter in FILTER)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _value(name: str, text: str, of: Queryable, parameters: Parameters) -> str:
    match of.kind:
        case "text" if "\x00" not in text:
            return parameters.add(text, "text")
        case "number" if NUMBER.fullmatch(text) and math.isfinite(float(text)):
            return parameters.add(float(text), "float8")
        case "boolean" if text in ("true", "false"):
            return parameters.add(text == "true", "boolean")
        case "date":
            return parameters.add(read_day(text, name), "date")
        case "time":
            return parameters.add(read_moment(text, name), "timestamptz")
    kinds = {"number": Text(en="a number", vi="số"), "boolean": Text(en="true or false", vi="true hay false")}
    raise _refuse(name, text, kinds.get(of.kind, Text(en="a value to compare with", vi="giá trị để so sánh")))


def check_language(given: QueryParams) -> None:
    """Refuse a language that is not offered."""
    if (text := given.get("lang")) is not None and text not in LANGUAGES:
        raise _refuse("lang", text, Text(en="one of: vi, en", vi="một trong: vi, en"))
