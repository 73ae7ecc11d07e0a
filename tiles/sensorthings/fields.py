"""What may be written of each entity: fields and their columns, and the entities that belong to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from layers.observed.registry import KINDS
from tiles.sensorthings.bodies import cell_of, geometry_of, number_of, object_of, text_of, written, wrong
from twin.streams.declare import CODE
from twin.streams.reading import read_time

FieldKind = Literal["text", "object", "json", "geometry", "unit", "time", "ignored"]
BASES = ("measured", "modelled", "simulated")


@dataclass(frozen=True, slots=True)
class Field:
    """A field with the columns that keep it, each with its type. One that is not required has a default."""

    name: str
    kind: FieldKind
    columns: tuple[tuple[str, str], ...]
    required: bool = True


def _text(name: str, column: str = "") -> Field:
    return Field(name, "text", ((column or name, "text"),))


_PROPERTIES = Field("properties", "object", (("properties", "jsonb"),), required=False)
_ENCODING = _text("encodingType", "encoding_type")
_COMMON = (_text("name"), _text("description"))

FIELDS: Mapping[str, tuple[Field, ...]] = {
    "Thing": (*_COMMON, _PROPERTIES),
    "Location": (
        *_COMMON, _ENCODING, Field("location", "geometry", (("location", "jsonb"), ("geom", "bytea"))), _PROPERTIES,
    ),
    "HistoricalLocation": (Field("time", "time", (("time", "timestamptz"),)),),
    "Datastream": (
        *_COMMON, _text("observationType", "observation_type"),
        Field("unitOfMeasurement", "unit",
              (("unit_name", "text"), ("unit_symbol", "text"), ("unit_definition", "text"))),
        # The server makes these from the observations.
        *(Field(name, "ignored", (), required=False) for name in ("observedArea", "phenomenonTime", "resultTime")),
        _PROPERTIES,
    ),
    "Sensor": (*_COMMON, _ENCODING, Field("metadata", "json", (("metadata", "jsonb"),)), _PROPERTIES),
    "ObservedProperty": (*_COMMON, _text("definition"), _PROPERTIES),
    "FeatureOfInterest": (
        *_COMMON, _ENCODING, Field("feature", "geometry", (("feature", "jsonb"), ("geom", "bytea"))), _PROPERTIES,
    ),
}  # fmt: skip

TABLES: Mapping[str, str] = {
    "Thing": "live.thing", "Location": "live.location", "HistoricalLocation": "live.historical_location",
    "Datastream": "live.datastream", "Sensor": "live.sensor", "ObservedProperty": "live.observed_property",
    "FeatureOfInterest": "live.feature_of_interest",
}  # fmt: skip

# What a client may say of a stream beside the standard, in `properties`.
SETTINGS: Mapping[str, str] = {
    "lowest": "lowest", "highest": "highest", "freshSeconds": "fresh_seconds", "everySeconds": "every_seconds",
    "stuckSeconds": "stuck_seconds", "factor": "factor", "offset": '"offset"',
}  # fmt: skip

Columns = dict[str, tuple[Any, str]]


def check_names(entity: str, body: Mapping[str, Any], relations: Mapping[str, bool], pointer: str) -> None:
    """Refuse fields that the entity does not have; ids and links, which a client may send back, are passed over."""
    known = {field.name for field in FIELDS[entity]} | set(relations) | {"id"}
    for name in body:
        if name not in known and "@iot." not in name:
            raise wrong(
                f"{pointer}/{name}", "{entity} has no such field. It has: {known}.",
                "{entity} không có trường này. Có: {known}.", entity=entity, known=", ".join(sorted(known)),
            )  # fmt: skip


def columns_of(entity: str, body: Mapping[str, Any], pointer: str, *, partial: bool = False) -> Columns:
    """Return the columns of an entity's fields with their values and types.

    Parameters
    ----------
    partial : bool
        Only the fields that are there; else required ones must be, and the others get their default.
    """
    found: Columns = {}
    for field in FIELDS[entity]:
        place = f"{pointer}/{field.name}"
        if field.name not in body:
            if partial or not field.required:
                if not partial and field.kind == "object":
                    found[field.columns[0][0]] = ("{}", "jsonb")
                continue
            raise wrong(
                place, "a {entity} needs this field.", "{entity} cần trường này.", entity=entity
            )  # fmt: skip
        values = _values(field, body[field.name], body, place)
        found |= {name: (value, kind) for (name, kind), value in zip(field.columns, values, strict=True)}
    return found


def _values(field: Field, value: Any, body: Mapping[str, Any], pointer: str) -> tuple[Any, ...]:
    match field.kind:
        case "text":
            return (text_of(value, pointer),)
        case "object":
            return (written({} if value is None else object_of(value, pointer)),)
        case "json":
            return (written(value),)
        case "time":
            return (read_time(text_of(value, pointer)),)
        case "unit":
            unit = object_of(value, pointer)
            parts = (unit.get("name"), unit.get("symbol"), unit.get("definition"))
            return tuple(None if part is None else text_of(part, pointer) for part in parts)
        case "geometry":
            encoding = body.get("encodingType")
            shape = geometry_of(value, encoding if isinstance(encoding, str) else None, pointer)
            return written(value), shape
    return ()


def placed_thing(body: Mapping[str, Any], pointer: str) -> tuple[str | None, Columns, dict[str, Any] | None]:
    """Take the layer, and the columns of place and code, out of a Thing's properties; return the rest as well."""
    given = body.get("properties")
    if given is None:
        return None, {}, None
    rest = dict(object_of(given, f"{pointer}/properties"))
    place = f"{pointer}/properties"
    layer = text_of(rest.pop("layer"), f"{place}/layer") if "layer" in rest else None
    columns: Columns = {}
    if "feature" in rest and "cell" in rest:
        raise wrong(f"{place}/cell", "a thing has a feature or a cell.", "thiết bị có đối tượng hoặc ô, không cả hai.")
    if "feature" in rest:
        columns |= {"feature_id": (text_of(rest.pop("feature"), f"{place}/feature"), "text"), "cell": (None, "int8")}
    if "cell" in rest:
        columns |= {"cell": (cell_of(rest.pop("cell"), f"{place}/cell"), "int8"), "feature_id": (None, "text")}
    if "code" in rest:
        columns["code"] = (_code(rest.pop("code"), f"{place}/code"), "text")
    return layer, columns, rest


