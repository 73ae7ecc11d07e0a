"""Which layers and versions a request names, each asked of the sharing policy; and how long an answer may be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twin import __version__
from twin.access.policy import Principal, find_readable
from twin.catalogue.catalogue import Layer, Version
from twin.db.tables import Sharing
from twin.errors import BadInput, NotFound
from twin.text import Text

MAX_LAYERS = 40
FOR_EVER = 31_536_000
FOR_NOW = 60
# A map may go on showing what it has for this long while it asks for what is new.
STALE = 600


@dataclass(frozen=True, slots=True)
class Chosen:
    """A layer of a tile request with the version that is meant."""

    layer: Layer
    version: Version
    pinned: bool

    @property
    def name(self) -> str:
        """The layer with its version, as an unchanging address names it."""
        return f"{self.layer.id}@{self.version.number}"


def choose(names: str, layers: dict[str, Layer], principal: Principal) -> tuple[Chosen, ...]:
    """Read `layer`, `layer@version` or several with commas; every one is asked of the sharing policy."""
    parts = names.split(",")
    if len(parts) > MAX_LAYERS or len(set(parts)) != len(parts):
        raise BadInput(
            Text(
                en="Name each layer once, at most {limit} of them.",
                vi="Mỗi lớp chỉ nêu một lần, tối đa {limit} lớp.",
            ).format(limit=MAX_LAYERS)
        )
    return tuple(choose_one(part, layers, principal) for part in parts)


def choose_one(name: str, layers: Mapping[str, Layer], principal: Principal) -> Chosen:
    """Read `layer` or `layer@version`, asked of the sharing policy."""
    layer_id, at, number = name.partition("@")
    return _version_of(find_readable(principal, layers, layer_id), at, number)


def choose_any(names: Sequence[str], layers: Mapping[str, Layer]) -> tuple[Chosen, ...]:
    """Choose for an operator at the database itself, from whom nothing is hidden."""
    chosen = []
    for name in dict.fromkeys(names):
        layer_id, at, number = name.partition("@")
        layer = layers.get(layer_id)
        if layer is None or layer.current is None:
            raise NotFound(
                Text(
                    en="There is no published layer “{id}”. See: twin layer list",
                    vi="Không có lớp đã công bố “{id}”. Xem: twin layer list",
                ).format(id=layer_id[:80])
            )
        chosen.append(_version_of(layer, at, number))
    return tuple(chosen)


def _version_of(layer: Layer, at: str, number: str) -> Chosen:
    assert layer.current is not None  # noqa: S101  # the callers saw to it
    layer_id = layer.id
    if not at:
        return Chosen(layer, layer.current, pinned=False)
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise BadInput(
            Text(
                en="“{number}” is not a version's number. Example: {id}@3",
                vi="“{number}” không phải số phiên bản. Ví dụ: {id}@3",
            ).format(number=number[:20], id=layer_id)
        )
    version = layer.versions.get(int(number))
    if version is None:
        raise NotFound(
            Text(
                en="“{id}” has no version {number} any more. Kept versions: {kept}.",
                vi="Lớp “{id}” không còn phiên bản {number}. Các phiên bản còn giữ: {kept}.",
            ).format(id=layer_id, number=int(number), kept=", ".join(map(str, sorted(layer.versions))))
        )
    return Chosen(layer, version, pinned=True)


def caching(chosen: Sequence[Chosen]) -> str:
    """How long an answer may be kept, and by whom: what is not open must not stay in a shared cache."""
    scope = "public" if all(c.layer.sharing is Sharing.OPEN for c in chosen) else "private"
    if all(c.pinned for c in chosen):
        return f"{scope}, max-age={FOR_EVER}, immutable"
    return f"{scope}, max-age={FOR_NOW}, stale-while-revalidate={STALE}"


def etag(chosen: Sequence[Chosen], *rest: object) -> str:
    """An answer is a pure function of the versions, the place and this program."""
    said = "/".join([__version__, *(f"{c.name}:{c.version.key}" for c in chosen), *map(str, rest)])
    return f'W/"{hashlib.sha256(said.encode()).hexdigest()[:24]}"'
