"""Finding layers in the catalogue: by words in either language, agency, theme, sharing level and freshness."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from layers.contracts import theme_of
from tiles.catalogue.freshness import FreshnessLevel, freshness
from twin.access.permit import Permit
from twin.catalogue.catalogue import Layer
from twin.db.tables import Sharing


@dataclass(frozen=True, slots=True)
class CatalogueQuery:
    """A search of the catalogue; None means any."""

    q: str | None = None
    agency: str | None = None
    theme: str | None = None
    sharing: Sharing | None = None
    freshness: FreshnessLevel | None = None


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Text as it is searched: small letters without tone marks, đ as d."""
    plain = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def searched_text(layer: Layer) -> str:
    """Return all text of a layer that words are looked for in."""
    of = theme_of(layer)
    texts = (layer.title, layer.description, layer.agency.title, of.title)
    return " ".join([layer.id, layer.attribution, *(text.en for text in texts), *(text.vi for text in texts)])


def search(permits: Iterable[Permit], wanted: CatalogueQuery, now: datetime) -> list[Permit]:
    """Keep the layers that fit; every word has to be found, somewhere."""
    words = fold(wanted.q).split() if wanted.q else []
    return [
        permit
        for permit in permits
        if (layer := permit.layer)
        and (wanted.agency is None or layer.agency.name == wanted.agency)
        and (wanted.theme is None or theme_of(layer).name == wanted.theme)
        and (wanted.sharing is None or layer.sharing is wanted.sharing)
        and (wanted.freshness is None or freshness(layer, now).state is wanted.freshness)
        and (not words or all(word in fold(searched_text(layer)) for word in words))
    ]
