"""Geometries from the WKB and WKT of files, array-wise; one that cannot be read becomes a problem of its row."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from ingest.readers.limits import Limits
from ingest.readers.row_problems import (
    CURVED,
    NOT_AS_ITS_FORMAT,
    STRAIGHT_LINES_ONLY,
    UNREADABLE,
    add_problem,
    broken_geometry,
    row_problem,
    too_many_vertices,
)
from ingest.readers.source import RAW_LENGTH

Objects = npt.NDArray[np.object_]

# ISO and EWKB types of a polyhedral surface, a TIN and a triangle, and what they are built like.
_AS_POLYGONS = {15: 6, 16: 6, 17: 3}


def from_wkb(values: Sequence[bytes | None] | Objects, limits: Limits) -> tuple[Objects, Objects, Objects]:
    """Read WKB: the geometries, the problems ("reason: detail") and the raw form of those that have one."""
    wkb = np.asarray(values, dtype=object)
    problems = np.full(len(wkb), None, dtype=object)
    raw = np.full(len(wkb), None, dtype=object)
    sizes = _sizes(wkb)
    # A vertex takes at least 16 bytes: nothing is built before its size is known to be fair.
    large = sizes > 32 * limits.vertices + 1024
    if large.any():
        wkb = wkb.copy()
        wkb[large] = None
        add_problem(problems, large, too_many_vertices(limits.vertices))
    shapes = _read(shapely.from_wkb, wkb)
    for i in np.flatnonzero((sizes > 0) & ~large & shapely.is_missing(shapes)):
        shapes[i], problems[i] = _read_again(wkb[i])
        if problems[i] is not None:
            raw[i] = wkb[i].hex()[:RAW_LENGTH]
    _check(shapes, problems, limits)
    return shapes, problems, raw


def _sizes(wkb: Objects) -> npt.NDArray[np.int64]:
    try:
        return np.fromiter(map(len, wkb), np.int64, len(wkb))
    except TypeError:
        return np.fromiter((0 if value is None else len(value) for value in wkb), np.int64, len(wkb))


def _read(parse: Callable[..., Any], written: Objects) -> Objects:
    """Read all at once; where a curve stops that, each by itself, so that it stops nobody else."""
    try:
        shapes: Objects = parse(written, on_invalid="ignore")
    except NotImplementedError:
        shapes = np.full(len(written), None, dtype=object)
        for i, one in enumerate(written):
            with suppress(NotImplementedError):
                shapes[i] = parse(one, on_invalid="ignore")
    return shapes


def _read_again(wkb: bytes) -> tuple[shapely.Geometry | None, str | None]:
    try:
        shape = shapely.from_wkb(_polyhedra_as_polygons(wkb))
        return shape, None
    except NotImplementedError:
        return None, row_problem(CURVED, STRAIGHT_LINES_ONLY)
    except (shapely.GEOSException, struct.error, ValueError) as error:
        return None, broken_geometry(error)


def _polyhedra_as_polygons(wkb: bytes) -> bytes:
    """Rewrite the types of surfaces that GEOS does not read as those of polygons, which are laid out alike."""
    order = "<" if wkb[:1] == b"\x01" else ">"
    (kind,) = struct.unpack_from(f"{order}I", wkb, 1)
    flat = (kind & 0xFFFF) % 1000
    if flat not in _AS_POLYGONS:
        return wkb
    result = bytearray(wkb)
    struct.pack_into(f"{order}I", result, 1, kind - flat + _AS_POLYGONS[flat])
    if flat == 17:
        return bytes(result)
    z, m = bool(kind & 0x80000000) or (kind & 0xFFFF) // 1000 in (1, 3), (kind & 0xFFFF) // 1000 in (2, 3)
    width = 8 * (2 + z + (m or bool(kind & 0x40000000)))
    at = 9 if not kind & 0x20000000 else 13
    (count,) = struct.unpack_from(f"{order}I", wkb, at - 4)
    for _ in range(count):
        own = "<" if wkb[at : at + 1] == b"\x01" else ">"
        (part,) = struct.unpack_from(f"{own}I", wkb, at + 1)
        if (part & 0xFFFF) % 1000 == 17:
            struct.pack_into(f"{own}I", result, at + 1, part - 14)
        (rings,) = struct.unpack_from(f"{own}I", wkb, at + 5)
        at += 9
        for _ in range(rings):
            (points,) = struct.unpack_from(f"{own}I", wkb, at)
            at += 4 + points * width
    return bytes(result)


def from_wkt(values: Sequence[str | None] | Objects, limits: Limits) -> tuple[Objects, Objects, Objects]:
    """Read WKT, with or without a leading "SRID=…;", as `from_wkb` does."""
    texts = np.array([_wkt(value) for value in values], dtype=object)
    problems = np.full(len(texts), None, dtype=object)
    raw = np.full(len(texts), None, dtype=object)
    large = np.fromiter((t is not None and t.count(",") >= limits.vertices for t in texts), np.bool_, len(texts))
    if large.any():
        add_problem(problems, large, too_many_vertices(limits.vertices))
    usable = texts.copy()
    usable[large] = None
    shapes = _read(shapely.from_wkt, usable)
    for i in np.flatnonzero(np.array([t is not None for t in usable], dtype=bool) & shapely.is_missing(shapes)):
        raw[i] = usable[i][:RAW_LENGTH]
        try:
            shapely.from_wkt(usable[i])
            problems[i] = row_problem(UNREADABLE, NOT_AS_ITS_FORMAT)
        except NotImplementedError:
            problems[i] = row_problem(CURVED, STRAIGHT_LINES_ONLY)
        except shapely.GEOSException as error:
            problems[i] = broken_geometry(error)
    _check(shapes, problems, limits)
    return shapes, problems, raw


def _wkt(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text[:5].upper() == "SRID=":
        text = text.partition(";")[2].strip()
    return text or None


def _check(shapes: Objects, problems: Objects, limits: Limits) -> None:
    large = shapely.get_num_coordinates(shapes) > limits.vertices
    if large.any():
        add_problem(problems, large, too_many_vertices(limits.vertices))
        shapes[large] = None
