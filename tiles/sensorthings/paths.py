"""Addresses of entities: `Datastreams(1)/Thing/Locations`, `Observations('3@17…')/result/$value`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tiles.sensorthings.errors import missing, refuse
from tiles.sensorthings.model import SETS, TYPES, EntityType, Navigation
from tiles.sensorthings.select import Key, Selection
from tiles.sensorthings.sql_values import read_observation_id

MOST_STEPS = 20
_STEP = re.compile(r"(@?[A-Za-z$.]+)(?:\((.+)\))?")
ENDINGS = frozenset({"$value", "$ref", "$count"})
MOST_ID = {"int4": 2**31, "int8": 2**63}


@dataclass(slots=True)
class Place:
    """What an address leads to: a set, behind an entity or not, or one entity; then a property; then an ending."""

    entity: EntityType
    key: Key | None
    parent: tuple[EntityType, Key, Navigation] | None = None
    property: str | None = None
    ending: str | None = None
    # The set's own address, from the root.
    address: str = ""


def read_key(entity: EntityType, text: str) -> Key | None:
    """Read an id as it stands in brackets; None if no entity can have it."""
    if entity.name == "Observation":
        if not (len(text) > 2 and text[0] == text[-1] == "'"):
            return None
        return observation_key(text[1:-1])
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) < MOST_ID[entity.key[0][1]]):
        return None
    return (int(text),)


def observation_key(text: str) -> Key | None:
    """Read the id of an observation; None if it is none."""
    found = read_observation_id(text)
    if found is None:
        return None
    try:
        return found[0], datetime.fromtimestamp(0, UTC) + timedelta(microseconds=found[1])
    except OverflowError:
        return None


async def resolve(path: str, selection: Selection) -> Place:
    """Follow an address; every step must be there for its reader.

    Raises
    ------
    NotFound
        If a step leads to nothing that the reader may see.
    """
    steps = path.strip("/").split("/")
    if len(steps) > MOST_STEPS:
        raise refuse("The address has too many steps.", "Địa chỉ có quá nhiều bước.")
    ending = steps.pop() if steps[-1] in ENDINGS else None
    if not steps:
        raise missing()
    name, key_text = _step(steps[0])
    entity = SETS.get(name)
    if entity is None:
        raise missing()
    place = Place(entity, None, address=name)
    if key_text is not None:
        place.key = read_key(entity, key_text)
        if place.key is None or (len(steps) > 1 and not await selection.exists(entity, place.key)):
            raise missing()
    for step in steps[1:]:
        name, key_text = _step(step)
        if place.property is not None or place.key is None:
            raise missing()
        navigation = place.entity.navigations.get(name)
        if navigation is None:
            await _property(place, name, key_text)
            continue
        await _follow(place, place.key, navigation, key_text, selection)
    if not _fits(place, ending):
        raise missing()
    place.ending = ending
    return place


def _step(text: str) -> tuple[str, str | None]:
    match = _STEP.fullmatch(text)
    if match is None:
        raise missing()
    return match[1], match[2]


async def _property(place: Place, name: str, key_text: str | None) -> None:
    if key_text is not None or not (name in place.entity.properties or name in ("id", "@iot.id")):
        raise missing()
    place.property = name


async def _follow(place: Place, key: Key, navigation: Navigation, key_text: str | None, selection: Selection) -> None:
    target = TYPES[navigation.target]
    if navigation.many and key_text is None:
        place.parent = (place.entity, key, navigation)
        place.entity, place.key = target, None
        return
    wanted = read_key(target, key_text) if key_text is not None else None
    if key_text is not None and (wanted is None or not navigation.many):
        raise missing()
    found = await selection.keys_behind(place.entity, key, navigation, wanted)
    if found is None:
        raise missing()
    place.parent, place.entity, place.key = (place.entity, key, navigation), target, found


def _fits(place: Place, ending: str | None) -> bool:
    match ending:
        case "$value":
            return place.property is not None
        case "$count":
            return place.key is None and place.property is None
        case "$ref":
            return place.property is None
    return True
