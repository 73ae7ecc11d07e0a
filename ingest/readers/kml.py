"""KML, read as a stream: placemarks of all folders, with their extended data as columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.readers.limits import exceeded
from ingest.readers.row_problems import (
    BAD_NUMBER,
    NOT_CLOSED,
    NOT_FINITE,
    ONE_POINT_LINE,
    UNCLOSED,
    UNREADABLE,
    row_problem,
    short_ring,
    too_many_vertices,
)
from ingest.readers.source import (
    CRS_OF_FORMAT,
    RAW_LENGTH,
    FeatureReader,
    ReadOptions,
    cannot_read,
    check_columns,
    choose_layer,
    make_batch,
    unique_names,
)
from ingest.readers.xml import Element, Walk, local, text_of
from twin.text import Text

PLAIN = ("name", "description", "address", "phoneNumber", "when", "begin", "end")
CONTAINERS = frozenset({"kml", "Document", "Folder"})
MAX_NESTED = 50
_NAME = "folder-name"
_COMMA = re.compile(r"\s*,\s*")


class _BrokenError(ValueError):
    pass


class KmlReader(FeatureReader):
    """The placemarks of a file. `folder` is the path of the folders that a placemark lies in; each is also a layer."""

    format = "KML"
    driver = "expat"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path, options)
        self.set_crs_of_file(4326, CRS_OF_FORMAT)
        self.count = 0
        self._links = 0
        folders: dict[str, int] = {}
        found: dict[str, None] = dict.fromkeys(("id", "folder"))
        for folder, placemark in self._placemarks():
            folders[folder] = folders.get(folder, 0) + 1
            if options.layer in (None, folder):
                self.count += 1
                found.update(dict.fromkeys(_values(placemark)))
                if len(found) > self.limits.columns:
                    raise exceeded(path.name, self.limits, "columns")
        if not folders and self._links:
            raise cannot_read(
                path,
                Text(
                    en="it holds only links to other addresses, which are not followed; save the places themselves",
                    vi="tệp chỉ chứa liên kết tới địa chỉ khác, không được mở; hãy lưu chính các địa điểm",
                ),
            )
        self.layers = tuple(folders)
        self.layer = choose_layer(path.name, self.layers, options.layer) if options.layer else None
        self._keys = list(found)
        check_columns(path.name, self._keys, self.limits)
        self.columns = dict.fromkeys(unique_names(self._keys), "text")

    def _placemarks(self) -> Iterator[tuple[str, Element]]:
        walk = Walk(self.path, self.limits)
        for event, element in walk:
            if event == "start" or (walk.above and local(walk.above[-1]) not in CONTAINERS):
                continue
            name = local(element)
            if name == "Placemark":
                inside = (e.attrib.get(_NAME) for e in walk.above if local(e) == "Folder")
                yield "/".join(part for part in inside if part), element
            elif name == "name" and walk.above:
                walk.above[-1].attrib[_NAME] = text_of(element) or ""
            elif name == "NetworkLink":
                self._links += 1
            if walk.above:
                walk.forget(element)

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read at most `rows` placemarks at a time."""
        waiting: list[tuple[dict[str, str | None], BaseGeometry | None, str | None, str | None]] = []
        for folder, placemark in self._placemarks():
            if self.layer not in (None, folder):
                continue
            values: dict[str, str | None] = {"id": placemark.attrib.get("id"), "folder": folder or None}
            values |= _values(placemark)
            shape, problem, raw = self._shape(placemark)
            waiting.append((values, shape, problem, raw))
            if len(waiting) == rows:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(
        self, rows: list[tuple[dict[str, str | None], BaseGeometry | None, str | None, str | None]]
    ) -> gpd.GeoDataFrame:
        columns = {
            new: pd.Series([row[0].get(key) for row in rows], dtype=object)
            for key, new in zip(self._keys, self.columns, strict=True)
        }
        shapes, problems, raw = (np.full(len(rows), None, dtype=object) for _ in range(3))
        for i, (_, shape, problem, written) in enumerate(rows):
            shapes[i], problems[i], raw[i] = shape, problem, written
        return make_batch(columns, shapes, problems, raw)

    def _shape(self, placemark: Element) -> tuple[BaseGeometry | None, str | None, str | None]:
        try:
            parts = list(_shapes(placemark, self.limits.vertices, 0))
        except _BrokenError as error:
            written = " ".join(text for e in placemark.iter() if local(e) == "coordinates" and (text := text_of(e)))
            return None, str(error), written[:RAW_LENGTH] or None
        if len(parts) < 2:
            return (parts[0] if parts else None), None, None
        kinds = {part.geom_type for part in parts}
        for kind, gather in (
            ("Polygon", shapely.MultiPolygon), ("LineString", shapely.MultiLineString), ("Point", shapely.MultiPoint),
        ):  # fmt: skip
            if kinds == {kind}:
                return gather(parts), None, None
        return shapely.GeometryCollection(parts), None, None


