"""API keys: made, shown as tokens, checked and ended. Only a hash of a key's secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from twin.access.broker_accounts import broker_hash
from twin.access.principals import ANONYMOUS, Principal
from twin.db.tables import Agency, ApiKey, Audit, PrincipalRole
from twin.db.tables import Principal as PrincipalRow
from twin.errors import BadInput, NotFound, Unauthenticated
from twin.events import Event, notify
from twin.text import Text

TOKEN = re.compile(r"twin_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

NOT_VALID = Text(
    en="This API key is not valid. It may have been revoked; ask your agency for a new one.",
    vi="Khóa API không hợp lệ. Có thể khóa đã bị thu hồi; hãy xin đơn vị của bạn khóa mới.",
)


@dataclass(frozen=True, slots=True)
class Key:
    """A valid key as the server holds it: whose it is, and the hash of its secret."""

    principal: Principal
    secret_hash: bytes


KEYS_SQL = """
SELECT coalesce(json_agg(json_build_object('id', k.id, 'hash', encode(k.secret_hash, 'hex'),
    'name', p.name, 'agency', a.name, 'role', p.role)), '[]')::text
FROM twin.api_key k JOIN twin.principal p ON p.id = k.principal_id JOIN twin.agency a ON a.id = p.agency_id
WHERE k.revoked_at IS NULL
"""


def parse_keys(text: str) -> dict[str, Key]:
    """Read what KEYS_SQL gives: the valid keys by their public id."""

    def key(entry: dict[str, Any]) -> Key:
        return Key(
            Principal(entry["name"], entry["agency"], PrincipalRole(entry["role"]), entry["id"]),
            bytes.fromhex(entry["hash"]),
        )

    return {entry["id"]: key(entry) for entry in json.loads(text)}


def authenticate(token: str | None, keys: Mapping[str, Key]) -> Principal:
    """Return whose token this is: ANONYMOUS without one. Raise Unauthenticated if it is not valid."""
    if token is None:
        return ANONYMOUS
    match = TOKEN.fullmatch(token)
    key = keys.get(match[1]) if match else None
    if match is None or key is None or not hmac.compare_digest(key.secret_hash, _hash(match[2])):
        raise Unauthenticated(NOT_VALID)
    return key.principal


def _hash(secret: str) -> bytes:
    # The secret has 256 random bits: a fast hash is as safe as a slow one.
    return hashlib.sha256(secret.encode()).digest()


def new_key(session: Session, agency: str, name: str, role: PrincipalRole, actor: str) -> str:
    """Make a key for an account of an agency, and the account if it is new; return the token, kept nowhere else."""
    agency_key = session.scalar(sa.select(Agency.id).where(Agency.name == agency))
    if agency_key is None:
        known = ", ".join(session.scalars(sa.select(Agency.name).order_by(Agency.name)))
        raise NotFound(
            Text(
                en="There is no agency “{name}”. Agencies: {known}.",
                vi="Không có đơn vị “{name}”. Các đơn vị: {known}.",
            ).format(name=agency, known=known or "—")
        )
    principal = session.scalar(
        sa.select(PrincipalRow).where(PrincipalRow.agency_id == agency_key, PrincipalRow.name == name)
    )
    if principal is None:
        principal = PrincipalRow(agency_id=agency_key, name=name, role=role.value)
        session.add(principal)
    elif principal.role != role.value:
        raise BadInput(
            Text(
                en="“{name}” of {agency} exists with the role “{role}”. Choose that role or another name.",
                vi="“{name}” của {agency} đã có với vai trò “{role}”. Hãy chọn vai trò đó hoặc tên khác.",
            ).format(name=name, agency=agency, role=principal.role)
        )
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    token = f"twin_{key_id}_{secret}"
    session.add(ApiKey(id=key_id, principal=principal, secret_hash=_hash(secret), broker_hash=broker_hash(token)))
    session.add(Audit(actor=actor, action="key.new", detail={"key": key_id, "agency": agency, "principal": name}))
    notify(session, Event("key"))
    return token


def revoke_key(session: Session, key_id: str, actor: str) -> None:
    """End a key, by its public id (the part between the underscores); a server forgets it at once."""
    match = TOKEN.fullmatch(key_id)
    key = session.get(ApiKey, match[1] if match else key_id)
    if key is None or key.revoked_at is not None:
        raise NotFound(
            Text(en="There is no valid key “{id}”.", vi="Không có khóa hợp lệ “{id}”.").format(
                id=match[1] if match else key_id[:40]
            )
        )
    key.revoked_at = datetime.now(UTC)
    session.add(Audit(actor=actor, action="key.revoke", detail={"key": key.id}))
    notify(session, Event("key"))


def principal_of_key(session: Session, key_id: str) -> Principal:
    """Return whose key this is now, by the database. Raise Unauthenticated if it was revoked."""
    key = session.get(ApiKey, key_id)
    if key is None or key.revoked_at is not None:
        raise Unauthenticated(NOT_VALID)
    account = key.principal
    return Principal(account.name, account.agency.name, PrincipalRole(account.role), key.id)


def revoked_key(session: Session, token: str) -> ApiKey | None:
    """Return the key of a token that was revoked; None for any other text."""
    match = TOKEN.fullmatch(token)
    key = session.get(ApiKey, match[1]) if match else None
    if match and key and key.revoked_at and hmac.compare_digest(key.secret_hash, _hash(match[2])):
        return key
    return None
