"""Reading bodies: JSON without what JSON does not have, and each fault with the place where it is (RFC 6901)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import h3
import orjson
import shapely

from tiles.sensorthings.errors import refuse
from twin.errors import BadInput

MOST_DEEP = 30
GEOMETRIES = frozenset(
    {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection", "Feature"}
)


def read_json(body: bytes) -> Any:
    """Read a body.

    Raises
    ------
    BadInput
        If it is not JSON: also for NaN, a name that stands twice in an object, or numbers that nobody can hold.
    """
    try:
        value = json.loads(body, object_pairs_hook=_object, parse_constant=_constant)
    except BadInput:
        raise
    except (ValueError, RecursionError):
        # The decoder's own sentence is in English alone.
        raise refuse("The body is not JSON in UTF-8.", "Nội dung gửi lên không phải JSON (UTF-8).") from None
    _check(value)
    return value


def at(pointer: str, step: str | int) -> str:
    """Return the pointer to a part of what a pointer names."""
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


def wrong(pointer: str, en: str, vi: str, **values: object) -> BadInput:
    """Return the error for a part of a body."""
    return refuse("{pointer}: " + en, "{pointer}: " + vi, pointer=pointer or "/", **values)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise refuse(
            "The name “{name}” stands twice in one object.", "Tên “{name}” xuất hiện hai lần trong một đối tượng.",
            name=twice.encode("utf-8", "replace").decode(),
        )  # fmt: skip
    return found


def _constant(name: str) -> Any:
    raise refuse("JSON has no {name}. Leave the value out.", "JSON không có {name}. Hãy bỏ giá trị này.", name=name)


def _check(value: Any) -> None:
    """Refuse what is too deep, numbers beyond 64 bits, and texts that are no text; without recursion."""
    waiting: list[tuple[Any, str, int]] = [(value, "", 0)]
    while waiting:
        part, pointer, depth = waiting.pop()
        if depth > MOST_DEEP:
            raise wrong(pointer[:80], "this is nested too deeply.", "lồng quá sâu.")
        match part:
            case dict():
                for name in part:
                    _check_text(name, pointer)
                waiting.extend((inner, at(pointer, name), depth + 1) for name, inner in part.items())
            case list():
                waiting.extend((inner, at(pointer, n), depth + 1) for n, inner in enumerate(part))
            case str():
                _check_text(part, pointer)
            case bool():
                pass
            case int() if not -(2**63) <= part < 2**63:
                raise wrong(pointer, "this number is too large.", "số này quá lớn.")
            case float() if part in (float("inf"), float("-inf")):
                raise wrong(pointer, "this number is too large.", "số này quá lớn.")


def _check_text(text: str, pointer: str) -> None:
    if "\0" in text or not _is_unicode(text):
        raise wrong(
            pointer.encode("utf-8", "replace").decode(), "this text has a character that is none.",
            "văn bản có ký tự không hợp lệ.",
        )  # fmt: skip


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def object_of(value: Any, pointer: str) -> dict[str, Any]:
    """Return a value that is an object."""
    if not isinstance(value, dict):
        raise wrong(pointer, "an object is needed here.", "ở đây cần một đối tượng.")
    return value


def list_of(value: Any, pointer: str) -> list[Any]:
    """Return a value that is an array."""
    if not isinstance(value, list):
        raise wrong(pointer, "an array is needed here.", "ở đây cần một mảng.")
    return value


def text_of(value: Any, pointer: str) -> str:
    """Return a value that is a text."""
    if not isinstance(value, str):
        raise wrong(pointer, "a text is needed here.", "ở đây cần một chuỗi ký tự.")
    return value


def id_of(value: Any, pointer: str) -> int:
    """Return a value that is the id of an entity."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise wrong(pointer, "the id of an entity is needed here: 12", "ở đây cần mã thực thể: 12")
    return value


def number_of(value: Any, pointer: str) -> float:
    """Return a value that is a number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong(pointer, "a number is needed here.", "ở đây cần một số.")
    return float(value)


def cell_of(value: Any, pointer: str) -> int:
    """Return an H3 cell as an integer."""
    if not isinstance(value, str) or not h3.is_valid_cell(value):
        raise wrong(pointer, "an H3 cell is needed here: 8a65b5694d07fff", "ở đây cần một ô H3: 8a65b5694d07fff")
    return int(h3.str_to_int(value))


def written(value: Any) -> str:
    """Write a value as JSON."""
    return orjson.dumps(value).decode()


def geometry_of(value: Any, encoding: str | None, pointer: str) -> bytes | None:
    """Return the geometry of a GeoJSON value (EPSG:4326) as WKB; None for a value that says that it is none."""
    is_geojson = isinstance(value, dict) and value.get("type") in GEOMETRIES
    if not is_geojson and encoding is not None and "geo+json" not in encoding:
        return None
    shape = None
    if is_geojson:
        inner = value.get("geometry") if value["type"] == "Feature" else value
        try:
            shape = shapely.from_geojson(orjson.dumps(inner)) if inner is not None else None
        except (shapely.GEOSException, orjson.JSONEncodeError, ValueError):
            shape = None
    if shape is None:
        raise wrong(
            pointer, "a GeoJSON geometry is needed here.", "ở đây cần hình học GeoJSON."
        )  # fmt: skip
    if shape.is_empty:
        return None
    west, south, east, north = shapely.bounds(shape)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise wrong(
            pointer, "coordinates are longitude and latitude in degrees.", "tọa độ là kinh độ, vĩ độ tính bằng độ."
        )
    return bytes(shapely.to_wkb(shapely.force_2d(shape)))
