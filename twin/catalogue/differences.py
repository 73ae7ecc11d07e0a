"""What changed between two versions of a layer: features added, removed, moved, and fields with other values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from twin.catalogue.catalogue import Layer, Version
from twin.db.sql import json_object
from twin.db.tables import DATA_SCHEMA
from twin.errors import NotFound
from twin.text import Text

Kind = Literal["added", "removed", "changed"]
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """One feature that differs. `fields` holds (before, after) by field; `geometry` is WKB in EPSG:4326, the newest."""

    id: str
    kind: Kind
    geometry_changed: bool
    fields: dict[str, tuple[Any, Any]]
    geometry: bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """How many features differ, in which way, by field, and by ward; and columns that only one version has."""

    added: int
    removed: int
    geometry: int
    fields: dict[str, int]
    changed: int
    new_columns: tuple[str, ...]
    lost_columns: tuple[str, ...]
    wards: dict[str, int]

    @property
    def total(self) -> int:
        """All features that differ."""
        return self.added + self.removed + self.changed


def version_of(layer: Layer, number: int | None) -> Version:
    """Return a kept version of a layer: the one of that number, or the current one."""
    version = layer.current if number is None else layer.versions.get(number)
    if version is None:
        raise NotFound(
            Text(
                en="“{id}” has no version {number}. Kept versions: {kept}.",
                vi="Lớp “{id}” không có phiên bản {number}. Các phiên bản còn giữ: {kept}.",
            ).format(id=layer.id, number=number, kept=", ".join(map(str, sorted(layer.versions))) or "—")
        )
    return version


def _changed_rows(before: Version, after: Version) -> str:
    """Return the join of two versions, only the rows that differ: by the digest that every row keeps."""
    columns = {c.name: c.type for c in before.stored_columns}
    # A column of another type than before is compared as text.
    shared = [c.name for c in after.stored_columns if c.name in columns]
    same_type = {c.name for c in after.stored_columns if columns.get(c.name) == c.type}

    def value(side: str, name: str) -> str:
        return f'{side}."{name}"' + ("" if name in same_type else "::text")

    different = ", ".join(
        f"CASE WHEN {value('a', name)} IS DISTINCT FROM {value('b', name)} THEN '{name}' END" for name in shared
    )
    change = json_object([(name, f'jsonb_build_array(a."{name}", b."{name}")') for name in shared])
    return (
        "SELECT coalesce(b.id, a.id) AS id, "
        "CASE WHEN a.id IS NULL THEN 'added' WHEN b.id IS NULL THEN 'removed' ELSE 'changed' END AS kind, "
        "a.id IS NOT NULL AND b.id IS NOT NULL AND NOT ST_OrderingEquals(a.geom, b.geom) AS geometry_changed, "
        "CASE WHEN a.id IS NOT NULL AND b.id IS NOT NULL "
        f"THEN array_remove(ARRAY[{different}]::text[], NULL) ELSE ARRAY[]::text[] END AS names, "
        f"{change} AS change, coalesce(b.geom, a.geom) AS geom "
        f"FROM {DATA_SCHEMA}.{before.table} AS a FULL JOIN {DATA_SCHEMA}.{after.table} AS b ON a.id = b.id "
        "WHERE a.digest IS DISTINCT FROM b.digest"
    )


def counts_sql(before: Version, after: Version, columns: Sequence[str] | None = None) -> str:
    """Return a statement that counts the features added, removed and changed; it reads both versions once.

    With `columns`, which both versions store, a feature has changed only if its geometry or one of these has.
    """
    changed = ""
    if columns is not None:
        values = "".join(f' OR a."{name}"::text IS DISTINCT FROM b."{name}"::text' for name in columns)
        changed = f" AND (a.id IS NULL OR b.id IS NULL OR NOT ST_OrderingEquals(a.geom, b.geom){values})"
    return (
        "SELECT count(*) FILTER (WHERE a.id IS NULL) AS added, count(*) FILTER (WHERE b.id IS NULL) AS removed, "
        "count(*) FILTER (WHERE a.id IS NOT NULL AND b.id IS NOT NULL) AS changed "
        f"FROM {DATA_SCHEMA}.{before.table} AS a FULL JOIN {DATA_SCHEMA}.{after.table} AS b ON a.id = b.id "
        f"WHERE a.digest IS DISTINCT FROM b.digest{changed}"
    )


def summary(session: Session, before: Version, after: Version, wards: Version | None = None) -> Summary:
    """Count what differs; with a version of ward polygons, also by the ward that a feature's inner point lies in."""
    session.execute(sa.text(f"CREATE TEMP TABLE difference ON COMMIT DROP AS {_changed_rows(before, after)}"))
    counts = _pairs(session, "SELECT kind, count(*) FROM difference GROUP BY kind")
    moved = session.scalar(sa.text("SELECT count(*) FROM difference WHERE geometry_changed")) or 0
    by_field = _pairs(
        session,
        "SELECT name, count(*) FROM difference, unnest(names) AS name GROUP BY name ORDER BY 2 DESC, 1",
    )
    old, new = {c.name for c in before.stored_columns}, {c.name for c in after.stored_columns}
    return Summary(
        added=counts.get("added", 0),
        removed=counts.get("removed", 0),
        geometry=moved,
        fields=by_field,
        changed=counts.get("changed", 0),
        new_columns=tuple(c.name for c in after.stored_columns if c.name not in old),
        lost_columns=tuple(c.name for c in before.stored_columns if c.name not in new),
        wards=_by_ward(session, wards) if wards else {},
    )


def _by_ward(session: Session, wards: Version) -> dict[str, int]:
    # Wards overlap, as real ones do: each feature counts in one.
    return _pairs(
        session,
        "SELECT coalesce(w.name, '—'), count(*) FROM difference d LEFT JOIN LATERAL (SELECT name "
        f"FROM {DATA_SCHEMA}.{wards.table} WHERE ST_Intersects(geom, ST_PointOnSurface(d.geom)) "
        "ORDER BY name LIMIT 1) AS w ON true GROUP BY 1 ORDER BY 2 DESC, 1",
    )


def _pairs(session: Session, statement: str) -> dict[str, int]:
    return dict(session.execute(sa.text(statement)).all())


def changes(session: Session, before: Version, after: Version) -> Iterator[Change]:
    """Stream every feature that differs, in bounded memory."""
    rows = session.execute(
        sa.text(
            "SELECT id, kind, geometry_changed, names, change, ST_AsBinary(geom) AS geom "
            f"FROM ({_changed_rows(before, after)}) AS d ORDER BY id"
        ),
        execution_options={"stream_results": True, "max_row_buffer": BATCH},
    )
    for row in rows:
        fields = {name: (row.change[name][0], row.change[name][1]) for name in row.names}
        yield Change(row.id, row.kind, row.geometry_changed, fields, bytes(row.geom))