def stream_settings(body: Mapping[str, Any], pointer: str) -> tuple[Columns, dict[str, Any] | None]:
    """Take the columns of a stream's settings out of a Datastream's properties; return the rest as well."""
    given = body.get("properties")
    if given is None:
        return {}, None
    place = f"{pointer}/properties"
    rest = dict(object_of(given, place))
    # Whose layer it is follows from the thing.
    rest.pop("layer", None)
    columns: Columns = {}
    if "code" in rest:
        columns["code"] = (_code(rest.pop("code"), f"{place}/code"), "text")
    if "kind" in rest:
        kind = text_of(rest.pop("kind"), f"{place}/kind")
        if kind not in KINDS and kind:
            raise wrong(
                f"{place}/kind", "there is no such kind of values: see /streams/kinds.",
                "không có loại giá trị này: xem /streams/kinds.",
            )  # fmt: skip
        columns["kind"] = (kind, "text")
    if "basis" in rest:
        basis = rest.pop("basis")
        if basis not in BASES:
            raise wrong(f"{place}/basis", "one of: {known}.", "một trong: {known}.", known=", ".join(BASES))
        columns["basis"] = (basis, "text")
    for name, column in SETTINGS.items():
        if name in rest:
            columns[column] = (number_of(rest.pop(name), f"{place}/{name}"), "float8")
    return columns, rest


def _code(value: Any, pointer: str) -> str:
    code = text_of(value, pointer)
    if not re.fullmatch(CODE, code):
        raise wrong(
            pointer, "a code has letters, digits and _ . : - only.", "mã chỉ gồm chữ không dấu, chữ số và _ . : -"
        )
    return code
