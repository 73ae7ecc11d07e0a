"""Observations that clients send: one, many in arrays, changed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from tiles.sensorthings.bodies import at, list_of, object_of, text_of, wrong
from tiles.sensorthings.change import Change, set_aside_reason
from tiles.sensorthings.select import Key
from twin.errors import BadInput, TwinError
from twin.streams.reading import read_observation
from twin.streams.writer import Observation
from twin.text import Text

FIELDS = frozenset(
    {"result", "phenomenonTime", "resultTime", "validTime", "resultQuality", "parameters", "Datastream",
     "FeatureOfInterest", "id"}
)  # fmt: skip
COMPONENTS = FIELDS - {"Datastream", "FeatureOfInterest"} | {"FeatureOfInterest/id", "FeatureOfInterest/@iot.id"}
MOST_ROWS = 20_000

KEPT_SQL = """
SELECT o.value, s.unit_symbol, d.until, d.result_time, d.valid_from, d.valid_until, d.result::text AS result,
    d.quality::text AS quality, d.parameters::text AS parameters, d.feature_of_interest_id AS feature_of_interest
FROM live.observation o JOIN live.datastream s ON s.id = o.stream
LEFT JOIN live.observation_detail d ON d.stream = o.stream AND d.time = o.time
WHERE o.stream = $1 AND o.time = $2 FOR UPDATE OF o
"""


async def read_body(change: Change, body: Mapping[str, Any], pointer: str, links: Mapping[str, int]) -> Key:
    """Take an Observation into a change; return its key."""
    from tiles.sensorthings.creating import related

    for name in body:
        if name not in FIELDS and "@iot." not in name:
            raise wrong(at(pointer, name), "an Observation has no such field.", "Observation không có trường này.")
    if "result" not in body:
        raise wrong(at(pointer, "result"), "an Observation needs this field.", "Observation cần trường này.")
    if "Datastream" in links:
        stream = links["Datastream"]
    elif "Datastream" in body:
        stream = await related(change, "Datastream", body["Datastream"], at(pointer, "Datastream"))
    else:
        raise wrong(at(pointer, "Datastream"), 'this is needed: {{"@iot.id": 1}}', 'cần có: {{"@iot.id": 1}}')
    observation = read(stream, body, pointer, change.now)
    if "FeatureOfInterest" in links:
        feature: int | None = links["FeatureOfInterest"]
    elif "FeatureOfInterest" in body:
        feature = await related(
            change, "FeatureOfInterest", body["FeatureOfInterest"], at(pointer, "FeatureOfInterest")
        )
    else:
        feature = await change.default_feature(stream, at(pointer, "FeatureOfInterest"))
    _give_feature(observation, feature)
    change.observe(observation, pointer)
    return stream, observation.time


def read(stream: int, body: Mapping[str, Any], pointer: str, now: datetime) -> Observation:
    """Read an Observation; what is wrong is told with the place of the body."""
    for name in ("phenomenonTime", "resultTime", "validTime"):
        if body.get(name) is not None:
            text_of(body[name], at(pointer, name))
    try:
        return read_observation(stream, {k: v for k, v in body.items() if k in FIELDS}, now)
    except BadInput as error:
        raise BadInput(
            Text(en="{pointer}: {reason}", vi="{pointer}: {reason}").format(
                pointer=pointer or "/", reason=error.message
            )
        ) from None


def _give_feature(observation: Observation, feature: int | None) -> None:
    if feature is not None:
        observation.detail = (observation.detail or {}) | {"feature_of_interest": feature}


async def change_observation(change: Change, key: Key, body: Mapping[str, Any], *, whole: bool) -> Key:
    """Change an Observation, or replace it; the value that was there moves to the corrections.

    One that is moved to another time gets another id, which is returned.
    """
    from tiles.sensorthings.deleting import delete_observations

    for name in body:
        if (name not in FIELDS and "@iot." not in name) or name == "Datastream":
            raise wrong(at("", name), "this cannot be changed.", "không thay đổi được trường này.")
    if whole and "result" not in body:
        raise wrong("/result", "an Observation needs this field.", "Observation cần trường này.")
    stream, moment = key
    row = await change.connection.fetchrow(KEPT_SQL, stream, moment)
    if row is None:
        raise wrong("", "this Observation was removed meanwhile.", "Observation này vừa bị xóa.")
    given = {"phenomenonTime": moment.isoformat(), "result": row["value"], **body}
    found = read(stream, given, "", change.now)
    detail = dict(found.detail or {})
    if not whole:
        detail = _kept_detail(row, body) | detail
        if "result" not in body:
            # The value stays as it is, in the unit of the stream.
            found.unit = row["unit_symbol"]
    if "FeatureOfInterest" in body:
        feature = await change.linked("FeatureOfInterest", body["FeatureOfInterest"], "/FeatureOfInterest")
        if feature is None:
            raise wrong(
                "/FeatureOfInterest", 'only a link fits here: {{"@iot.id": 1}}', 'chỉ nhận liên kết: {{"@iot.id": 1}}'
            )
        detail["feature_of_interest"] = feature
    elif row["feature_of_interest"] is not None:
        detail["feature_of_interest"] = row["feature_of_interest"]
    found.detail = detail
    if found.time != moment:
        await delete_observations(change.connection, [(stream, moment)])
    change.observe(found, "")
    return stream, found.time


def _kept_detail(row: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an observation has beside its value, as far as the body does not say it anew."""
    fields = {
        "until": "phenomenonTime", "result_time": "resultTime", "valid_from": "validTime", "valid_until": "validTime",
        "result": "result", "quality": "resultQuality", "parameters": "parameters",
    }  # fmt: skip
    found = {}
    for name, field in fields.items():
        if row[name] is not None and field not in body:
            found[name] = orjson.loads(row[name]) if name in ("result", "quality", "parameters") else row[name]
    return found


