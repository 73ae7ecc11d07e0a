"""What one reader sees of the catalogue, and what became different between two looks at it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tiles.http.server import CityContext
from twin.access.permit import Permit, every_permit
from twin.access.principals import Principal
from twin.catalogue.catalogue import Layer

# `shown`: the reader sees the layer now and did not before. `published`, `rolled-back`: another version is current, a
# later or an earlier one. `changed`: the description of the layer is another. `hidden`: no longer readable.
Kind = Literal["shown", "published", "rolled-back", "changed", "hidden"]


@dataclass(frozen=True, slots=True)
class VisibleLayer:
    """A layer as far as its changes are sent: its current version, and a digest of its description."""

    version: int
    published: str
    entry: str


View = Mapping[str, VisibleLayer]


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One layer that is another for a reader. One that is hidden has no version any more."""

    layer: str
    kind: Kind
    version: int | None
    published: str | None


class VisibleLayers:
    """What each reader sees of the catalogue as it is now; made once a catalogue, for many readers ask at once."""

    def __init__(self, city: CityContext) -> None:
        self._city = city
        self._catalogue: Mapping[str, Layer] | None = None
        self._layers: dict[tuple[str, str], VisibleLayer] = {}
        self._of: dict[Principal, View] = {}

    def of(self, reader: Principal, names: Collection[str] | None = None) -> View:
        """Return the reader's layers by id; with `names` those of them only."""
        catalogue = self._city.layers
        if catalogue is not self._catalogue:
            self._catalogue, self._of, self._layers = catalogue, {}, {}
        view = self._of.get(reader)
        if view is None:
            view = self._of[reader] = {
                permit.layer.id: self._described(permit) for permit in every_permit(reader, catalogue)
            }
        return view if names is None else {name: view[name] for name in names if name in view}

    def _described(self, permit: Permit) -> VisibleLayer:
        """Return the description of a layer, the same one for all principals whose permits are equal."""
        name = (permit.layer.id, permit.key)
        if name not in self._layers:
            self._layers[name] = _visible_layer(permit)
        return self._layers[name]


def state_of(view: View) -> str:
    """Return a short name of a view: equal for equal views, in every server process."""
    digest = hashlib.blake2b(digest_size=12)
    for name, layer in sorted(view.items()):
        digest.update(f"{name} {layer.version} {layer.entry}\n".encode())
    return digest.hexdigest()


def changes(before: View, now: View) -> Iterator[LayerChange]:
    """Yield what became different, however many steps lay in between."""
    for name, layer in now.items():
        old = before.get(name)
        if old != layer:
            yield LayerChange(name, _kind(old, layer), layer.version, layer.published)
    for name in before.keys() - now.keys():
        yield LayerChange(name, "hidden", None, None)


def _kind(before: VisibleLayer | None, now: VisibleLayer) -> Kind:
    if before is None:
        return "shown"
    if before.version == now.version:
        return "changed"
    return "published" if now.version > before.version else "rolled-back"


def _visible_layer(permit: Permit) -> VisibleLayer:
    layer, current = permit.layer, permit.version
    description = (
        layer.theme, layer.contract, layer.title, layer.description, layer.licence, layer.attribution,
        layer.sharing.value, layer.sample, layer.visible, layer.update_frequency, layer.agency, permit.key,
    )  # fmt: skip
    entry = hashlib.blake2b(repr(description).encode(), digest_size=12).hexdigest()
    return VisibleLayer(current.number, current.published.isoformat().replace("+00:00", "Z"), entry)
