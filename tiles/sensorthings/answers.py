"""Entities as JSON, with their links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from tiles.sensorthings.model import EntityType, Property
from tiles.sensorthings.options import Options
from tiles.sensorthings.select import Entity, Key, Page, id_of
from tiles.streams.answers import stamp


def self_link(root: str, entity: EntityType, key: Key) -> str:
    """Return the address of an entity; ids that are texts stand in quotation marks."""
    found = id_of(entity, key)
    shown = f"'{found}'" if isinstance(found, str) else found
    return f"{root}/{entity.set_name}({shown})"


def entity_json(root: str, entity: Entity) -> dict[str, Any]:
    """Return an entity: its id and links, its properties, and what was expanded."""
    options = entity.options or Options()
    wanted = options.select
    link = self_link(root, entity.type, entity.key)
    found: dict[str, Any] = {}
    if not wanted or "id" in wanted:
        found["@iot.id"] = id_of(entity.type, entity.key)
    if not wanted or "selfLink" in wanted:
        found["@iot.selfLink"] = link
    for name, value in entity.values.items():
        shown = entity.type.properties[name]
        if value is not None:
            found[name] = value_json(shown, value)
        elif shown.in_all:
            found[name] = None
    for name in entity.type.navigations:
        if name in entity.expanded:
            _add_expanded(root, found, f"{link}/{name}", name, entity.expanded[name])
        elif not wanted or name in wanted:
            found[f"{name}@iot.navigationLink"] = f"{link}/{name}"
    return found


def _add_expanded(root: str, found: dict[str, Any], link: str, name: str, inner: Entity | Page | None) -> None:
    if not isinstance(inner, Page):
        if inner is not None:
            found[name] = entity_json(root, inner)
        return
    if inner.count is not None:
        found[f"{name}@iot.count"] = inner.count
    found[name] = [entity_json(root, one) for one in inner.entities]
    if inner.token is not None:
        found[f"{name}@iot.nextLink"] = inner.options.link(link, inner.token)


def value_json(shown: Property, value: Any) -> Any:
    """Return a property's value for JSON."""
    if isinstance(value, tuple):
        start, end = value
        if shown.is_period or (end is not None and end != start):
            return f"{stamp(start)}/{stamp(end if end is not None else start)}"
        return stamp(start)
    if isinstance(value, datetime):
        return stamp(value)
    if shown.kind in ("json", "geojson", "result"):
        return orjson.Fragment(value)
    return value


def page_json(root: str, address: str, page: Page) -> dict[str, Any]:
    """Return a page of a set."""
    found: dict[str, Any] = {}
    if page.count is not None:
        found["@iot.count"] = page.count
    if page.token is not None:
        found["@iot.nextLink"] = page.options.link(address, page.token)
    found["value"] = _data_arrays(root, page) if page.options.data_array else [
        entity_json(root, one) for one in page.entities
    ]  # fmt: skip
    return found


def references_json(root: str, address: str, page: Page) -> dict[str, Any]:
    """Return the addresses of a page's entities."""
    found = page_json(root, address, Page([], page.token, page.count, page.options))
    found["value"] = [{"@iot.selfLink": self_link(root, e.type, e.key)} for e in page.entities]
    return found


def _data_arrays(root: str, page: Page) -> list[dict[str, Any]]:
    """Return observations as arrays, those of each Datastream together."""
    names = page.options.select
    of_stream: dict[int, list[Entity]] = {}
    for one in page.entities:
        of_stream.setdefault(one.key[0], []).append(one)
    groups = []
    for stream, entities in of_stream.items():
        shown = list(entities[0].values)
        components = [*(["id"] if not names or "id" in names else []), *shown]
        rows = []
        for one in entities:
            values = one.type.properties
            row = [None if one.values[n] is None else value_json(values[n], one.values[n]) for n in shown]
            rows.append([id_of(one.type, one.key), *row] if len(components) > len(shown) else row)
        groups.append(
            {
                "Datastream@iot.navigationLink": f"{root}/Datastreams({stream})", "components": components,
                "dataArray@iot.count": len(rows), "dataArray": rows,
            }
        )  # fmt: skip
    return groups
