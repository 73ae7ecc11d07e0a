"""CityGML 1, 2 and 3, read as a stream: one object of the city at a time is in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ingest.readers.citymodel import CityModelReader
from ingest.readers.limits import exceeded
from ingest.readers.row_problems import BAD_NUMBER, INCOMPLETE, NOT_FINITE, UNCLOSED, UNREADABLE, row_problem
from ingest.readers.solids import FOOTPRINT, ROOF_EDGE, CityObject, Face, Ring
from ingest.readers.source import ReadOptions
from ingest.readers.xml import Element, Walk, local, text_of
from layers.theme import METRES_PER_DEGREE
from twin.text import Text

MEMBERS = frozenset({"cityObjectMember", "featureMember", "featureMembers"})
_ID = "{http://www.opengis.net/gml}id"
_ID_32 = "{http://www.opengis.net/gml/3.2}id"
_HREF = "{http://www.w3.org/1999/xlink}href"
_LOD = re.compile(r"lod([0-4])(\w*)")
_PARTS = frozenset({
    "BuildingPart", "BridgePart", "TunnelPart", "BuildingUnit", "Storey", "BuildingInstallation",
    "BridgeInstallation", "TunnelInstallation", "BridgeConstructionElement", "BuildingConstructiveElement",
})  # fmt: skip
_BODY = frozenset({"BuildingPart", "BridgePart", "TunnelPart", "BuildingUnit", "Storey"})
# What lies inside a building, and what is no attribute.
_SKIPPED = frozenset({
    "interiorRoom", "interiorBuildingInstallation", "roomInstallation", "buildingRoom", "buildingFurniture",
    "interiorFurniture", "appearance", "appearanceMember", "boundedBy",
})  # fmt: skip
_POLYGONS = frozenset({"Polygon", "Triangle", "Rectangle", "PolygonPatch"})
_LINES = frozenset({"LineString", "Curve", "LineStringSegment"})
# What holds a face, or only the reference to one.
_HOLDERS = frozenset({
    "surfaceMember", "surfaceMembers", "baseSurface", "patches", "exterior", "interior", "solidMember",
    "geometryMember",
    "lod0MultiSurface", "lod1MultiSurface", "lod2MultiSurface", "lod3MultiSurface", "lod4MultiSurface", "lod1Solid",
    "lod2Solid", "lod3Solid", "lod4Solid", "lod0FootPrint", "lod0RoofEdge", "lod0Geometry", "lod1Geometry",
    "lod2Geometry", "lod3Geometry", "lod4Geometry", "lod2Surface", "lod3Surface", "lod4Surface",
})  # fmt: skip
MAX_STEPS = 60
# A ring whose ends are nearer than this, in metres, is closed but for rounding.
CLOSED_BELOW = 0.001


class _BrokenError(ValueError):
    pass


class CityGmlReader(CityModelReader):
    """City objects as features: buildings with their parts, and whatever else the model has."""

    format = "CityGML"
    driver = "expat"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._north_first = False
        self._reference: str | None = None
        self._elsewhere: dict[str, Element] = {}
        self._wanted: set[str] = set()
        super().__init__(path, options)
        self._north_first = self.set_reference_system(self._reference)
        self._find_elsewhere()

    def _objects(self, shapes: bool) -> Iterator[CityObject]:
        walk = Walk(self.path, self.limits)
        for event, element in walk:
            if event == "start":
                if self._reference is None and "srsName" in element.attrib:
                    self._reference = element.attrib["srsName"]
                continue
            if len(walk.above) == 2 and local(walk.above[-1]) in MEMBERS:
                yield self._object(element, shapes)
                walk.forget(element)
            elif len(walk.above) == 1:
                walk.forget(element)

    def _object(self, element: Element, shapes: bool) -> CityObject:
        thing = CityObject(_id(element) or "", local(element), _attributes(element))
        if not shapes:
            self._wanted |= _references(element)
        else:
            try:
                _Shapes(element, self._north_first, self._elsewhere).add_to(thing)
            except _BrokenError as error:
                thing.problem = str(error)
                thing.faces = []
        return thing

    def _find_elsewhere(self) -> None:
        """Keep what objects refer to in other objects of the file, and what that refers to in turn."""
        held = 0
        for _ in range(MAX_STEPS):
            wanted = self._wanted - self._elsewhere.keys()
            if not wanted:
                return
            before = len(self._elsewhere)
            walk = Walk(self.path, self.limits)
            for event, element in walk:
                if event == "start":
                    continue
                if len(walk.above) == 2 and local(walk.above[-1]) in MEMBERS:
                    for part in element.iter():
                        if (name := _id(part)) in wanted and name is not None:
                            kept = deepcopy(part)
                            self._elsewhere[name] = kept
                            self._wanted |= _references(kept)
                            held += sum(len(e.text or "") for e in kept.iter())
                    walk.forget(element)
                elif len(walk.above) == 1:
                    walk.forget(element)
                if held > self.limits.object_bytes:
                    raise exceeded(self.path.name, self.limits, "object_bytes")
            if len(self._elsewhere) == before:
                return


def _references(element: Element) -> set[str]:
    """Return what an object refers to that does not stand in it."""
    there = {name for e in element.iter() if (name := _id(e)) is not None}
    named = {e.attrib[_HREF][1:] for e in element.iter() if e.attrib.get(_HREF, "").startswith("#")}
    return named - there


class _Shapes:
    """The geometry of one object; faces that are only referred to are looked up in it, then in the other objects."""

    def __init__(self, element: Element, north_first: bool, elsewhere: Mapping[str, Element]) -> None:
        self._elsewhere = elsewhere
        self._north_first = north_first
        self._by_id = {name: e for e in element.iter() if (name := _id(e)) is not None}
        self._root = element

    def add_to(self, thing: CityObject) -> None:
        self._visit(self._root, thing, None)
        solid_lods = {face.lod for face, of_solid in self._found if of_solid}
        for face, of_solid in self._found:
            # A solid's hull names the same surfaces again: they are taken once, with what they are called.
            if of_solid or face.lod not in solid_lods or face.surface is not None:
                thing.faces.append(face)
        thing.faces = _once(thing.faces)

    @property
    def _found(self) -> list[tuple[Face, bool]]:
        if not hasattr(self, "_faces"):
            self._faces: list[tuple[Face, bool]] = []
        return self._faces

    def _visit(self, element: Element, thing: CityObject, surface: str | None) -> None:
        for child in element:
            name = local(child)
            if name in _SKIPPED and not (name == "boundedBy" and _has_surface(child)):
                continue
            if lod := _LOD.fullmatch(name):
                self._geometry(child, float(lod[1]), lod[2], thing, surface)
            elif name in _PARTS:
                thing.parts.append({"id": _id(child), "type": name, "attributes": _attributes(child)})
                if name in _BODY:
                    self._visit(child, thing, None)
            elif name.endswith("Surface") and name not in ("MultiSurface", "CompositeSurface", "OrientableSurface"):
                self._visit(child, thing, name)
            else:
                self._visit(child, thing, surface)

    def _geometry(self, element: Element, lod: float, kind: str, thing: CityObject, surface: str | None) -> None:
        if kind == "ImplicitRepresentation":
            for position in element.iter():
                if local(position) in ("pos", "coordinates"):
                    thing.others.append(shapely.Point(self._coordinates(position, position)[0]))
                    return
            return
        if kind == "TerrainIntersection":
            return
        called = surface
        if kind == "FootPrint" or (lod == 0 and kind in ("MultiSurface", "") and surface in (None, "GroundSurface")):
            called = FOOTPRINT
        elif kind == "RoofEdge" or (lod == 0 and surface == "RoofSurface"):
            called = ROOF_EDGE
        of_solid = "Solid" in kind or any(local(e) in ("Solid", "CompositeSolid", "MultiSolid") for e in element)
        found = len(self._found)
        for rings in self._polygons(element, 0, set()):
            self._found.append((Face(rings, called, lod), of_solid))
        if len(self._found) == found:
            self._points_and_lines(element, thing)

    def _points_and_lines(self, element: Element, thing: CityObject) -> None:
        for e in element.iter():
            if local(e) in _LINES and any(local(c) in ("posList", "pos", "coordinates") for c in e):
                line = self._ring(e)
                if len(line) > 1:
                    thing.others.append(shapely.LineString(line))
            elif local(e) == "Point":
                thing.others.append(shapely.Point(self._ring(e)[0]))

    def _polygons(self, element: Element, steps: int, seen: set[str]) -> Iterator[tuple[Ring, ...]]:
        if steps > MAX_STEPS:
            return
        reference = element.attrib.get(_HREF)
        if reference and local(element) in _HOLDERS:
            target = self._by_id.get(reference[1:], self._elsewhere.get(reference[1:]))
            if target is None or not reference.startswith("#"):
                raise _BrokenError(row_problem(INCOMPLETE, reference[:120]))
            if reference not in seen:
                seen.add(reference)
                yield from self._polygons(target, steps + 1, seen)
            return
        if local(element) in _POLYGONS:
            yield self._polygon(element)
            return
        for child in element:
            yield from self._polygons(child, steps + 1, seen)

    def _polygon(self, element: Element) -> tuple[Ring, ...]:
        rings = []
        for side in element:
            if local(side) in ("exterior", "interior", "outerBoundaryIs", "innerBoundaryIs"):
                ring = self._ring(side)
                if not np.isfinite(ring).all():
                    raise _BrokenError(row_problem(NOT_FINITE, _face(element)))
                if len(ring) < 4 or self._gap(ring) > CLOSED_BELOW:
                    raise _BrokenError(row_problem(UNCLOSED, _ring_of(element, len(ring))))
                ring[-1] = ring[0]
                rings.append(ring)
        if not rings:
            no_ring = Text(en="{face} has no ring", vi="{face} không có vòng").format(face=_face(element))
            raise _BrokenError(row_problem(UNREADABLE, no_ring))
        return tuple(rings)

    def _gap(self, ring: Ring) -> float:
        """Return how far the end of a ring lies from its beginning, in metres."""
        gap = np.abs(ring[0] - ring[-1])
        return float((gap * ([METRES_PER_DEGREE, METRES_PER_DEGREE, 1.0] if self._north_first else 1.0)).max())

    def _ring(self, element: Element) -> Ring:
        parts = [self._coordinates(e, element) for e in element.iter() if local(e) in ("posList", "pos", "coordinates")]
        return np.concatenate(parts) if parts else np.empty((0, 3))

    def _coordinates(self, element: Element, around: Element) -> Ring:
        text = (element.text or "").replace(",", " ") if local(element) == "coordinates" else element.text or ""
        try:
            numbers = np.array(text.split(), dtype=np.float64)
        except ValueError:
            raise _BrokenError(row_problem(UNREADABLE, BAD_NUMBER)) from None
        stated = element.attrib.get("srsDimension") or around.attrib.get("srsDimension")
        width = 2 if stated == "2" or (stated is None and len(numbers) % 3 and not len(numbers) % 2) else 3
        if len(numbers) % width:
            uneven = Text(en="{n} numbers do not make points", vi="{n} số không ghép thành điểm").format(n=len(numbers))
            raise _BrokenError(row_problem(UNREADABLE, uneven))
        points = numbers.reshape(-1, width)
        if width == 2:
            points = np.column_stack([points, np.zeros(len(points))])
        return points[:, [1, 0, 2]] if self._north_first else points.copy()


def _face(element: Element) -> str | Text:
    return _id(element) or Text(en="a face", vi="một mặt")


def _ring_of(element: Element, points: int) -> Text:
    return Text(en="{face}, {n} vertices", vi="{face}, {n} đỉnh").format(face=_face(element), n=points)


def _once(faces: list[Face]) -> list[Face]:
    """Return every face once; of two alike, the one that says what kind of surface it is."""
    kept: dict[tuple[float, bytes], Face] = {}
    for face in sorted(faces, key=lambda f: f.surface is None):
        kept.setdefault((face.lod, face.rings[0].tobytes()), face)
    return list(kept.values())


def _has_surface(bounded: Element) -> bool:
    return any(local(child) != "Envelope" for child in bounded)


def _id(element: Element) -> str | None:
    return element.attrib.get(_ID) or element.attrib.get(_ID_32)


def _attributes(element: Element) -> dict[str, Any]:
    """Return the plain properties of an object and its generic attributes, as text."""
    found: dict[str, Any] = {}

    def put(name: str, value: str | None) -> None:
        if name and value:
            found[name] = f"{found[name]}; {value}" if name in found and found[name] != value else value

    for child in element:
        name = local(child)
        if _LOD.fullmatch(name) or name in _SKIPPED or name in ("boundary", "consistsOfBuildingPart", "buildingPart"):
            continue
        if name.endswith("Attribute"):
            value = next((text_of(e) for e in child.iter() if local(e) == "value"), None)
            named = child.attrib.get("name") or next((text_of(e) for e in child.iter() if local(e) == "name"), None)
            put(named or "", value)
        elif name == "genericAttribute":
            inner = {local(e): text_of(e) for e in child.iter()}
            put(inner.get("name") or "", inner.get("value"))
        elif not len(child):
            put(name, text_of(child))
        elif name == "height":
            # CityGML 3: con:Height with its value.
            put(name, next((text_of(e) for e in child.iter() if local(e) == "value"), None))
        elif name in ("address", "externalReference", "adeOfAbstractBuilding") or _is_small(child):
            for e in child.iter():
                if not len(e) and e is not child:
                    put(f"{name}_{local(e)}", text_of(e))
    return found


def _is_small(element: Element) -> bool:
    """Return whether a nested property is a handful of texts and no geometry."""
    names = [local(e) for e in element.iter()]
    return len(names) <= 40 and not ({"posList", "pos", "coordinates", *_PARTS} & set(names))
