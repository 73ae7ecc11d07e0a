"""Making entities with all that is described inside of them, all or nothing."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping
from typing import Any

import h3

from tiles.sensorthings.bodies import at, list_of, object_of, written, wrong
from tiles.sensorthings.change import Change
from tiles.sensorthings.errors import refuse
from tiles.sensorthings.fields import check_names, columns_of, placed_thing, stream_settings
from tiles.sensorthings.model import TYPES
from tiles.sensorthings.observing import read_body
from tiles.sensorthings.select import Key
from twin.catalogue.catalogue import split_layer_id
from twin.errors import Conflict, Forbidden
from twin.streams.declare import LOCATE_SQL
from twin.streams.reading import read_time
from twin.text import Text

LAYER_SQL = """
SELECT l.id FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id WHERE a.name || '.' || l.name = $1
"""
MOVE_SQL = "DELETE FROM live.thing_location WHERE thing_id = $1"
STAND_SQL = "INSERT INTO live.thing_location SELECT $1, unnest($2::int4[]) ON CONFLICT DO NOTHING"
HISTORY_SQL = """
WITH past AS (INSERT INTO live.historical_location (thing_id, time) VALUES ($1, $2) RETURNING id),
kept AS (INSERT INTO live.historical_location_location SELECT past.id, l FROM past, unnest($3::int4[]) AS l)
SELECT id FROM past
"""

RELATIONS: Mapping[str, Mapping[str, bool]] = {
    name: {n.name: n.many for n in entity.navigations.values()} for name, entity in TYPES.items()
}

Links = Mapping[str, int]


async def create(change: Change, entity: str, body: Any, pointer: str = "", links: Links | None = None) -> int | Key:
    """Make an entity and what is inside; return its id, of an Observation its key.

    `links` are the entities that it belongs to, by what the standard calls them.
    """
    given, links = object_of(body, pointer), links or {}
    if entity == "Observation":
        return await read_body(change, given, pointer, links)
    check_names(entity, given, RELATIONS[entity], pointer)
    change.count()
    match entity:
        case "Thing":
            return await _thing(change, given, pointer, links)
        case "Datastream":
            return await _datastream(change, given, pointer, links)
        case "HistoricalLocation":
            return await _historical_location(change, given, pointer, links)
    columns = columns_of(entity, given, pointer) | {"agency_id": (change.agency, "int4")}
    key = await change.insert(entity, columns)
    if entity == "Location":
        things = await _many(change, "Thing", given, "Things", pointer, {})
        for thing in [*things, *([links["Thing"]] if "Thing" in links else [])]:
            await stand_at(change, thing, [key])
    elif entity in ("Sensor", "ObservedProperty"):
        await _many(change, "Datastream", given, "Datastreams", pointer, {entity: key})
    else:
        await _many(change, "Observation", given, "Observations", pointer, {"FeatureOfInterest": key})
    return key


async def related(change: Change, entity: str, body: Any, pointer: str, links: Links | None = None) -> int:
    """Return the id of an entity that is linked to, or described and made."""
    found = await change.linked(entity, body, pointer)
    if found is not None:
        return found
    made = await create(change, entity, body, pointer, links)
    return made if isinstance(made, int) else 0


async def _many(
    change: Change, entity: str, body: Mapping[str, Any], name: str, pointer: str, links: Links
) -> list[int]:
    """Return the entities of an array: links, or descriptions. What has one owner is made, never linked."""
    found = []
    for number, one in enumerate(list_of(body.get(name, []), at(pointer, name))):
        place = at(at(pointer, name), number)
        if links:
            made = await create(change, entity, one, place, links)
            found.append(made if isinstance(made, int) else 0)
        else:
            found.append(await related(change, entity, one, place))
    return found


async def _one(change: Change, entity: str, body: Mapping[str, Any], pointer: str, links: Links) -> int:
    if entity in links:
        return links[entity]
    if entity not in body:
        raise wrong(
            at(pointer, entity), 'this is needed, as {{"@iot.id": 1}} or described.',
            'cần có phần này, dạng {{"@iot.id": 1}} hoặc mô tả đầy đủ.',
        )  # fmt: skip
    return await related(change, entity, body[entity], at(pointer, entity))


async def _thing(change: Change, body: Mapping[str, Any], pointer: str, links: Links) -> int:
    columns = columns_of("Thing", body, pointer)
    layer, placed, rest = placed_thing(body, pointer)
    layer_id = await layer_of(change, layer, f"{pointer}/properties/layer")
    if rest is not None:
        columns["properties"] = (written(rest), "jsonb")
    columns |= placed | {"layer_id": (layer_id, "int4")}
    key = await _with_code(change, "Thing", columns, "(layer_id, code)", f"{pointer}/properties/code")
    locations = await _many(change, "Location", body, "Locations", pointer, {})
    locations += [links["Location"]] if "Location" in links else []
    if locations:
        await stand_at(change, key, locations)
    elif "cell" in placed and placed["cell"][0] is not None:
        latitude, longitude = h3.cell_to_latlng(h3.int_to_str(placed["cell"][0]))
        point = {"type": "Point", "coordinates": [round(longitude, 7), round(latitude, 7)]}
        await change.connection.execute(LOCATE_SQL, change.agency, key, columns["name"][0], written(point))
    if "feature_id" in placed and layer is not None:
        change.layers_to_place.add(layer)
    await _many(change, "Datastream", body, "Datastreams", pointer, {"Thing": key})
    await _many(change, "HistoricalLocation", body, "HistoricalLocations", pointer, {"Thing": key})
    return key


async def layer_of(change: Change, layer: str | None, pointer: str) -> int:
    """Return the layer that a thing belongs to: the one that it names, which must be the agency's, else its own one."""
    if layer is None:
        if change.own_layer is None:
            raise NeedsLayer
        return change.own_layer
    agency, _ = split_layer_id(layer)
    if agency != change.agency_name:
        raise Forbidden(
            Text(
                en="This key is of “{own}” and cannot write into a layer of “{other}”.",
                vi="Khóa này thuộc “{own}”, không được ghi vào lớp của “{other}”.",
            ).format(own=change.agency_name, other=agency)
        )
    found = await change.connection.fetchval(LAYER_SQL, layer)
    if found is None:
        raise wrong(pointer, "“{own}” has no layer “{id}”.", "“{own}” không có lớp “{id}”.",
                    own=change.agency_name, id=layer)  # fmt: skip
    return int(found)


