"""Versions of a layer: which one is current, taking one back, dropping old ones, and what keeps publishers apart.

A published version never changes. Readers see the old one or the new one: the swap is one row in one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from twin.catalogue.catalogue import split_layer_id
from twin.catalogue.raster_files import RasterFolder
from twin.db.database import Database, libpq, speaking_of_database
from twin.db.tables import DATA_SCHEMA, Agency, Audit, Layer, LayerVersion, State
from twin.errors import Conflict, NotFound
from twin.events import Event, notify
from twin.text import Text

# The first half of the advisory lock that a publisher holds; the second is the layer's key.
PUBLISH_LOCK = 731_054
# A loader that was killed may have left a backend that is still building an index.
LOCK_WAIT_SECONDS = 60.0
DROP_LOCK_TIMEOUT = "3s"


def qualified(table: str) -> str:
    """Return a data table's name as SQL takes it."""
    return f'{DATA_SCHEMA}."{table}"'


@contextmanager
def lock(database: Database, layer_id: str) -> Iterator[int]:
    """Hold the layer for one publisher; give the layer's key. The database frees it when the program dies."""
    agency, name = split_layer_id(layer_id)
    url, settings = database.login("writer")
    options = " ".join(f"-c {k}={v}" for k, v in settings.items() if k == "role")
    with speaking_of_database(), psycopg.connect(libpq(url), autocommit=True, options=options) as connection:
        found = connection.execute(
            "SELECT l.id FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id WHERE a.name = %s AND l.name = %s",
            [agency, name],
        ).fetchone()
        if found is None:
            raise NotFound(Text(en="There is no layer “{id}”.", vi="Không có lớp dữ liệu “{id}”.").format(id=layer_id))
        (key,) = found
        until = time.monotonic() + LOCK_WAIT_SECONDS
        while not _taken(connection, key):
            if time.monotonic() > until:
                raise Conflict(
                    Text(
                        en="“{id}” is being published by somebody else at this moment. Try again when that is done.",
                        vi="Người khác đang công bố lớp “{id}”. Hãy thử lại khi việc đó xong.",
                    ).format(id=layer_id)
                )
            time.sleep(0.2)
        yield key


def _taken(connection: psycopg.Connection[Any], key: int) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [PUBLISH_LOCK, key]).fetchone()
    return bool(row and row[0])


def abandon(database: Database, layer_key: int, rasters: RasterFolder | None = None) -> None:
    """Give up the layer's unfinished versions, and remove the raster files that they or retired ones left behind.

    Only the holder of the layer's lock may: nobody else is filling one.
    """
    with database.session() as session:
        unfinished = session.scalars(
            sa.select(LayerVersion).where(LayerVersion.layer_id == layer_key, LayerVersion.state == State.STAGING.value)
        )
        for version in unfinished:
            drop(session, version.table_name)
            if rasters is not None:
                rasters.forget(version)
            session.delete(version)
        if rasters is not None:
            for version in session.scalars(
                sa.select(LayerVersion).where(
                    LayerVersion.layer_id == layer_key,
                    LayerVersion.state == State.RETIRED.value,
                    LayerVersion.raster.has_key("path"),
                )
            ):
                rasters.forget(version)


def tables_of(table: str) -> str:
    """Return all tables of a version, as SQL takes a list of them."""
    return ", ".join(qualified(table + tail) for tail in ("", "_cells", "_rollup"))


def drop(session: Session, table: str) -> None:
    """Drop a version's tables."""
    session.execute(sa.text(f"DROP TABLE IF EXISTS {tables_of(table)}"))


def point_to(session: Session, version: LayerVersion, layer_id: str, actor: str, action: str, reason: str) -> None:
    """Make a version the current one, with an audit row and a word to all listeners."""
    layer = session.get_one(Layer, version.layer_id)
    before = layer.current_version_id
    layer.current_version_id = version.id
    session.add(
        Audit(
            actor=actor,
            action=action,
            layer=layer_id,
            version=version.number,
            detail={"before": before, "source": version.source, "reason": reason},
        )
    )
    notify(session, Event("layer", layer_id, version.number))


def rollback(database: Database, layer_id: str, number: int | None, actor: str, reason: str = "") -> int:
    """Make an earlier version the current one: the given one, else the one before the current; give its number."""
    with lock(database, layer_id) as key, database.session() as session:
        layer = session.get_one(Layer, key)
        kept = list(
            session.scalars(
                sa.select(LayerVersion)
                .where(LayerVersion.layer_id == key, LayerVersion.state == State.PUBLISHED.value)
                .order_by(LayerVersion.number.desc())
            )
        )
        current = next((v for v in kept if v.id == layer.current_version_id), None)
        if number is None and current is not None:
            chosen = next((v for v in kept if v.number < current.number), None)
        else:
            chosen = next((v for v in kept if v.number == number), None)
        if chosen is None:
            raise NotFound(
                Text(
                    en="“{id}” has no such version to go back to. Kept versions: {kept}.",
                    vi="Lớp “{id}” không có phiên bản đó để quay lại. Các phiên bản còn giữ: {kept}.",
                ).format(id=layer_id, kept=", ".join(str(v.number) for v in kept) or "—")
            )
        point_to(session, chosen, layer_id, actor, "rollback", reason)
        return chosen.number


def retire(database: Database, layer_id: str, keep: int, rasters: RasterFolder | None = None) -> list[int]:
    """Drop the oldest versions beyond the last `keep`; the current one always stays. Gives the numbers dropped.

    A table that a reader holds at this moment is left for the next time. A raster's file goes after its version: should
    the program die in between, the next publish of the layer removes it.
    """
    agency, name = split_layer_id(layer_id)
    with database.session() as session:
        layer = session.scalars(sa.select(Layer).join(Agency).where(Agency.name == agency, Layer.name == name)).one()
        published = session.scalars(
            sa.select(LayerVersion)
            .where(LayerVersion.layer_id == layer.id, LayerVersion.state == State.PUBLISHED.value)
            .order_by(LayerVersion.number.desc())
        )
        old = [v.id for v in list(published)[keep:] if v.id != layer.current_version_id]
    done: dict[int, int] = {}
    for key in old:
        with suppress(sa.exc.OperationalError):
            with database.session() as session:
                session.execute(sa.text(f"SET LOCAL lock_timeout = '{DROP_LOCK_TIMEOUT}'"))
                version = session.get_one(LayerVersion, key)
                drop(session, version.table_name)
                version.state = State.RETIRED.value
                notify(session, Event("layer", layer_id))
            done[key] = version.number
    if rasters is not None and done:
        with database.session() as session:
            for key in done:
                rasters.forget(session.get_one(LayerVersion, key))
    return list(done.values())
