"""Messages of devices: which stream a topic means, and which observations a payload holds.

    in/AGENCY/CODE                                the agency's own name of a stream
    in/AGENCY/v1.1/Datastreams(ID)/Observations   as SensorThings has it
    in/AGENCY/v1.1/Observations                   the payload names its Datastream

A payload is a number, an object, or an array of those; `twin.streams.reading` says what an object may have.
"""

from __future__ import annotations

import re
from datetime import datetime

import asyncpg
import msgspec

from twin.errors import BadInput, NotFound
from twin.streams.reading import read_observation
from twin.streams.stream import Stream, StreamDirectory
from twin.streams.writer import Observation
from twin.text import Text

MOST_IN_ONE = 10_000

_OWN = re.compile(r"in/([a-z][a-z0-9]{0,19})/([^/]{1,100})")
_STANDARD = re.compile(r"in/([a-z][a-z0-9]{0,19})/v1\.1/(?:Datastreams\('?(\d{1,9})'?\)/)?Observations")

_decode = msgspec.json.Decoder().decode


async def read_message(
    connection: asyncpg.Connection, directory: StreamDirectory, topic: str, payload: bytes, received: datetime
) -> list[Observation]:
    """Return the observations of a message.

    Raises
    ------
    NotFound
        If the topic names no stream of its agency.
    BadInput
        If the payload cannot be read. No observation of the message is then used.
    """
    try:
        given = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        given = _plain(payload)
    entries = given if isinstance(given, list) else [given]
    if len(entries) > MOST_IN_ONE:
        raise BadInput(
            Text(
                en="A message has at most {most:,} observations.", vi="Một bản tin có tối đa {most:,} giá trị đo."
            ).format(most=MOST_IN_ONE)
        )
    match = _STANDARD.fullmatch(topic)
    if match and match[2] is None:
        agency = match[1]
        return [
            read_observation((await _of_key(connection, directory, agency, _key_in(entry))).key, entry, received)
            for entry in entries
        ]
    if match:
        stream = await _of_key(connection, directory, match[1], int(match[2]))
    else:
        own = _OWN.fullmatch(topic)
        if own is None:
            raise NotFound(
                Text(
                    en="The topic “{topic}” names no stream. Use in/AGENCY/CODE.",
                    vi="Chủ đề “{topic}” không chỉ luồng dữ liệu nào. Hãy dùng in/ĐƠN_VỊ/MÃ.",
                ).format(topic=topic[:120])
            )
        known = directory.by_code.get((own[1], own[2]))
        known = known or await directory.look_up_code(connection, own[1], own[2])
        if known is None:
            raise _no_stream(own[1], own[2])
        stream = known
    return [read_observation(stream.key, entry, received) for entry in entries]


async def _of_key(connection: asyncpg.Connection, directory: StreamDirectory, agency: str, key: int) -> Stream:
    """Return a stream by its id, if it is of the agency under whose name the topic stands."""
    if key not in directory.by_key:
        await directory.look_up(connection, {key})
    stream = directory.by_key.get(key)
    if stream is None or stream.agency != agency:
        raise _no_stream(agency, f"Datastreams({key})")
    return stream


def _key_in(entry: object) -> int:
    named = entry.get("Datastream") if isinstance(entry, dict) else None
    key = (named.get("@iot.id") or named.get("id")) if isinstance(named, dict) else None
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10:
        key = int(key)
    if not isinstance(key, int) or isinstance(key, bool) or not 0 < key < 2**31:
        raise BadInput(
            Text(
                en='The observation names no Datastream: {{"Datastream": {{"@iot.id": 12}}, …}}',
                vi='Giá trị đo không nêu Datastream: {{"Datastream": {{"@iot.id": 12}}, …}}',
            ).format()
        )
    return key


def _plain(payload: bytes) -> float:
    """Read what small devices send: a bare number, also one that JSON does not know."""
    try:
        return float(payload.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        raise BadInput(
            Text(en="The payload is neither a number nor JSON.", vi="Nội dung không phải là số, cũng không phải JSON.")
        ) from None


def _no_stream(agency: str, code: str) -> NotFound:
    return NotFound(
        Text(
            en="“{agency}” has no stream “{code}”. Declare it first: twin ingest stream declare",
            vi="“{agency}” không có luồng dữ liệu “{code}”. Hãy khai báo trước: twin ingest stream declare",
        ).format(agency=agency, code=code[:100])
    )
