"""A city with two agencies, the server in the test's own process, and the programs outside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.test_publish import LAYER
from tests.uploads.programs import Programs, eventually
from tiles.app import create_app
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer
from twin.db.database import Database
from twin.db.tables import Sharing
from twin.text import Text


@pytest.fixture
def city(database: Database) -> Database:
    with database.session() as session:
        for agency in ("construction", "health"):
            ensure_agency(session, agency, Text(en=agency, vi=agency))
        ensure_layer(session, LayerEntry(LAYER, "buildings", Text(en="Houses", vi="Nhà"), sharing=Sharing.OPEN))
        ensure_layer(session, LayerEntry("construction.sheds", "buildings", Text(en="Sheds", vi="Lán")))
        ensure_layer(session, LayerEntry("health.clinics", "buildings", Text(en="Clinics", vi="Trạm")))
    return database


@pytest.fixture
def programs(city: Database, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(city, tmp_path)
    yield programs
    programs.stop()


@pytest.fixture
def door(programs: Programs) -> Iterator[TestClient]:
    """The server's application, asked without a network."""
    programs.settings |= {"TWIN_UPLOAD_BYTES": "5000000", "TWIN_UPLOADS_OPEN": "4"}
    with TestClient(create_app(programs.in_process(), programs.database)) as client:
        eventually(lambda: client.get("/health").status_code == 200)
        programs.asked = client
        yield client
