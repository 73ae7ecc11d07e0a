"""Common part of CityJSON and CityGML: the columns of city objects, and their batches."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import orjson
import pandas as pd
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from ingest.readers.limits import exceeded
from ingest.readers.row_problems import broken_geometry, too_many_vertices
from ingest.readers.solids import CityObject, footprint, heights, solid_wkb
from ingest.readers.source import (
    CRS_SILENT,
    RESERVED_COLUMNS,
    FeatureReader,
    ReadOptions,
    cannot_read,
    check_columns,
    choose_layer,
    make_batch,
)
from layers.theme import FieldType
from twin.text import Text

# Columns that every city model gets, beside the attributes of its objects.
OWN: dict[str, FieldType] = {
    "id": "text", "object_type": "text", "height": "number", "levels": "integer", "roof_type": "text",
    "base_height": "number", "lod": "number", "parts": "text", "solid": "text",
}  # fmt: skip
# The ground itself is no object that stands on it.
TERRAIN = frozenset({"ReliefFeature", "TINRelief", "RasterRelief", "MassPointRelief", "BreaklineRelief"})
MEASURED = ("measuredHeight", "height", "relativeHeight")
STOREYS = ("storeysAboveGround", "storeys_above_ground")
ROOF = ("roofType",)
# Faces take much more memory than rows of a table: a batch ends with this many vertices, however few its rows.
VERTICES_AT_ONCE = 200_000
_EPSG = re.compile(r"EPSG(?:[:/]+[\d.]*)?[:/#]+(\d{4,6})|epsg\.xml#(\d{4,6})", re.IGNORECASE)
_ADV_UTM = re.compile(r"urn:adv:crs:ETRS89_UTM(\d\d)", re.IGNORECASE)


class CityModelReader(FeatureReader):
    """Objects of a city model, each with its parts as one feature.

    The geometry is the footprint. Columns: `height` is the measured height, else the span of the geometry's z;
    `base_height` the lowest z; `levels` and `roof_type` as the model says; `lod` the level of detail that was used;
    `parts` the attributes of parts as JSON; `solid` all faces in 3D (see Reader.solids); then every attribute.
    """

    solids: tuple[str, ...] = ("solid",)

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path, options)
        kinds: Counter[str] = Counter()
        found: dict[str, FieldType] = {}
        for thing in self._objects(shapes=False):
            kinds[thing.type] += 1
            if options.layer == thing.type or (options.layer is None and thing.type not in TERRAIN):
                for name, value in thing.attributes.items():
                    kind = _type(value)
                    if kind is not None and found.setdefault(name, kind) != kind:
                        numbers = {found[name], kind} == {"integer", "number"}
                        found[name] = "number" if numbers else "text"
                if len(found) > self.limits.columns:
                    raise exceeded(path.name, self.limits, "columns")
        if not kinds:
            raise cannot_read(path, Text(en="it has no objects", vi="không có đối tượng nào"))
        self.layers = tuple(sorted(kinds))
        self._left_out = TERRAIN & kinds.keys() if options.layer is None else frozenset()
        if self._left_out:
            self._leave_out_terrain(kinds)
        self.layer = choose_layer(path.name, self.layers, options.layer) if options.layer else None
        self.count = kinds[self.layer] if self.layer else kinds.total()
        taken = {name.casefold() for name in OWN} | RESERVED_COLUMNS
        self._attributes: dict[str, str] = {}
        for name in found:
            new = name
            while new.casefold() in taken:
                new = f"{new}_2"
            taken.add(new.casefold())
            self._attributes[name] = new
        self.columns = OWN | {self._attributes[n]: kind for n, kind in found.items()}
        check_columns(path.name, list(self.columns), self.limits)

    def _leave_out_terrain(self, kinds: Counter[str]) -> None:
        named = ", ".join(f"{kinds[kind]} × {kind}" for kind in sorted(self._left_out))
        if not kinds.keys() - self._left_out:
            raise cannot_read(
                self.path,
                Text(
                    en="it holds terrain only ({named}); publish heights as GeoTIFF, or take these objects all the "
                    "same with --source-layer",
                    vi="tệp chỉ có địa hình ({named}); hãy công bố độ cao dạng GeoTIFF, hoặc vẫn lấy các đối tượng này "
                    "bằng --source-layer",
                ).format(named=named),
            )
        self.note(
            "objects.left_out",
            Text(en="{named} (--source-layer takes them)", vi="{named} (lấy bằng --source-layer)").format(named=named),
        )
        for kind in self._left_out:
            del kinds[kind]

    @abstractmethod
    def _objects(self, shapes: bool) -> Iterator[CityObject]:
        """Return the objects in the file's order; without `shapes` only their attributes are needed."""

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read at most `rows` objects at a time."""
        waiting: list[CityObject] = []
        vertices = 0
        for thing in self._objects(shapes=True):
            if self.layer in (None, thing.type) and thing.type not in self._left_out:
                waiting.append(thing)
                vertices += _vertices(thing)
                if len(waiting) == rows or vertices > VERTICES_AT_ONCE:
                    yield self._batch(waiting)
                    waiting, vertices = [], 0
        if waiting:
            yield self._batch(waiting)

    def _batch(self, things: list[CityObject]) -> gpd.GeoDataFrame:
        shapes = np.full(len(things), None, dtype=object)
        problems = np.full(len(things), None, dtype=object)
        rows: list[dict[str, Any]] = []
        degrees = bool(self.crs is not None and CRS.from_user_input(self.crs).is_geographic)
        for i, thing in enumerate(things):
            problems[i] = thing.problem
            if _vertices(thing) > self.limits.vertices:
                problems[i] = too_many_vertices(self.limits.vertices)
                thing.faces = []
            try:
                shapes[i] = footprint(thing, degrees)
                rows.append(self._row(thing))
            except (shapely.GEOSException, ValueError, TypeError, IndexError, OverflowError) as error:
                # One that cannot be put together stops nobody else.
                problems[i] = problems[i] or broken_geometry(error)
                thing.faces, thing.others = [], []
                rows.append(self._row(thing))
        table = pd.DataFrame(rows, columns=list(self.columns), dtype=object)
        return make_batch({n: _typed(table[n], kind) for n, kind in self.columns.items()}, shapes, problems)

    def _row(self, thing: CityObject) -> dict[str, Any]:
        low, high = heights(thing)
        height = _number(_first(thing.attributes, MEASURED))
        if height is None and low is not None and high is not None and high > low:
            height = round(high - low, 3)
        levels = _number(_first(thing.attributes, STOREYS))
        best = thing.best()
        row: dict[str, Any] = {
            "id": thing.id,
            "object_type": thing.type,
            "height": height,
            "levels": None if levels is None else round(levels),
            "roof_type": _plain(_first(thing.attributes, ROOF)),
            "base_height": low,
            "lod": best[0].lod if best else None,
            "parts": orjson.dumps(thing.parts).decode() if thing.parts else None,
            "solid": solid_wkb(thing),
        }
        for name, value in thing.attributes.items():
            if name in self._attributes:
                row[self._attributes[name]] = _plain(value)
        return row

    def set_reference_system(self, reference: str | None) -> bool:
        """Take the CRS that a model refers to; tell whether its first coordinate is the latitude."""
        found = horizontal_crs(reference)
        if found is None and reference:
            reason = Text(
                en="the file names “{name}”, which is not a known coordinate system",
                vi="tệp ghi “{name}”, không phải hệ tọa độ đã biết",
            ).format(name=reference[:100])
            self.set_crs_of_file(None, reason)
            return False
        if found is None:
            self.set_crs_of_file(None, CRS_SILENT)
            return False
        north_first = found.is_geographic and not (reference or "").upper().endswith("CRS84")
        reason = Text(en="the file says {name}", vi="tệp ghi {name}").format(name=reference)
        if north_first:
            reason = Text(
                en="the file says {name}; latitude stands first in it and was turned round",
                vi="tệp ghi {name}; vĩ độ đứng trước và đã được đổi chỗ",
            ).format(name=reference)
        self.set_crs_of_file(found, reason)
        return bool(north_first)


def horizontal_crs(reference: str | None) -> CRS | None:
    """Return the horizontal part of the CRS that a city model refers to.

    Only geographic systems have their axes turned: models in projected systems give easting before northing in
    practice, also where the authority has it the other way round.
    """
    if not reference:
        return None
    try:
        if code := _EPSG.search(reference):
            crs = CRS.from_epsg(int(code[1] or code[2]))
        elif zone := _ADV_UTM.search(reference):
            crs = CRS.from_epsg(25800 + int(zone[1]))
        else:
            crs = CRS.from_user_input(reference)
    except CRSError:
        return None
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    if len(crs.axis_info) == 3:
        crs = crs.to_2d()
    # By its number if it has one: that is what people read.
    number = crs.to_epsg()
    return CRS.from_epsg(number) if number else crs


def _vertices(thing: CityObject) -> int:
    return sum(len(ring) for face in thing.faces for ring in face.rings)


def _type(value: Any) -> FieldType | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if abs(value) < 2**63 else "text"
    return "number" if isinstance(value, float) else "text"


def _typed(values: pd.Series, kind: FieldType) -> pd.Series:
    if kind == "text":
        return (
            values.map(_plain, na_action="ignore")
            .map(str, na_action="ignore")
            .astype(object)
            .where(values.notna(), None)
        )
    dtype = {"integer": "Int64", "number": "Float64", "boolean": "boolean"}[kind]
    numbers = values.where(values.notna(), pd.NA).astype(dtype)
    return numbers.astype(float) if kind == "number" else numbers


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return value


def _first(attributes: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) not in (None, "")), None)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
