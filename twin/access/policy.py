"""The one place that says who may read what. Every channel asks here."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from twin.catalogue.catalogue import Layer, split_layer_id
from twin.db.tables import Agency, ApiKey, Audit, PrincipalRole, Sharing
from twin.db.tables import Principal as PrincipalRow
from twin.errors import BadInput, Forbidden, NotFound, TwinError, Unauthenticated
from twin.events import Event, notify
from twin.text import Text

TOKEN = re.compile(r"twin_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: nobody in particular, or an account of an agency."""

    name: str
    agency: str | None = None
    role: PrincipalRole = PrincipalRole.READER
    key: str | None = None

    @property
    def actor(self) -> str:
        """How the records name it."""
        return f"{self.agency}/{self.name}" if self.agency else self.name


ANONYMOUS = Principal("anonymous")

NOT_VALID = Text(
    en="This API key is not valid. It may have been revoked; ask your agency for a new one.",
    vi="Khóa API không hợp lệ. Có thể khóa đã bị thu hồi; hãy xin đơn vị của bạn khóa mới.",
)
NEEDS_KEY = Text(
    en="A key is needed for this. Send it as the header “Authorization: Bearer …”.",
    vi="Việc này cần có khóa. Hãy gửi khóa trong tiêu đề “Authorization: Bearer …”.",
)


def may_read(principal: Principal, layer: Layer) -> bool:
    """Tell whether the reader may know of the layer at all, and so read it."""
    match layer.sharing:
        case Sharing.OPEN:
            return True
        case Sharing.SHARED:
            return principal.agency is not None
        case Sharing.RESTRICTED:
            return principal.agency == layer.agency.name


def may_see_history(principal: Principal, layer: Layer) -> bool:
    """Tell whether the reader may know who published a version, from which file: the layer's own agency may."""
    return principal.agency == layer.agency.name


def readable(principal: Principal, layers: Iterable[Layer]) -> list[Layer]:
    """Keep the layers that the reader may know of and that have a current version."""
    return [layer for layer in layers if layer.current is not None and may_read(principal, layer)]


def find_readable(principal: Principal, layers: Mapping[str, Layer], layer_id: str) -> Layer:
    """The layer of that id. One that is hidden from the reader answers exactly like one that does not exist."""
    layer = layers.get(layer_id)
    if layer is None or layer.current is None or not may_read(principal, layer):
        raise NotFound(Text(en="There is no layer “{id}”.", vi="Không có lớp dữ liệu “{id}”.").format(id=layer_id[:80]))
    return layer


def require_publisher(principal: Principal, layers: Mapping[str, Layer], layer_id: str) -> Layer:
    """The layer of that id, if the principal may publish into it.

    Another agency's layer is refused by its name alone, so that nothing is told of whether it exists.
    """
    agency, _ = split_layer_id(layer_id)
    if principal.agency is None:
        raise Unauthenticated(NEEDS_KEY)
    if principal.agency != agency:
        raise Forbidden(
            Text(
                en="This key is of “{own}” and cannot publish into a layer of “{other}”.",
                vi="Khóa này thuộc “{own}”, không được công bố vào lớp của “{other}”.",
            ).format(own=principal.agency, other=agency)
        )
    if principal.role == PrincipalRole.READER:
        raise Forbidden(
            Text(
                en="This key only reads. Ask for a key that publishes: twin key new --role publisher",
                vi="Khóa này chỉ được đọc. Hãy xin khóa có quyền công bố: twin key new --role publisher",
            )
        )
    layer = layers.get(layer_id)
    if layer is None:
        raise NotFound(
            Text(
                en="“{own}” has no layer “{id}” yet. Ask the platform's operator to make it (twin layer new).",
                vi="“{own}” chưa có lớp “{id}”. Hãy nhờ người vận hành tạo lớp (twin layer new).",
            ).format(own=agency, id=layer_id)
        )
    return layer


def principal_of_key(session: Session, key_id: str) -> Principal:
    """Whose key this is now, as the database says it; a revoked key is nobody's any more."""
    key = session.get(ApiKey, key_id)
    if key is None or key.revoked_at is not None:
        raise Unauthenticated(NOT_VALID)
    account = key.principal
    return Principal(account.name, account.agency.name, PrincipalRole(account.role), key.id)


def note_denied(session: Session, actor: str, key_id: str | None, layer_id: str | None, error: TwinError) -> None:
    """Write down that somebody with a key tried to publish what he may not."""
    detail = {"key": key_id, "reason": error.message.en}
    session.add(Audit(actor=actor, action="publish.denied", layer=layer_id and layer_id[:80], detail=detail))


def revoked_key(session: Session, token: str) -> ApiKey | None:
    """The key of a token that was good once; None for one that never was."""
    match = TOKEN.fullmatch(token)
    key = session.get(ApiKey, match[1]) if match else None
    if match and key and key.revoked_at and hmac.compare_digest(key.secret_hash, _hash(match[2])):
        return key
    return None


# Keys ----------------------------------------------------------------------------------------------


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
    """Tell who shows this token. None is nobody in particular; a token that is not valid is an error."""
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
    """Make a key for an account of an agency, and the account if it is new; give the token, kept nowhere else."""
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
    session.add(ApiKey(id=key_id, principal=principal, secret_hash=_hash(secret)))
    session.add(Audit(actor=actor, action="key.new", detail={"key": key_id, "agency": agency, "principal": name}))
    notify(session, Event("key"))
    return f"twin_{key_id}_{secret}"


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
