"""The model of entities: their properties as SQL, and how one leads to another.

In SQL `{a}` is the alias of the entity's own row, and `{p}` that of the entity which a navigation comes from. The
parameters `$1` (ids of the layers whose streams may be read) and `$2` (the id of the principal's agency, or null) are
the same in every statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["integer", "number", "text", "time", "period", "json", "geojson", "result", "observation_id"]


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an entity.

    `end` is the end of a period. `is_period` tells that it is written as an interval even if it is one moment.
    `geometry` is the geometry of a GeoJSON property. `in_all` tells that a null is written out.
    """

    name: str
    kind: Kind
    sql: str
    end: str = ""
    is_period: bool = False
    geometry: str = ""
    in_all: bool = False


@dataclass(frozen=True, slots=True)
class Navigation:
    """A way from an entity to others; `on` joins the target `{a}` to the entity `{p}`."""

    name: str
    target: str
    many: bool
    on: str


@dataclass(frozen=True, slots=True)
class EntityType:
    """A type of entities. `source` has the rows, `key` names the columns of the primary key with their types."""

    name: str
    set_name: str
    source: str
    visible: str
    key: tuple[tuple[str, str], ...]
    id: Property
    properties: Mapping[str, Property]
    navigations: Mapping[str, Navigation]


LAYER = (
    "(SELECT g.name || '.' || y.name FROM twin.layer y JOIN twin.agency g ON g.id = y.agency_id "
    "WHERE y.id = {a}.layer_id)"
)
READABLE = "{a}.layer_id = ANY($1::int4[])"
OWN = "{a}.agency_id = $2::int4"
READABLE_STREAMS = "FROM live.datastream s WHERE s.layer_id = ANY($1::int4[])"
READABLE_THINGS = "live.thing t ON t.id = x.thing_id WHERE t.layer_id = ANY($1::int4[])"

_ID = Property("id", "integer", "{a}.id")
_NAME = Property("name", "text", "{a}.name")
_DESCRIPTION = Property("description", "text", "{a}.description")
_ENCODING = Property("encodingType", "text", "{a}.encoding_type")
_PROPERTIES = Property("properties", "json", "nullif({a}.properties, '{{}}'::jsonb)")
_HAS_VALUES = "EXISTS (SELECT FROM live.observation o WHERE o.stream = {a}.id)"
# The first and the last value by the key of observations, never by a scan of them.
_FIRST = "(SELECT min(o.time) FROM live.observation o WHERE o.stream = {a}.id)"
_LAST = (
    "(SELECT greatest((SELECT max(o.time) FROM live.observation o WHERE o.stream = {a}.id), "
    "(SELECT d.until FROM live.observation_detail d WHERE d.stream = {a}.id ORDER BY d.time DESC LIMIT 1)))"
)
_RESULT_TIME = (
    "(SELECT d.result_time FROM live.observation_detail d WHERE d.stream = {{a}}.id AND d.result_time IS NOT NULL "
    "ORDER BY d.time {order} LIMIT 1)"
)
_AREA = (
    "CASE WHEN " + _HAS_VALUES + " THEN coalesce("
    "(SELECT f.geom FROM live.feature_of_interest f WHERE f.id = {a}.feature_of_interest_id), "
    "(SELECT l.geom FROM live.thing_location tl JOIN live.location l ON l.id = tl.location_id "
    "WHERE tl.thing_id = {a}.thing_id AND l.geom IS NOT NULL ORDER BY l.id DESC LIMIT 1)) END"
)
_FLAGS = (
    "nullif(jsonb_strip_nulls(jsonb_build_object('flags', (SELECT jsonb_agg(f.name ORDER BY f.bit) FROM (VALUES "
    "(1, 'missing'), (2, 'out_of_range'), (4, 'stuck'), (8, 'future'), (16, 'unit'), (32, 'suspect'), (64, 'too_old')) "
    "AS f (bit, name) WHERE {a}.flag & f.bit <> 0), "
    "'corrected', CASE WHEN EXISTS (SELECT FROM live.correction c WHERE c.stream = {a}.stream AND c.time = {a}.time) "
    "THEN true END, 'given', {a}_d.quality)), '{{}}'::jsonb)"
)
# What a client gave as the quality comes back as it was, unless something is known of the value beside it.
_QUALITY = (
    "CASE WHEN {a}.flag = 0 AND NOT EXISTS (SELECT FROM live.correction c WHERE c.stream = {a}.stream "
    "AND c.time = {a}.time) THEN {a}_d.quality ELSE " + _FLAGS + " END"
)
_UNIT = (
    "jsonb_build_object('name', {a}.unit_name, 'symbol', {a}.unit_symbol, 'definition', {a}.unit_definition)"
)  # fmt: skip


