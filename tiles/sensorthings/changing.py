"""Changing entities (PATCH), replacing them (PUT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiles.sensorthings.bodies import at, list_of, object_of, written, wrong
from tiles.sensorthings.change import Change
from tiles.sensorthings.creating import RELATIONS, layer_of, stand_at
from tiles.sensorthings.fields import check_names, columns_of, placed_thing, stream_settings

# Links that may be changed, with their columns.
LINKS: Mapping[str, Mapping[str, str]] = {
    "Datastream": {"Thing": "thing_id", "Sensor": "sensor_id", "ObservedProperty": "observed_property_id"},
    "HistoricalLocation": {"Thing": "thing_id"},
}
LAYER_OF_THING = "SELECT layer_id FROM live.thing WHERE id = $1"
MOVE_STREAMS = "UPDATE live.datastream SET layer_id = $2 WHERE thing_id = $1"


async def change_entity(change: Change, entity: str, key: int, body: Any, *, whole: bool) -> None:
    """Change the fields that a body names, or all of them; links move, what is described inside is refused."""
    given = object_of(body, "")
    check_names(entity, given, RELATIONS[entity], "")
    columns = columns_of(entity, given, "", partial=not whole)
    if entity == "Thing":
        await _thing(change, key, given, columns)
    elif entity == "Datastream":
        settings, rest = stream_settings(given, "")
        columns |= settings
        if rest is not None:
            columns["properties"] = (written(rest), "jsonb")
    for name in RELATIONS[entity]:
        if name not in given:
            continue
        if name in LINKS.get(entity, {}):
            linked = await _link(change, name, given[name], at("", name))
            columns[LINKS[entity][name]] = (linked, "int4")
            if entity == "Datastream" and name == "Thing":
                columns["layer_id"] = (await change.connection.fetchval(LAYER_OF_THING, linked), "int4")
        elif (entity, name) in (("Thing", "Locations"), ("Location", "Things")):
            ids = [
                await _link(change, name.removesuffix("s"), one, at(at("", name), n))
                for n, one in enumerate(list_of(given[name], at("", name)))
            ]
            for thing in [key] if entity == "Thing" else ids:
                await stand_at(change, thing, ids if entity == "Thing" else [key])
        else:
            raise wrong(at("", name), "this cannot be changed here.", "không thay đổi được ở đây.")
    await change.update(entity, key, columns)


async def _thing(change: Change, key: int, body: Mapping[str, Any], columns: dict[str, Any]) -> None:
    layer, placed, rest = placed_thing(body, "")
    if rest is None:
        return
    columns["properties"] = (written(rest), "jsonb")
    columns |= placed
    if layer is not None:
        layer_id = await layer_of(change, layer, "/properties/layer")
        columns["layer_id"] = (layer_id, "int4")
        await change.connection.execute(MOVE_STREAMS, key, layer_id)
        if "feature_id" in placed:
            change.layers_to_place.add(layer)


async def _link(change: Change, entity: str, body: Any, pointer: str) -> int:
    found = await change.linked(entity, body, pointer)
    if found is None:
        raise wrong(pointer, 'only a link fits here: {{"@iot.id": 1}}', 'chỉ nhận liên kết: {{"@iot.id": 1}}')
    return found