def _values(placemark: Element) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for element in placemark.iter():
        name = local(element)
        if name in PLAIN:
            found.setdefault(name, text_of(element))
        elif name == "Data" and (key := element.attrib.get("name")):
            found[key] = next((text_of(e) for e in element if local(e) == "value"), None)
        elif name == "SimpleData" and (key := element.attrib.get("name")):
            found[key] = text_of(element)
    return {key: value for key, value in found.items() if value is not None}


def _shapes(element: Element, most: int, depth: int) -> Iterator[BaseGeometry]:
    if depth > MAX_NESTED:
        raise _BrokenError(row_problem(UNREADABLE, Text(en="nested too deep", vi="lồng nhau quá sâu")))
    for child in element:
        name = local(child)
        if name == "Point":
            yield shapely.Point(_coordinates(child, most)[0])
        elif name in ("LineString", "LinearRing"):
            line = _coordinates(child, most)
            if len(line) < 2:
                raise _BrokenError(row_problem(UNREADABLE, ONE_POINT_LINE))
            yield shapely.LineString(line)
        elif name == "Polygon":
            yield _polygon(child, most)
        elif name == "Track":
            coordinates = [e.text or "" for e in child if local(e) == "coord"]
            if len(coordinates) > 1:
                yield shapely.LineString(_parse(" ".join(c.strip().replace(" ", ",") for c in coordinates), most))
        elif name in ("MultiGeometry", "MultiTrack"):
            yield from _shapes(child, most, depth + 1)


def _polygon(element: Element, most: int) -> BaseGeometry:
    rings = {"outerBoundaryIs": [], "innerBoundaryIs": []}  # type: dict[str, list[np.ndarray]]
    for side in element:
        if local(side) in rings:
            ring = _coordinates(side, most)
            if (ring[0, :2] != ring[-1, :2]).any():
                raise _BrokenError(row_problem(UNCLOSED, NOT_CLOSED))
            if len(ring) < 4:
                raise _BrokenError(row_problem(UNCLOSED, short_ring(len(ring))))
            rings[local(side)].append(ring)
    if not rings["outerBoundaryIs"]:
        no_ring = Text(en="a polygon without an outer ring", vi="vùng không có vòng ngoài")
        raise _BrokenError(row_problem(UNREADABLE, no_ring))
    return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])


def _coordinates(element: Element, most: int) -> np.ndarray:
    text = next((e.text or "" for e in element.iter() if local(e) == "coordinates"), "")
    return _parse(text, most)


def _parse(text: str, most: int) -> np.ndarray:
    tuples = _COMMA.sub(",", text).split()
    if len(tuples) > most:
        raise _BrokenError(too_many_vertices(most))
    if not tuples:
        raise _BrokenError(row_problem(UNREADABLE, Text(en="no coordinates", vi="không có tọa độ")))
    try:
        rows = [[float(value) for value in item.split(",")] for item in tuples]
    except ValueError:
        raise _BrokenError(row_problem(UNREADABLE, BAD_NUMBER)) from None
    width = min(len(row) for row in rows)
    if width < 2:
        one_number = Text(en="a position without latitude", vi="vị trí thiếu vĩ độ")
        raise _BrokenError(row_problem(UNREADABLE, one_number))
    points = np.array([row[: min(width, 3)] for row in rows], dtype=np.float64)
    if not np.isfinite(points).all():
        raise _BrokenError(NOT_FINITE)
    return points
