"""A server of a city with streams at every sharing level, and who asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer, serving
from tests.streams.test_serving import LEVELS, write
from tests.streams.worlds import START, describe
from twin.access.keys import new_key
from twin.db.database import Database
from twin.db.tables import PrincipalRole

ACCOUNTS = {
    "own": ("env", PrincipalRole.READER), "device": ("env", PrincipalRole.DEVICE),
    "publisher": ("env", PrincipalRole.PUBLISHER), "operator": ("env", PrincipalRole.OPERATOR),
    "other": ("health", PrincipalRole.READER), "other device": ("health", PrincipalRole.DEVICE),
}  # fmt: skip
VALUES = 250


@dataclass(frozen=True)
class City:
    """The server, its keys by account, and the ids of its streams by code."""

    server: LiveServer
    keys: dict[str, dict[str, str]]
    ids: dict[str, int]

    @property
    def root(self) -> str:
        return f"{self.server.url}/sta/v1.1"

    def get(self, path: str, who: str = "nobody", **options: str) -> Any:
        """The JSON of an address; it must be there."""
        answer = self.ask(path, who, **options)
        assert answer.status_code == 200, (path, options, answer.text, self.server.log.read_text()[-1500:])
        return answer.json()

    def ask(self, path: str, who: str = "nobody", **options: str) -> httpx.Response:
        """The answer of an address; options are written without their sign."""
        address = path if path.startswith("http") else f"{self.root}/{path}"
        query = {f"${name}": value for name, value in options.items()}
        return httpx.get(address, params=query or None, headers=self.keys[who] | {"Accept-Language": "en"})

    def send(self, method: str, path: str, body: Any = None, who: str = "device", **more: Any) -> httpx.Response:
        """What a request that writes answers."""
        address = path if path.startswith("http") else f"{self.root}/{path}"
        content = {} if body is None else {"json": body}
        headers = self.keys[who] | {"Accept-Language": "en"} | more.pop("headers", {})
        return httpx.request(method, address, headers=headers, timeout=30, **content, **more)

    def post(self, path: str, body: Any, who: str = "device") -> str:
        """The address of what was made."""
        answer = self.send("POST", path, body, who)
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]


def keys_of(database: Database) -> dict[str, dict[str, str]]:
    """Headers by account."""
    keys: dict[str, dict[str, str]] = {"nobody": {}}
    with database.session() as session:
        for who, (agency, role) in ACCOUNTS.items():
            keys[who] = {"Authorization": f"Bearer {new_key(session, agency, who, role, 'a test')}"}
    return keys


@pytest.fixture(scope="module")
def city(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Three layers, each with a gauge of particles that has 250 values a minute apart, and a road with one."""
    describe(module_database, *LEVELS)
    keys = keys_of(module_database)
    ids: dict[str, int] = {}
    for level in LEVELS:
        past = [(START + timedelta(minutes=m), float(m)) for m in range(VALUES)]
        ids |= write(module_database, level, {"air": [*past], "road": [(datetime.now(UTC), 20.0)]})
    with serving(module_database, tmp_path_factory.mktemp("sta") / "server.log") as server:
        found = City(server, keys, ids)
        deadline = time.monotonic() + 20
        while found.ask("Things").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.1)
        yield found
