"""Permits: what a principal may read of a version of a layer. Every channel works from one and from nothing beside."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h3

from twin.access import policy
from twin.access.policy import EVERYTHING, FINEST_CELL, Grant
from twin.access.principals import ANONYMOUS, Principal
from twin.catalogue.catalogue import Bounds, Column, Layer, Snapshot, Version
from twin.db.tables import Sharing
from twin.errors import BadInput, NotFound
from twin.text import Text

MAX_LAYERS = 40
KILOMETRES_A_DEGREE = 111.195


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be read of one version of a layer.

    `columns` are those that may be shown, filtered and sorted by; `Column.sql` reads one. `is_public` tells that
    everybody gets the same, so that a shared cache may keep an answer. `pinned` tells that the version was named, so
    that an answer never changes. `key` is part of the name of whatever is kept: it is empty where nothing is held
    back, and equal for equal permits of a version.
    """

    layer: Layer
    version: Version
    grant: Grant
    columns: tuple[Column, ...]
    pinned: bool
    is_public: bool
    key: str

    @property
    def name(self) -> str:
        """The layer with its version, as an unchanging address names it."""
        return f"{self.layer.id}@{self.version.number}"

    @property
    def finest_cell(self) -> int:
        """The finest H3 resolution at which anything may be shown; 15 is no limit."""
        return self.grant.finest_cell

    @property
    def least_count(self) -> int:
        """The least number of features that a cell or a count may tell; 1 is no limit."""
        return self.grant.least_count

    @property
    def resolution(self) -> int:
        """The H3 resolution of the finest cells that may be shown."""
        return min(self.version.resolution, self.finest_cell)

    @property
    def features(self) -> int | None:
        """How many features the version has, if that may be shown."""
        return self.count(self.version.features)

    @property
    def bounds(self) -> Bounds | None:
        """The extent in degrees (EPSG:4326), as exact as the finest cell allows."""
        bounds = self.version.bounds
        if bounds is None or self.finest_cell == FINEST_CELL:
            return bounds
        return _coarsened(bounds, self.finest_cell)

    @property
    def rollup(self) -> Mapping[str, Any] | None:
        """The stored roll-up, with the resolutions and columns that may be shown; None if there is none."""
        stored = self.version.stored_rollup
        if stored is None or not self.key:
            return stored
        shown = {column.name for column in self.columns}
        resolutions = [r for r in stored["resolutions"] if r <= self.finest_cell]
        # A stored mean may be weighted by a column that is hidden.
        hides = bool(self.grant.hidden_columns)
        rules = stored["columns"].items()
        columns = {name: rule for name, rule in rules if name in shown and not (hides and rule == "mean")}
        return {**stored, "resolutions": resolutions, "columns": columns} if resolutions else None

    def shows(self, name: str) -> bool:
        """Tell whether a column may be shown; one that the version does not store holds nothing back."""
        return name not in self.grant.hidden_columns

    def count(self, number: int) -> int | None:
        """Return a number of features, or None if it is too small to be shown."""
        return number if number >= self.least_count or self.least_count <= 1 else None

    def of_version(self, number: int) -> Permit:
        """Return the permit for another kept version of the layer. Raise NotFound if it is not kept."""
        version = self.layer.versions.get(number)
        if version is None:
            raise NotFound(
                Text(
                    en="“{id}” has no version {number} any more. Kept versions: {kept}.",
                    vi="Lớp “{id}” không còn phiên bản {number}. Các phiên bản còn giữ: {kept}.",
                ).format(id=self.layer.id, number=number, kept=", ".join(map(str, sorted(self.layer.versions))))
            )
        return _permit(self.layer, version, self.grant, self.is_public, pinned=True)

    def of_every_version(self) -> list[Permit]:
        """Return the permits for all kept versions, the newest first."""
        return [self.of_version(number) for number in sorted(self.layer.versions, reverse=True)]


def permit_of(principal: Principal, layers: Mapping[str, Layer], name: str) -> Permit:
    """Read `agency.layer` or `agency.layer@version` and return the principal's permit for it.

    Raises
    ------
    NotFound
        If the layer does not exist, has no version, or is hidden from the principal: all three answer alike.
    BadInput
        If the version is not a number.
    """
    layer_id, at, number = name.partition("@")
    layer = layers.get(layer_id)
    permit = _current_permit(principal, layers, layer) if layer is not None else None
    if permit is None:
        raise NotFound(Text(en="There is no layer “{id}”.", vi="Không có lớp dữ liệu “{id}”.").format(id=layer_id[:80]))
    if not at:
        return permit
    kept = _kept(layers)
    pinned: Permit | None = kept.get((name, permit.grant))
    if pinned is None or pinned.layer is not layer:
        pinned = kept[name, permit.grant] = _of_number(permit, number)
    return pinned


def permits_of(principal: Principal, layers: Mapping[str, Layer], names: str) -> tuple[Permit, ...]:
    """Read one name or several with commas, as `permit_of` reads them."""
    parts = names.split(",")
    if len(parts) > MAX_LAYERS or len(set(parts)) != len(parts):
        raise BadInput(
            Text(
                en="Name each layer once, at most {limit} of them.",
                vi="Mỗi lớp chỉ nêu một lần, tối đa {limit} lớp.",
            ).format(limit=MAX_LAYERS)
        )
    return tuple(permit_of(principal, layers, part) for part in parts)