def _entity(
    name: str,
    set_name: str,
    table: str,
    visible: str,
    properties: tuple[Property, ...],
    navigations: tuple[Navigation, ...],
    key: tuple[tuple[str, str], ...] = (("id", "int4"),),
    id_property: Property = _ID,
) -> EntityType:
    return EntityType(
        name, set_name, table, visible, key, id_property,
        {p.name: p for p in properties}, {n.name: n for n in navigations},
    )  # fmt: skip


_TYPES = (
    _entity(
        "Thing", "Things", "live.thing {a}", READABLE,
        (
            _NAME, _DESCRIPTION,
            Property("properties", "json", "{a}.properties || jsonb_strip_nulls(jsonb_build_object('layer', " + LAYER
                     + ", 'code', {a}.code, 'feature', {a}.feature_id, 'cell', to_hex({a}.cell)))"),
        ),
        (
            Navigation("Datastreams", "Datastream", True, "{a}.thing_id = {p}.id"),
            Navigation("Locations", "Location", True,
                       "{a}.id IN (SELECT x.location_id FROM live.thing_location x WHERE x.thing_id = {p}.id)"),
            Navigation("HistoricalLocations", "HistoricalLocation", True, "{a}.thing_id = {p}.id"),
        ),
    ),
    _entity(
        "Location", "Locations", "live.location {a}",
        f"({OWN} OR {{a}}.id IN (SELECT x.location_id FROM live.thing_location x JOIN {READABLE_THINGS}) OR "
        "{a}.id IN (SELECT l.location_id FROM live.historical_location_location l JOIN live.historical_location x "
        f"ON x.id = l.historical_location_id JOIN {READABLE_THINGS}))",
        (
            _NAME, _DESCRIPTION, _ENCODING, Property("location", "geojson", "{a}.location", geometry="{a}.geom"),
            _PROPERTIES,
        ),
        (
            Navigation("Things", "Thing", True,
                       "{a}.id IN (SELECT x.thing_id FROM live.thing_location x WHERE x.location_id = {p}.id)"),
            Navigation("HistoricalLocations", "HistoricalLocation", True,
                       "{a}.id IN (SELECT x.historical_location_id FROM live.historical_location_location x "
                       "WHERE x.location_id = {p}.id)"),
        ),
    ),
    _entity(
        "HistoricalLocation", "HistoricalLocations", "live.historical_location {a}",
        "{a}.thing_id IN (SELECT t.id FROM live.thing t WHERE t.layer_id = ANY($1::int4[]))",
        (Property("time", "time", "{a}.time"),),
        (
            Navigation("Thing", "Thing", False, "{a}.id = {p}.thing_id"),
            Navigation("Locations", "Location", True,
                       "{a}.id IN (SELECT x.location_id FROM live.historical_location_location x "
                       "WHERE x.historical_location_id = {p}.id)"),
        ),
        (("id", "int8"),),
    ),
    _entity(
        "Datastream", "Datastreams", "live.datastream {a}", READABLE,
        (
            _NAME, _DESCRIPTION, Property("observationType", "text", "{a}.observation_type"),
            Property("unitOfMeasurement", "json", _UNIT),
            Property("observedArea", "geojson", "ST_AsGeoJSON(" + _AREA + ", 7)::jsonb", geometry="(" + _AREA + ")"),
            Property("phenomenonTime", "period", _FIRST, _LAST, is_period=True),
            Property("resultTime", "period", _RESULT_TIME.format(order=""), _RESULT_TIME.format(order="DESC"),
                     is_period=True),
            Property("properties", "json", "{a}.properties || jsonb_strip_nulls(jsonb_build_object('layer', " + LAYER
                     + ", 'code', {a}.code, 'kind', nullif({a}.kind, ''), 'basis', {a}.basis))"),
        ),
        (
            Navigation("Thing", "Thing", False, "{a}.id = {p}.thing_id"),
            Navigation("Sensor", "Sensor", False, "{a}.id = {p}.sensor_id"),
            Navigation("ObservedProperty", "ObservedProperty", False, "{a}.id = {p}.observed_property_id"),
            Navigation("Observations", "Observation", True, "{a}.stream = {p}.id"),
        ),
    ),
    _entity(
        "Sensor", "Sensors", "live.sensor {a}", f"({OWN} OR {{a}}.id IN (SELECT s.sensor_id {READABLE_STREAMS}))",
        (_NAME, _DESCRIPTION, _ENCODING, Property("metadata", "json", "{a}.metadata"), _PROPERTIES),
        (Navigation("Datastreams", "Datastream", True, "{a}.sensor_id = {p}.id"),),
    ),
    _entity(
        "ObservedProperty", "ObservedProperties", "live.observed_property {a}",
        f"({OWN} OR {{a}}.id IN (SELECT s.observed_property_id {READABLE_STREAMS}))",
        (_NAME, Property("definition", "text", "{a}.definition"), _DESCRIPTION, _PROPERTIES),
        (Navigation("Datastreams", "Datastream", True, "{a}.observed_property_id = {p}.id"),),
    ),
    _entity(
        "Observation", "Observations",
        "live.observation {a} JOIN live.datastream {a}_s ON {a}_s.id = {a}.stream "
        "LEFT JOIN live.observation_detail {a}_d ON {a}_d.stream = {a}.stream AND {a}_d.time = {a}.time",
        "{a}_s.layer_id = ANY($1::int4[])",
        (
            Property("phenomenonTime", "period", "{a}.time", "coalesce({a}_d.until, {a}.time)"),
            Property("resultTime", "time", "{a}_d.result_time", in_all=True),
            Property("result", "result", "coalesce({a}_d.result, to_jsonb({a}.value))", in_all=True),
            Property("resultQuality", "json", _QUALITY),
            Property("validTime", "period", "{a}_d.valid_from", "coalesce({a}_d.valid_until, {a}_d.valid_from)",
                     is_period=True),
            Property("parameters", "json", "{a}_d.parameters"),
        ),
        (
            Navigation("Datastream", "Datastream", False, "{a}.id = {p}.stream"),
            Navigation("FeatureOfInterest", "FeatureOfInterest", False,
                       "{a}.id = coalesce({p}_d.feature_of_interest_id, {p}_s.feature_of_interest_id)"),
        ),
        (("stream", "int4"), ("time", "timestamptz")),
        Property("id", "observation_id",
                 "({a}.stream || '@' || (extract(epoch FROM {a}.time) * 1000000)::bigint)"),
    ),
    _entity(
        "FeatureOfInterest", "FeaturesOfInterest", "live.feature_of_interest {a}",
        f"({OWN} OR {{a}}.id IN (SELECT s.feature_of_interest_id {READABLE_STREAMS}) OR EXISTS (SELECT FROM "
        "live.observation_detail x JOIN live.datastream s ON s.id = x.stream "
        "WHERE x.feature_of_interest_id = {a}.id AND s.layer_id = ANY($1::int4[])))",
        (
            _NAME, _DESCRIPTION, _ENCODING, Property("feature", "geojson", "{a}.feature", geometry="{a}.geom"),
            _PROPERTIES,
        ),
        (
            Navigation("Observations", "Observation", True,
                       "coalesce({a}_d.feature_of_interest_id, {a}_s.feature_of_interest_id) = {p}.id"),
        ),
    ),
)  # fmt: skip

TYPES: Mapping[str, EntityType] = {t.name: t for t in _TYPES}
SETS: Mapping[str, EntityType] = {t.set_name: t for t in _TYPES}


def rows_of(entity: EntityType, alias: str) -> str:
    """Return the rows of an entity as one item of a list of joined sources."""
    source = entity.source.format(a=alias)
    return f"({source})" if " JOIN " in source else source
