"""The SQL of a request for features: what is read of each row, which rows, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiles.features.paging import PageStart, SortKey, beyond, order_by
from twin.catalogue.catalogue import Column, Version
from twin.db.tables import DATA_SCHEMA
from twin.query.expressions import Parameters
from twin.query.reference import WGS84, Reference

# Columns before the sort keys: the feature's number.
AFTER_FID = 1


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows are meant: of one version, under conditions, in an order, from a place on."""

    version: Version
    conditions: Sequence[str] = ()
    parameters: Parameters = field(default_factory=Parameters)
    keys: Sequence[SortKey] = ()
    place: PageStart | None = None

    @property
    def forward(self) -> bool:
        """Whether rows come in the requested order; a page before a place is read from its end."""
        return self.place is None or self.place.forward

    def select(self, columns: Sequence[str], limit: int | None) -> tuple[str, list[object]]:
        """Return a statement that gives the number, the sort keys and these columns of each row, with its values."""
        parameters = Parameters(list(self.parameters.values))
        conditions = list(self.conditions)
        if self.place is not None:
            conditions.append(beyond(self.keys, self.place, parameters))
        what = ", ".join(["f.fid", *(key.of.sql for key in self.keys), *columns])
        limited = f" LIMIT {parameters.add(limit, 'bigint')}" if limit is not None else ""
        return (
            f"SELECT {what} FROM {self._table}{_where(conditions)} "
            f"ORDER BY {order_by(self.keys, self.forward)}{limited}",
            parameters.values,
        )

    def count(self) -> tuple[str, list[object]]:
        """Return a statement that counts all rows under the conditions, whatever the page."""
        return f"SELECT count(*) FROM {self._table}{_where(self.conditions)}", self.parameters.values

    @property
    def _table(self) -> str:
        return f'{DATA_SCHEMA}."{self.version.table}" AS f'


def _where(conditions: Sequence[str]) -> str:
    return " WHERE " + " AND ".join(conditions) if conditions else ""


@dataclass(frozen=True, slots=True)
class FeatureText:
    """The SQL that writes features as JSON: what comes before the geometry, and what after it."""

    head: str
    tail: str
    reference: Reference

    def columns(self) -> list[str]:
        """Return the whole feature as one column; or in parts, where the geometry is written outside the database."""
        if self.reference.in_sql:
            return [f"{self.head} || {_geometry(self.reference)} || {self.tail} AS feature"]
        return [f"{self.head} AS head", f"{self.tail} AS tail", "ST_AsBinary(f.geom) AS wkb"]


def _geometry(reference: Reference) -> str:
    # Without the option, PostGIS adds the name of the coordinate system to each geometry.
    return f"ST_AsGeoJSON({reference.sql('f.geom')}, {reference.digits}, 0)"


def _properties(columns: Sequence[Column]) -> str:
    if not columns:
        return "'{}'"
    names = ", ".join(f'{c.sql("f")} AS "{c.name}"' for c in columns)
    return f"(SELECT row_to_json(p) FROM (SELECT {names}) AS p)::text"


def geojson(columns: Sequence[Column], reference: Reference) -> FeatureText:
    """Features as GeoJSON."""
    return FeatureText(
        """'{"type":"Feature","id":' || to_json(f.id)::text || ',"geometry":'""",
        f"""',"properties":' || {_properties(columns)} || '}}'""",
        reference,
    )


def jsonfg(moment: Column | None, columns: Sequence[Column], reference: Reference, feature_type: str) -> FeatureText:
    """Features as JSON-FG: with their time by its column, and `place` where the coordinates are not degrees."""
    start = (
        f"""'{{"type":"Feature","id":' || to_json(f.id)::text || ',"featureType":"{feature_type}","time":' || """
        f"{_time(moment)}"
    )
    tail = f"""',"properties":' || {_properties(columns)} || '}}'"""
    if reference == WGS84:
        return FeatureText(f"""{start} || ',"place":null,"geometry":'""", tail, reference)
    return FeatureText(
        f"""{start} || ',"coordRefSys":"{reference.uri}","geometry":' || {_geometry(WGS84)} || ',"place":'""",
        tail,
        reference,
    )


def _time(column: Column | None) -> str:
    if column is None:
        return "'null'"
    if column.type == "date":
        time = f"""'{{"date":"' || to_char({column.sql("f")}, 'YYYY-MM-DD') || '"}}'"""
    else:
        written = f"""to_char({column.sql("f")} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        time = f"""'{{"timestamp":"' || {written} || '"}}'"""
    return f"coalesce({time}, 'null')"


def table(columns: Sequence[Column], *, geometry: bool = True) -> list[str]:
    """Return the columns of a table of features: the id, the properties, the geometry as WKB."""
    return [
        "f.id",
        *(f'{c.sql("f")} AS "{c.name}"' for c in columns),
        *(["ST_AsBinary(f.geom) AS wkb"] if geometry else []),
    ]
