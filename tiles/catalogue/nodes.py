"""Pieces that every document of the catalogue is made of."""

from __future__ import annotations

from typing import Any

from tiles.catalogue.vocabulary import licence_address
from tiles.ogc.links import path
from twin.access.permit import Permit
from twin.text import LANGUAGES, Text

Node = dict[str, Any]


def texts(text: Text) -> list[Node]:
    """Return a text in both languages."""
    return [{"@value": text.in_language(lang), "@language": lang} for lang in LANGUAGES if text.in_language(lang)]


def typed(kind: str, value: object) -> Node:
    """Return a value with its type."""
    return {"@value": str(value), "@type": kind}


def licence_of(licence: str) -> Node | None:
    """Return a licence by its address where it has one, else by its name."""
    if not licence:
        return None
    node: Node = {"@type": "dct:LicenseDocument", "rdfs:label": licence}
    address = licence_address(licence)
    return {"@id": address, **node} if address else node


def address_of(base: str, chosen: Permit) -> str:
    """Where a dataset is described: the layer, or the version that is pinned."""
    address = path(base, "catalogue", chosen.layer.id)
    return f"{address}@{chosen.version.number}" if chosen.pinned else address
