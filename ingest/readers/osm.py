"""OpenStreetMap extracts (.osm.pbf) through pyosmium."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import osmium
import osmium.filter
import pandas as pd
import shapely

from ingest.mapping.description import OsmFilter
from ingest.readers.row_problems import INCOMPLETE, row_problem
from ingest.readers.source import (
    CRS_OF_FORMAT,
    PROBLEM,
    RESERVED_COLUMNS,
    FeatureReader,
    LayerNotChosen,
    ReadOptions,
    cannot_read,
    make_batch,
)
from twin.errors import BadInput
from twin.text import Text

MISSING_POINTS = Text(
    en="{name} has points that are not in the file, or too few",
    vi="{name} có điểm không nằm trong tệp, hoặc quá ít điểm",
)
MISSING_MEMBERS = Text(
    en="{name}: its outline does not close, or members of it are not in the file",
    vi="{name}: đường bao không khép kín, hoặc có thành phần không nằm trong tệp",
)
ANY = "*"
OTHERS = "other_tags"
# A tag becomes a column if this share of the objects has it; at most so many do.
FREQUENT, MOST_TAGS = 0.01, 40
# What people usually take from an extract.
USUAL = (
    "line:highway", "line:waterway", "line:railway", "polygon:building", "polygon:landuse", "polygon:natural",
    "polygon:leisure", "point:amenity", "point:shop", "point:tourism", "point:place",
)  # fmt: skip
_LAYER = re.compile(r"(point|line|polygon):([A-Za-z0-9_:]{1,60})(?:=([^=]{1,300}))?")


class OsmReader(FeatureReader):
    """Objects of an extract that carry certain tags, as points, lines or polygons.

    The column `osm` is the object's id ("way/123"), `way` a way's bare number; the tags named in `keep` and in the
    filter are the other columns. Without a filter the layer names what to take ("line:highway"): then the tags that
    are frequent among those objects are columns, and `other_tags` holds the rest as JSON.
    """

    format = "OpenStreetMap PBF"
    driver = "osmium"
    crs_reason = CRS_OF_FORMAT

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path, options)
        self.crs = 4326
        self._rest = options.osm is None
        if options.osm is not None:
            self._filter = options.osm
            self.layer, self.layers = options.osm.geometry, ("point", "line", "polygon")
        else:
            self._filter = _named(path, options.layer)
            self.layer, self.layers = options.layer, USUAL
        wanted = self._filter
        self._kept = tuple(dict.fromkeys((*wanted.tags, *wanted.require, *wanted.keep)))
        if self._rest:
            self._kept = tuple(dict.fromkeys((*self._kept, *self._frequent())))
        self.columns = dict.fromkeys(("osm", "way", *self._kept, *([OTHERS] if self._rest else [])), "text")

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read matching objects; one whose geometry cannot be assembled comes without geometry."""
        waiting: list[dict[str, Any]] = []
        try:
            for item in self._objects():
                waiting.append(item)
                if len(waiting) == rows:
                    yield self._frame(waiting)
                    waiting = []
        except (RuntimeError, OSError):
            raise self._unreadable() from None
        if waiting:
            yield self._frame(waiting)

    def _objects(self) -> Iterator[dict[str, Any]]:
        wanted = self._filter
        shapes = osmium.geom.WKBFactory()
        processor = osmium.FileProcessor(self.path).with_filter(osmium.filter.KeyFilter(*wanted.tags))
        if wanted.geometry != "point":
            processor = processor.with_locations()
        if wanted.geometry == "polygon":
            processor = osmium.FileProcessor(self.path).with_areas(osmium.filter.KeyFilter(*wanted.tags))
            processor = processor.with_filter(osmium.filter.KeyFilter(*wanted.tags))
        done: set[str] = set()
        for item in processor:
            if not _is_kind(item, wanted.geometry) or not _matches(item.tags, wanted):
                continue
            try:
                wkb, problem = _wkb(shapes, item, wanted.geometry), None
            except (RuntimeError, osmium.InvalidLocationError):
                wkb, problem = None, row_problem(INCOMPLETE, MISSING_POINTS.format(name=_name(item)))
            if wanted.geometry == "polygon":
                done.add(_name(item))
            yield self._item(item, wkb, problem)
        if wanted.geometry == "polygon":
            yield from self._not_assembled(done)

    def _not_assembled(self, done: set[str]) -> Iterator[dict[str, Any]]:
        """Yield the outlines of which no area could be made: members are missing, or they do not close."""
        wanted = self._filter
        for item in osmium.FileProcessor(self.path).with_filter(osmium.filter.KeyFilter(*wanted.tags)):
            if not _is_outline(item) or _name(item) in done or not _matches(item.tags, wanted):
                continue
            detail = MISSING_MEMBERS.format(name=_name(item))
            yield self._item(item, None, row_problem(INCOMPLETE, detail))

    def _item(self, item: Any, wkb: str | None, problem: str | None) -> dict[str, Any]:
        named = {"osm": _name(item), "way": _way(item), **self._tags(item.tags)}
        return {**named, "geometry": wkb, PROBLEM: problem}

    def _tags(self, tags: Any) -> dict[str, str | None]:
        found = {key: tags.get(key) for key in self._kept}
        if self._rest:
            others = {tag.k: tag.v for tag in tags if tag.k not in found}
            found[OTHERS] = json.dumps(others, ensure_ascii=False, sort_keys=True) if others else None
        return found

    def _frequent(self) -> list[str]:
        """Return the tags that many of the wanted objects have, the most frequent first."""
        counts: Counter[str] = Counter()
        wanted, number = self._filter, 0
        try:
            for item in osmium.FileProcessor(self.path).with_filter(osmium.filter.KeyFilter(*wanted.tags)):
                if (type(item) is osmium.osm.Node) == (wanted.geometry == "point") and _matches(item.tags, wanted):
                    number += 1
                    counts.update(tag.k for tag in item.tags)
        except (RuntimeError, OSError):
            raise self._unreadable() from None
        often = [key for key, count in counts.most_common(MOST_TAGS) if count >= FREQUENT * number]
        return [key for key in often if key not in ("osm", "way", OTHERS, *RESERVED_COLUMNS)]

    def _unreadable(self) -> BadInput:
        return cannot_read(
            self.path,
            Text(
                en="the extract is damaged or cut off; download it anew",
                vi="tệp trích OpenStreetMap bị hỏng hoặc bị cụt; hãy tải lại",
            ),
        )

    def _frame(self, items: list[dict[str, Any]]) -> gpd.GeoDataFrame:
        geometry = shapely.from_wkb([item.pop("geometry") for item in items])
        problems = np.array([item.pop(PROBLEM) for item in items], dtype=object)
        columns = {name: [item[name] for item in items] for name in self.columns}
        return make_batch({n: pd.Series(v, dtype=object) for n, v in columns.items()}, geometry, problems)


