"""Declaring what a description says: its layers, its streams, and the features that they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import h3
import sqlalchemy as sa

from ingest.streams.description import SourceSpec, StreamDescription, declaration
from twin.catalogue.catalogue import ensure_agency, ensure_layer
from twin.db.database import Database
from twin.db.tables import Agency
from twin.errors import BadInput
from twin.streams.declare import Place, StreamDeclaration, declare_streams
from twin.text import Text


@dataclass(slots=True)
class DeclarationReport:
    """What was declared: streams by layer, their ids by (layer, code), and how many of the things have no place."""

    streams: dict[str, int] = field(default_factory=dict)
    ids: dict[tuple[str, str], int] = field(default_factory=dict)
    things: int = 0
    unplaced: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts for machines."""
        return {"streams": self.streams, "things": self.things, "unplaced": self.unplaced}


def ensure_layers(
    database: Database, description: StreamDescription, sources: Sequence[SourceSpec] | None = None
) -> None:
    """Make the layers that a description declares, or bring their entries up to date; agencies only if they are new.

    With `sources`, only the layers of those files.
    """
    needed = None if sources is None else {source.layer for source in sources}
    with database.session() as session:
        known = set(session.scalars(sa.select(Agency.name)))
        for agency in description.agency:
            if agency.name not in known:
                ensure_agency(session, agency.name, agency.title.text)
        for layer in description.layer:
            if needed is None or layer.id in needed:
                ensure_layer(session, layer.entry())


async def declare(connection: asyncpg.Connection, description: StreamDescription) -> DeclarationReport:
    """Declare the streams of a description's things; those of files are declared when their files are read.

    The layers have to be there: see `ensure_layers`.
    """
    groups: dict[tuple[str, str | None], list[StreamDeclaration]] = {}
    for thing in description.thing:
        place = thing.place
        groups.setdefault((thing.layer, place.layer), []).extend(
            declaration(
                value, thing=thing.code, thing_name=thing.name, code=f"{thing.code}.{value.kind}"[:100],
                basis=thing.basis, sensor=thing.sensor, description=thing.description,
                place=Place(place.feature, place.cell, place.point, place.note.text if place.note else None),
            )
            for value in thing.stream
        )  # fmt: skip
    report = DeclarationReport()
    for (layer, other), declarations in groups.items():
        placed = await place_declarations(connection, layer, other, declarations)
        await declare_into(connection, layer, placed, report)
    return report


async def declare_into(
    connection: asyncpg.Connection, layer: str, declarations: Sequence[StreamDeclaration], report: DeclarationReport
) -> None:
    """Declare streams of one layer and add them to a report."""
    if not declarations:
        return
    ids = await declare_streams(connection, layer, declarations)
    report.streams[layer] = report.streams.get(layer, 0) + len(ids)
    report.ids.update({(layer, code): key for code, key in ids.items()})
    things = {d.thing: is_placed(d.place) for d in declarations}
    report.things += len(things)
    report.unplaced += sum(not placed for placed in things.values())


def is_placed(place: Place) -> bool:
    """Tell whether a thing that was looked up by `place_declarations` stands anywhere."""
    return place.point is not None or place.cell is not None or (place.feature is not None and place.note is None)


TABLE_SQL = """
SELECT v.table_name FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id
JOIN twin.layer_version v ON v.id = l.current_version_id WHERE a.name || '.' || l.name = $1
"""


async def place_declarations(
    connection: asyncpg.Connection, layer: str, other: str | None, declarations: Sequence[StreamDeclaration]
) -> list[StreamDeclaration]:
    """Look up the features that declarations name; one that does not exist is a note that says so.

    A feature of the streams' own layer stays the thing's feature, also before it exists. A feature of another layer
    becomes a declared point, with that layer as its source.
    """

    names = sorted({d.place.feature for d in declarations if d.place.feature})
    points = await find_features(connection, other or layer, names)
    result = []
    for d in declarations:
        feature = d.place.feature
        if feature is None:
            _require_cell(d.place.cell)
            result.append(d)
            continue
        point, note = points.get(feature), d.place.note
        if point is None:
            note = note or Text(
                en="The layer {layer} has no feature “{feature}”.", vi="Lớp {layer} không có đối tượng “{feature}”."
            ).format(layer=other or layer, feature=feature)
            place = Place(None if other else feature, note=note)
        elif other is None:
            place = Place(feature)
        else:
            place = Place(
                point=point,
                note=note or Text(en="The feature “{feature}” of the layer {layer}.",
                                  vi="Đối tượng “{feature}” của lớp {layer}.").format(feature=feature, layer=other),
            )  # fmt: skip
        result.append(replace(d, place=place))
    return result


def _require_cell(cell: str | None) -> None:
    if cell is not None and not h3.is_valid_cell(cell):
        raise BadInput(
            Text(
                en="“{cell}” is not an H3 cell. A cell is written like 8a65b567514ffff.",
                vi="“{cell}” không phải ô H3. Ô được ghi như 8a65b567514ffff.",
            ).format(cell=cell[:40])
        )


async def find_features(
    connection: asyncpg.Connection, layer: str, ids: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """Return a point on each of these features of a layer's current version, as far as they exist."""
    table = await connection.fetchval(TABLE_SQL, layer)
    if table is None:
        return {}
    statement = (
        f"SELECT id, ST_X(p) AS x, ST_Y(p) AS y FROM (SELECT id, ST_PointOnSurface(geom) AS p "  # noqa: S608
        f'FROM layer_data."{table}" WHERE id = ANY($1::text[])) f'  # names come from the catalogue
    )
    return {row["id"]: (row["x"], row["y"]) for row in await connection.fetch(statement, list(ids))}
