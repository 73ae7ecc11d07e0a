"""What the audit keeps of denied requests."""

from __future__ import annotations

from sqlalchemy.orm import Session

from twin.db.tables import Audit
from twin.errors import TwinError


def note_denied(session: Session, actor: str, key_id: str | None, layer_id: str | None, error: TwinError) -> None:
    """Record that somebody with a key tried to publish what the key may not."""
    detail = {"key": key_id, "reason": error.message.en}
    session.add(Audit(actor=actor, action="publish.denied", layer=layer_id and layer_id[:80], detail=detail))