class NeedsLayer(Exception):
    """The agency has no layer of its own for things yet: it is made, and the change is tried again."""


async def stand_at(change: Change, thing: int, locations: list[int]) -> None:
    """Put a thing to other locations, and keep that it is there from now on."""
    await change.connection.execute(MOVE_SQL, thing)
    await change.connection.execute(STAND_SQL, thing, locations)
    await change.connection.fetchval(HISTORY_SQL, thing, change.now, list(dict.fromkeys(locations)))
    change.entities_changed = True


async def _historical_location(change: Change, body: Mapping[str, Any], pointer: str, links: Links) -> int:
    columns_of("HistoricalLocation", body, pointer)
    time = read_time(body["time"])
    thing = await _one(change, "Thing", body, pointer, links)
    locations = await _many(change, "Location", body, "Locations", pointer, {})
    locations += [links["Location"]] if "Location" in links else []
    if not locations:
        raise wrong(at(pointer, "Locations"), "at least one is needed.", "cần ít nhất một Location.")
    newest = await change.connection.fetchval(
        "SELECT max(time) FROM live.historical_location WHERE thing_id = $1", thing
    )  # fmt: skip
    change.entities_changed = True
    key = int(await change.connection.fetchval(HISTORY_SQL, thing, time, list(dict.fromkeys(locations))))
    if newest is None or time > newest:
        await change.connection.execute(MOVE_SQL, thing)
        await change.connection.execute(STAND_SQL, thing, locations)
    return key


async def _datastream(change: Change, body: Mapping[str, Any], pointer: str, links: Links) -> int:
    columns = columns_of("Datastream", body, pointer)
    settings, rest = stream_settings(body, pointer)
    if rest is not None:
        columns["properties"] = (written(rest), "jsonb")
    thing = await _one(change, "Thing", body, pointer, links)
    sensor = await _one(change, "Sensor", body, pointer, links)
    observed = await _one(change, "ObservedProperty", body, pointer, links)
    layer = await change.connection.fetchval("SELECT layer_id FROM live.thing WHERE id = $1", thing)
    columns |= settings | {
        "thing_id": (thing, "int4"), "sensor_id": (sensor, "int4"), "observed_property_id": (observed, "int4"),
        "layer_id": (layer, "int4"), "agency_id": (change.agency, "int4"),
    }  # fmt: skip
    key = await _with_code(change, "Datastream", columns, "(agency_id, code)", f"{pointer}/properties/code")
    await _many(change, "Observation", body, "Observations", pointer, {"Datastream": key})
    return key


async def _with_code(change: Change, entity: str, columns: dict[str, Any], unique: str, pointer: str) -> int:
    """Insert a row under the code that it names, else under one made from its name that nobody has."""
    conflict = f"ON CONFLICT {unique} DO NOTHING"
    if "code" in columns:
        key = await change.insert_unless(entity, columns, conflict)
        if key is None:
            raise Conflict(
                Text(en="{pointer}: the code “{code}” is taken.", vi="{pointer}: mã “{code}” đã được dùng.").format(
                    pointer=pointer, code=columns["code"][0]
                )
            )
        return key
    code = slug(columns["name"][0])
    for _ in range(4):
        key = await change.insert_unless(entity, columns | {"code": (code, "text")}, conflict)
        if key is not None:
            return key
        code = f"{code[:80]}-{secrets.token_hex(4)}"
    raise refuse("No code could be made from the name.", "Không tạo được mã từ tên.")


def slug(name: str) -> str:
    """Return a code for a name.

    Examples
    --------
    >>> slug("Trạm Bến Nghé 2")
    'tram-ben-nghe-2'
    """
    plain = unicodedata.normalize("NFD", name.replace("đ", "d").replace("Đ", "D")).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()[:80] or f"x{secrets.token_hex(4)}"