def _named(path: Path, layer: str | None) -> OsmFilter:
    """Read "line:highway" or "point:amenity=school,college"; without a word the usual ones are named."""
    found = _LAYER.fullmatch(layer or "")
    if found is None:
        raise LayerNotChosen(path.name, USUAL, layer)
    geometry, key, values = found.groups()
    chosen = tuple(v.strip() for v in values.split(",") if v.strip()) if values else (ANY,)
    return OsmFilter(geometry=geometry, tags={key: chosen or (ANY,)})


def _is_outline(item: Any) -> bool:
    """Return whether an object is meant as an area: a relation of outlines, or a way that ends where it begins."""
    if item.is_relation():
        return item.tags.get("type") in ("multipolygon", "boundary")
    return bool(item.is_way() and len(item.nodes) > 1 and item.nodes[0].ref == item.nodes[-1].ref)


def _is_kind(item: Any, geometry: str) -> bool:
    if geometry == "point":
        return bool(item.is_node())
    if geometry == "line":
        return bool(item.is_way())
    return bool(item.is_area())


def _matches(tags: Any, wanted: OsmFilter) -> bool:
    def has(which: Mapping[str, tuple[str, ...]]) -> bool:
        return any(k in tags and (ANY in values or tags[k] in values) for k, values in which.items())

    return has(wanted.tags) and not has(wanted.without) and all(key in tags for key in wanted.require)


def _wkb(shapes: Any, item: Any, geometry: str) -> str:
    if geometry == "point":
        return str(shapes.create_point(item))
    if geometry == "line":
        return str(shapes.create_linestring(item))
    return str(shapes.create_multipolygon(item))


def _name(item: Any) -> str:
    if item.is_node():
        return f"node/{item.id}"
    if item.is_way():
        return f"way/{item.id}"
    if item.is_relation():
        return f"relation/{item.id}"
    return f"{'way' if item.from_way() else 'relation'}/{item.orig_id()}"


def _way(item: Any) -> str | None:
    name = _name(item)
    return name.removeprefix("way/") if name.startswith("way/") else None
