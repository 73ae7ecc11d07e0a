"""The accounts that a broker lets in: the keys that are valid now."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass

import asyncpg

from twin.access.principals import ACTIONS, Action
from twin.db.tables import PrincipalRole

# A key's secret has 256 random bits, so a single round would be enough; this is what Mosquitto's own tool writes.
ROUNDS = 101

ACCOUNTS_SQL = """
SELECT k.id, a.name AS agency, p.role, k.broker_hash
FROM twin.api_key k JOIN twin.principal p ON p.id = k.principal_id JOIN twin.agency a ON a.id = p.agency_id
WHERE k.revoked_at IS NULL AND k.broker_hash IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the broker: a key that is valid now."""

    key: str
    agency: str
    may_write: bool
    password_hash: str


def broker_hash(password: str) -> str:
    """Return a password's hash in the form of Mosquitto's password file: PBKDF2 with SHA-512 and a random salt."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS)
    return f"$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


async def read_accounts(connection: asyncpg.Connection) -> list[Account]:
    """Read the keys that a broker lets in. Keys that were made before brokers have no hash, and are not among them."""
    return [
        Account(row["id"], row["agency"], Action.OBSERVE in ACTIONS[PrincipalRole(row["role"])], row["broker_hash"])
        for row in await connection.fetch(ACCOUNTS_SQL)
    ]