def every_permit(principal: Principal, layers: Mapping[str, Layer]) -> list[Permit]:
    """Return the permits for the current versions of all layers that are not hidden from the principal."""
    found = (_current_permit(principal, layers, layer) for layer in layers.values())
    return [permit for permit in found if permit is not None]


def readable_streams(principal: Principal, layers: Mapping[str, Layer]) -> frozenset[str]:
    """Return the ids of the layers whose streams a principal may read; those of all others do not exist for it.

    A stream tells of one feature at one place. So where a grant allows larger cells only, or counts above one, the
    layer's streams are not told at all. A layer needs no version for its streams to be read.
    """
    kept = _kept(layers)
    name = ("streams", principal)
    found: frozenset[str] | None = kept.get(name)
    if found is None:
        grants = ((layer.id, policy.grant(principal, layer)) for layer in layers.values())
        found = kept[name] = frozenset(
            layer for layer, given in grants
            if given is not None and given.finest_cell == FINEST_CELL and given.least_count <= 1
        )  # fmt: skip
    return found


def operator_permit(layers: Mapping[str, Layer], name: str) -> Permit:
    """Return the permit of an operator at the database itself, from whom nothing is hidden."""
    layer_id, at, number = name.partition("@")
    layer = layers.get(layer_id)
    if layer is None or layer.current is None:
        raise NotFound(
            Text(
                en="There is no published layer “{id}”. See: twin layer list",
                vi="Không có lớp đã công bố “{id}”. Xem: twin layer list",
            ).format(id=layer_id[:80])
        )
    permit = whole_permit(layer, layer.current, pinned=False)
    return _of_number(permit, number) if at else permit


def operator_permits(layers: Mapping[str, Layer], names: Iterable[str]) -> tuple[Permit, ...]:
    """Return the operator's permits for some names, each once."""
    return tuple(operator_permit(layers, name) for name in dict.fromkeys(names))


def whole_permit(layer: Layer, version: Version, *, pinned: bool = True) -> Permit:
    """Return the operator's permit for a version."""
    return _permit(layer, version, EVERYTHING, _is_public(layer, EVERYTHING), pinned=pinned)


def same_key(permits: Sequence[Permit]) -> str:
    """Return one key for several permits: empty where nothing is held back of any of them."""
    return ",".join(permit.key for permit in permits) if any(permit.key for permit in permits) else ""


def _current_permit(principal: Principal, layers: Mapping[str, Layer], layer: Layer) -> Permit | None:
    if layer.current is None:
        return None
    given = policy.grant(principal, layer)
    if given is None:
        return None
    kept = _kept(layers)
    permit: Permit | None = kept.get((layer.id, given))
    if permit is None or permit.layer is not layer:
        permit = kept[layer.id, given] = _permit(layer, layer.current, given, _is_public(layer, given), pinned=False)
    return permit


def _kept(layers: Mapping[str, Layer]) -> dict[Any, Any]:
    """Return the permits that were made before of the same moment of the catalogue, by name and grant."""
    return layers.permits if isinstance(layers, Snapshot) else {}


def _is_public(layer: Layer, given: Grant) -> bool:
    if layer.sharing is not Sharing.OPEN:
        return False
    everybody_s = policy.grant(ANONYMOUS, layer)
    return everybody_s is given or everybody_s == given


def _permit(layer: Layer, version: Version, given: Grant, is_public: bool, *, pinned: bool) -> Permit:
    columns = given.columns(version.stored_columns)
    limited = given is not EVERYTHING and given != EVERYTHING
    return Permit(layer, version, given, columns, pinned, is_public, _key(columns, given) if limited else "")


def _key(columns: tuple[Column, ...], given: Grant) -> str:
    shown = [column.sql("f") for column in columns]
    digest = hashlib.blake2b(repr((shown, given.finest_cell, given.least_count)).encode(), digest_size=8)
    return digest.hexdigest()


def _of_number(permit: Permit, number: str) -> Permit:
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise BadInput(
            Text(
                en="“{number}” is not a version's number. Example: {id}@3",
                vi="“{number}” không phải số phiên bản. Ví dụ: {id}@3",
            ).format(number=number[:20], id=permit.layer.id)
        )
    return permit.of_version(int(number))


def _coarsened(bounds: Bounds, resolution: int) -> Bounds:
    """Widen an extent to a grid as coarse as the edge of a cell, so that it tells no feature's own place."""
    step = h3.average_hexagon_edge_length(resolution, "km") / KILOMETRES_A_DEGREE
    west, south, east, north = bounds
    return (
        max(-180.0, round(math.floor(west / step) * step, 7)), max(-90.0, round(math.floor(south / step) * step, 7)),
        min(180.0, round(math.ceil(east / step) * step, 7)), min(90.0, round(math.ceil(north / step) * step, 7)),
    )  # fmt: skip


def as_current(permit: Permit) -> Permit:
    """Return a permit whose answers may change although the version is another one than the current."""
    return replace(permit, pinned=False)
