"""CityJSON 1 and 2: whole documents, or one feature a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import shapely

from ingest.readers.citymodel import CityModelReader
from ingest.readers.limits import exceeded
from ingest.readers.row_problems import INCOMPLETE, broken_geometry, row_problem
from ingest.readers.solids import FOOTPRINT, CityObject, Face
from ingest.readers.source import ReadOptions, cannot_read
from twin.text import Text

MAX_PARTS = 10_000
# Parts that belong to the body of an object; furniture and rooms do not.
_BODY = ("BuildingPart", "BridgePart", "TunnelPart", "BuildingUnit", "BuildingStorey")
_DEPTH = {"MultiSurface": 1, "CompositeSurface": 1, "Solid": 2, "MultiSolid": 3, "CompositeSolid": 3}
NOT_AN_OBJECT = row_problem("object.unreadable", Text(en="not an object", vi="không phải đối tượng"))
_BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError)


class _IncompleteError(Exception):
    pass


class CityJsonReader(CityModelReader):
    """Objects without parents are features; their parts are taken in."""

    driver = "cityjson"

    def __init__(self, path: Path, options: ReadOptions, lines: bool) -> None:
        self._lines = lines
        self.format = "CityJSON"
        if not lines and path.stat().st_size > options.limits.document_bytes:
            raise exceeded(path.name, options.limits, "document_bytes")
        self._whole: dict[str, Any] | None = None
        self._north_first: bool | None = None
        super().__init__(path, options)

    def _documents(self) -> Iterator[dict[str, Any]]:
        if not self._lines:
            if self._whole is None:
                self._whole = self._parse(self.path.read_bytes())
            yield self._whole
            return
        head: dict[str, Any] = {}
        longest = self.limits.object_bytes
        with self.path.open("rb") as file:
            while line := file.readline(longest):
                if len(line) >= longest:
                    raise exceeded(self.path.name, self.limits, "object_bytes")
                if not line.strip():
                    continue
                document = self._parse(line)
                if document.get("type") == "CityJSON":
                    head = document
                yield {**{k: head[k] for k in ("transform", "metadata", "geometry-templates") if k in head}, **document}

    def _parse(self, content: bytes) -> dict[str, Any]:
        try:
            document = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise cannot_read(self.path, error) from None
        if not isinstance(document, dict) or not isinstance(document.get("CityObjects", {}), dict):
            raise cannot_read(self.path, Text(en="it is not CityJSON", vi="không phải CityJSON"))
        return document

    def _objects(self, shapes: bool) -> Iterator[CityObject]:
        for document in self._documents():
            if self._north_first is None:
                metadata = document.get("metadata") or {}
                reference = metadata.get("referenceSystem") if isinstance(metadata, dict) else None
                self._north_first = self.set_reference_system(reference if isinstance(reference, str) else None)
            objects = document.get("CityObjects", {})
            vertices = self._vertices(document) if shapes else np.empty((0, 3))
            for name, stored in objects.items():
                if not isinstance(stored, dict):
                    yield CityObject(name, "unknown", {}, problem=NOT_AN_OBJECT)
                elif not any(parent in objects for parent in stored.get("parents") or ()):
                    yield self._object(name, stored, objects, vertices, shapes)

    def _vertices(self, document: dict[str, Any]) -> npt.NDArray[np.float64]:
        try:
            vertices = np.array(document.get("vertices") or np.empty((0, 3)), dtype=np.float64).reshape(-1, 3)
            if transform := document.get("transform"):
                vertices = vertices * np.array(transform["scale"], float) + np.array(transform["translate"], float)
        except _BROKEN as error:
            raise cannot_read(self.path, f"vertices: {error}") from None
        return vertices[:, [1, 0, 2]] if self._north_first else vertices

    def _object(
        self,
        name: str,
        stored: dict[str, Any],
        objects: dict[str, Any],
        vertices: npt.NDArray[np.float64],
        shapes: bool,
    ) -> CityObject:
        attributes = stored.get("attributes")
        thing = CityObject(name, str(stored.get("type")), dict(attributes) if isinstance(attributes, dict) else {})
        if not shapes:
            return thing
        try:
            _add(thing, stored, vertices)
            if absent := [str(c) for c in stored.get("children") or () if c not in objects]:
                raise _IncompleteError(", ".join(absent[:5])[:120])
            for child in _descendants(stored, objects):
                part = objects[child]
                thing.parts.append({"id": child, "type": part.get("type"), "attributes": part.get("attributes") or {}})
                if part.get("type") in _BODY:
                    _add(thing, part, vertices)
        except _IncompleteError as error:
            thing.problem = row_problem(INCOMPLETE, str(error))
            thing.faces = []
        except _BROKEN as error:
            thing.problem = broken_geometry(error)
            thing.faces = []
        return thing


def _descendants(stored: dict[str, Any], objects: dict[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(stored.get("children") or ())
    while waiting and len(found) < MAX_PARTS:
        name = waiting.pop(0)
        if name not in found and isinstance(objects.get(name), dict):
            found[name] = None
            waiting.extend(objects[name].get("children") or ())
    return list(found)


def _add(thing: CityObject, stored: dict[str, Any], vertices: npt.NDArray[np.float64]) -> None:
    for geometry in stored.get("geometry") or ():
        kind = geometry["type"]
        if kind in _DEPTH:
            lod = float(geometry.get("lod") or 0)
            thing.faces.extend(_faces(geometry, _DEPTH[kind], lod, vertices))
        elif kind == "MultiPoint":
            thing.others.append(shapely.MultiPoint(_at(vertices, geometry["boundaries"])))
        elif kind == "MultiLineString":
            thing.others.append(shapely.MultiLineString([_at(vertices, line) for line in geometry["boundaries"]]))
        elif kind == "GeometryInstance":
            # A tree from a template: where it stands.
            thing.others.append(shapely.Point(_at(vertices, geometry["boundaries"][:1])[0]))


def _at(vertices: npt.NDArray[np.float64], indices: list[int]) -> npt.NDArray[np.float64]:
    """Return some vertices; a negative index would count from the end and be another corner."""
    if any(index < 0 for index in indices):
        raise IndexError("a negative index of a vertex")
    return vertices[indices]


def _faces(geometry: dict[str, Any], depth: int, lod: float, vertices: npt.NDArray[np.float64]) -> Iterator[Face]:
    semantics = geometry.get("semantics") or {}
    surfaces = semantics.get("surfaces") or []
    plan = int(lod) == 0
    if not isinstance(geometry["boundaries"], list):
        raise TypeError("boundaries are no list")
    values = semantics.get("values") if surfaces else None
    for rings, value in _flat(geometry["boundaries"], values, depth):
        surface = surfaces[value]["type"] if isinstance(value, int) else (FOOTPRINT if plan else None)
        closed = tuple(_at(vertices, [*ring, ring[0]]) for ring in rings if len(ring) >= 3)
        if closed:
            yield Face(closed, surface, lod)


def _flat(boundaries: list[Any], values: Any, depth: int) -> Iterator[tuple[list[list[int]], int | None]]:
    """Yield every face with its surface's index; values are nested as the boundaries are, or absent on any level."""
    for i, part in enumerate(boundaries):
        value = values[i] if isinstance(values, list) and i < len(values) else None
        if depth == 1:
            yield part, value
        else:
            yield from _flat(part, value, depth - 1)