async def read_arrays(change: Change, body: Any) -> tuple[list[Observation | TwinError], list[Observation]]:
    """Read the arrays of a CreateObservations request.

    Returns
    -------
    answers, good
        For each row its observation, or why it is none; and those that can be written.
    """
    answers: list[Observation | TwinError] = []
    for number, group in enumerate(list_of(body, "")):
        pointer = f"/{number}"
        given = object_of(group, pointer)
        components = list_of(given.get("components"), f"{pointer}/components")
        rows = list_of(given.get("dataArray"), f"{pointer}/dataArray")
        for place, name in enumerate(components):
            if name not in COMPONENTS or components.index(name) != place:
                raise wrong(
                    f"{pointer}/components/{place}", "this is not one of: {known}.", "không thuộc: {known}.",
                    known=", ".join(sorted(COMPONENTS)),
                )  # fmt: skip
        if "result" not in components:
            raise wrong(f"{pointer}/components", "“result” is missing.", "thiếu “result”.")
        if len(answers) + len(rows) > MOST_ROWS:
            raise wrong(pointer, "one request takes at most {most:,} rows.", "mỗi yêu cầu nhận tối đa {most:,} dòng.",
                        most=MOST_ROWS)  # fmt: skip
        answers += await _group(change, given, components, rows, pointer)
    return answers, [one for one in answers if isinstance(one, Observation)]


async def _group(
    change: Change, group: Mapping[str, Any], components: Sequence[str], rows: Sequence[Any], pointer: str
) -> list[Observation | TwinError]:
    """Read the rows of one Datastream. What is wrong with the Datastream is wrong with each of them."""
    feature: int | None = None
    try:
        stream = await change.linked("Datastream", group.get("Datastream"), f"{pointer}/Datastream")
        if stream is None:
            raise wrong(f"{pointer}/Datastream", 'this is needed: {{"@iot.id": 1}}', 'cần có: {{"@iot.id": 1}}')
        if not any(name.startswith("FeatureOfInterest") for name in components):
            feature = await change.default_feature(stream, f"{pointer}/Datastream")
    except TwinError as error:
        return [error] * len(rows)
    found: list[Observation | TwinError] = []
    known: dict[int, TwinError | None] = {}
    for number, row in enumerate(rows):
        try:
            found.append(await _row(change, stream, components, row, f"{pointer}/dataArray/{number}", feature, known))
        except TwinError as error:
            found.append(error)
    return found


async def _row(
    change: Change, stream: int, components: Sequence[str], row: Any, pointer: str, feature: int | None,
    known: dict[int, TwinError | None],
) -> Observation:  # fmt: skip
    values = list_of(row, pointer)
    if len(values) != len(components):
        raise wrong(pointer, "a row has a value for each component.", "mỗi dòng có một giá trị cho từng thành phần.")
    body = dict(zip(components, values, strict=True))
    for name in ("FeatureOfInterest/id", "FeatureOfInterest/@iot.id"):
        if name in body:
            given = body.pop(name)
            if not isinstance(given, int) or given not in known:
                await change.linked("FeatureOfInterest", {"@iot.id": given}, pointer)
                known[given] = None
            feature = given
    observation = read(stream, body, pointer, change.now)
    _give_feature(observation, feature)
    reason = set_aside_reason(observation, change.now)
    if reason is not None:
        raise wrong(pointer, reason[0], reason[1])
    return observation
