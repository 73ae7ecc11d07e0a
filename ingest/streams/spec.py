"""What the parts of a description of streams have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from twin.text import Text


class Wrong(ValueError):
    """What is wrong with a description, in both languages."""

    def __init__(self, en: str, vi: str) -> None:
        super().__init__(en)
        self.text = Text(en=en, vi=vi)


class Part(BaseModel):
    """A part of a description: only known settings, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)
