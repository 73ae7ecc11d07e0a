"""GTFS timetables: stops, routes and shapes as layers."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pandas.errors import ParserWarning

from ingest.frames import with_columns
from ingest.readers import archive
from ingest.readers.source import (
    CRS_OF_FORMAT,
    FeatureReader,
    Reader,
    ReadOptions,
    cannot_read,
    choose_layer,
    make_batch,
    missing_columns,
    unique_names,
)
from ingest.readers.table import CsvReader, Rows
from twin.text import Text

Notes = list[tuple[str, str | Text]]
LAYERS = ("stops", "routes", "shapes")
TABLES = ("stops.txt", "routes.txt", "trips.txt", "shapes.txt")
STOP_TIMES = "stop_times.txt"
# What GTFS says by fixed names and numbers, under the names that people use; the feed's own columns stay beside them.
NAMES = {
    "stops": {"id": "stop_id", "name": "stop_name", "code": "stop_code"},
    "routes": {"id": "route_id", "name": "route_long_name", "code": "route_short_name"},
}
_MODES = {
    "0": "tram", "1": "metro", "2": "rail", "3": "bus", "4": "ferry", "5": "cable tram", "6": "cable car",
    "7": "funicular", "11": "bus", "12": "monorail",
}  # fmt: skip
# The hundreds of the extended types.
_EXTENDED = {
    1: "rail", 2: "bus", 4: "metro", 7: "bus", 8: "bus", 9: "tram", 10: "ferry", 12: "ferry", 13: "cable car",
    14: "funicular",
}  # fmt: skip


def mode_of(route_type: object) -> str | None:
    """Return the mode that a route_type stands for; an unknown number stays as it is."""
    text = str(route_type).strip() if isinstance(route_type, str) else ""
    if not text.isdigit():
        return text or None
    return _MODES.get(text) or (_EXTENDED.get(int(text) // 100) if len(text) in (3, 4) else None) or text


def open_gtfs(path: Path, options: ReadOptions) -> Reader:
    """Open one layer of a timetable. Routes are drawn by the shapes of their trips."""
    names = [entry.filename for entry in archive.members(path, options.limits)]
    tables = {name.rpartition("/")[2]: name for name in names if name.rpartition("/")[2] in TABLES}
    present = tuple(layer for layer in LAYERS if f"{layer}.txt" in tables)
    layer = choose_layer(path.name, present, options.layer)
    folder = archive.unpack(path, options, list(tables.values()))
    try:
        files = {name: folder / inner for name, inner in tables.items()}
        if layer == "stops":
            times = next((name for name in names if name.rpartition("/")[2] == STOP_TIMES), None)
            reader: _Stops | _Lines = _Stops(path, files, options, times)
        else:
            reader = _Lines(path, files, options, layer)
        reader.layer, reader.layers = layer, present
        reader.own(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return reader


class _Stops(CsvReader):
    """Stops, stations and entrances, as points."""

    format = "GTFS"

    def __init__(self, path: Path, files: dict[str, Path], options: ReadOptions, times: str | None) -> None:
        columns = replace(options, longitude="stop_lon", latitude="stop_lat", wkt=None, crs=None)
        _is_utf16(path, files["stops.txt"])
        super().__init__(path, columns, files["stops.txt"])
        self.crs, self.crs_reason = 4326, CRS_OF_FORMAT
        self._modes = self._modes_of_stops(files, times)
        added = NAMES["stops"] | ({"mode": "stop_id"} if self._modes is not None else {})
        self._added = {new: of for new, of in added.items() if new not in self._header and of in self._header}
        self.columns = {**dict.fromkeys(self._added, "text"), **self.columns}

    def _modes_of_stops(self, files: dict[str, Path], times: str | None) -> Callable[[Any], str | None] | None:
        """Return what calls at a stop: the only mode of the timetable, or the one of the trips that stop there."""
        if "routes.txt" not in files:
            return None
        routes = _read(self.path, files["routes.txt"], self.notes)
        if not {"route_id", "route_type"} <= set(routes.columns):
            return None
        modes = {route: mode_of(kind) for route, kind in zip(routes["route_id"], routes["route_type"], strict=True)}
        if len(set(modes.values())) == 1:
            only = next(iter(modes.values()))
            return lambda _: only
        if times is None or "trips.txt" not in files:
            return None
        folder = archive.unpack(self.path, self.options, [times])
        self.own(folder)
        trips = _read(self.path, files["trips.txt"], self.notes)
        calls = _read(self.path, folder / times, self.notes, usecols=lambda name: name in ("trip_id", "stop_id"))
        if not {"route_id", "trip_id"} <= set(trips.columns) or not {"trip_id", "stop_id"} <= set(calls.columns):
            return None
        of_trips = dict(zip(trips["trip_id"], trips["route_id"].map(modes), strict=True))
        calls = calls.assign(mode=calls["trip_id"].map(of_trips)).dropna()[["stop_id", "mode"]]
        # Where several call, the most frequent one.
        frequent = calls.value_counts().reset_index().drop_duplicates("stop_id")
        of_stops = dict(zip(frequent["stop_id"], frequent["mode"], strict=True))
        return of_stops.get

    def _batch(self, rows: Rows) -> gpd.GeoDataFrame:
        batch = super()._batch(rows)
        more = {new: batch[of].map(self._modes) if new == "mode" and self._modes else batch[of]
                for new, of in self._added.items()}  # fmt: skip
        return with_columns(batch, {name: values.astype(object) for name, values in more.items()})


class _Lines(FeatureReader):
    """Shapes, or the routes that use them, as lines; the order of the points is the one that they are numbered by."""

    format = "GTFS"
    driver = "csv"

    def __init__(self, path: Path, files: dict[str, Path], options: ReadOptions, layer: str) -> None:
        super().__init__(path, options)
        self.crs, self.crs_reason = 4326, CRS_OF_FORMAT
        self._lines = _shapes(path, files.get("shapes.txt"), self.notes)
        if layer == "shapes":
            self._table = pd.DataFrame({"shape_id": self._lines.index.to_numpy(dtype=object)})
            self._of = [[shape] for shape in self._table["shape_id"]]
        else:
            self._table = _read(path, files["routes.txt"], self.notes)
            self._of = self._shapes_of_routes(files.get("trips.txt"))
            self._add_names()
        names = unique_names(list(self._table.columns))
        self._table.columns = pd.Index(names)
        self.columns = dict.fromkeys(names, "text")
        self.count = len(self._table)

    def _add_names(self) -> None:
        table = self._table
        more: dict[str, Any] = {new: table[of] for new, of in NAMES["routes"].items() if of in table}
        if "code" in more:
            more["name"] = more.get("name", more["code"]).where(more.get("name", more["code"]).notna(), more["code"])
        if "route_type" in table:
            more["mode"] = table["route_type"].map(mode_of)
        self._table = pd.DataFrame(
            {**{n: values for n, values in more.items() if n not in table}, **dict(table.items())}
        )

    def _shapes_of_routes(self, trips: Path | None) -> list[list[str]]:
        missing_columns(self.path, {"route_id"}, dict.fromkeys(self._table.columns, "text"))
        used: dict[str, list[str]] = {}
        if trips is not None:
            table = _read(self.path, trips, self.notes)
            if {"route_id", "shape_id"} <= set(table.columns):
                for route, shape in table[["route_id", "shape_id"]].drop_duplicates().itertuples(index=False):
                    used.setdefault(route, []).append(shape)
        return [sorted(str(s) for s in used.get(route, ()) if pd.notna(s)) for route in self._table["route_id"]]

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Yield the lines, at most `rows` at a time; a route without a shape has no geometry."""
        for start in range(0, len(self._table), rows):
            part = self._table.iloc[start : start + rows].reset_index(drop=True)
            shapes = np.full(len(part), None, dtype=object)
            for i, used in enumerate(self._of[start : start + rows]):
                lines = [line for shape in used if (line := self._lines.get(shape)) is not None]
                if lines:
                    shapes[i] = lines[0] if len(lines) == 1 else shapely.multilinestrings(lines)
            yield make_batch({name: part[name].astype(object) for name in self.columns}, shapes)


def _table(path: Path, file: Path, notes: Notes, **options: Any) -> pd.DataFrame:
    """Read a table of the timetable; lines that are not as wide as its header are named, and left out."""
    wide = _is_utf16(path, file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ParserWarning)
        try:
            table = pd.read_csv(
                file, encoding="utf-16" if wide else "utf-8-sig", encoding_errors="replace", on_bad_lines="warn",
                skipinitialspace=True, index_col=False, **options,
            )  # fmt: skip
        except (ValueError, OSError, OverflowError):
            raise cannot_read(
                path,
                Text(
                    en="{name} in it is not a table with commas as GTFS asks; export the timetable anew",
                    vi="{name} bên trong không phải bảng phân cách bằng dấu phẩy theo GTFS; hãy xuất lại",
                ).format(name=file.name),
            ) from None
    bad = [int(line) for w in caught for line in re.findall(r"line (\d+)", str(w.message))]
    if any("Length of header" in str(w.message) for w in caught):
        longer = Text(en="{file}: what stands behind the last column", vi="{file}: phần đứng sau cột cuối")
        notes.append(("rows.left_out", longer.format(file=file.name)))
    if bad:
        some = ", ".join(map(str, bad[:5])) + (" …" if len(bad) > 5 else "")
        detail = Text(en="{file}: {n} lines ({some})", vi="{file}: {n} dòng ({some})")
        notes.append(("rows.left_out", detail.format(file=file.name, n=len(bad), some=some)))
    return table


def _is_utf16(path: Path, file: Path) -> bool:
    """Return whether a table begins with the mark of UTF-16; refuse one that is UTF-16 without it."""
    with file.open("rb") as content:
        head = content.read(64)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\0" in head:
        raise cannot_read(
            path,
            Text(
                en="{name} in it is in UTF-16 without a mark that says so; GTFS asks for UTF-8: save it anew in that",
                vi="{name} bên trong là UTF-16 mà không có dấu nhận biết; GTFS yêu cầu UTF-8: hãy lưu lại theo UTF-8",
            ).format(name=file.name),
        )
    return False


def _read(path: Path, file: Path, notes: Notes, **options: Any) -> pd.DataFrame:
    return _table(path, file, notes, dtype=str, keep_default_na=False, na_values=[""], **options).astype(object)


def _shapes(path: Path, file: Path | None, notes: Notes) -> pd.Series:
    """Return every shape as a line, by its id."""
    if file is None:
        return pd.Series(dtype=object)
    needed = ["shape_id", "shape_pt_lat", "shape_pt_lon", "shape_pt_sequence"]
    table = _table(path, file, notes, usecols=lambda name: name in needed, dtype={"shape_id": str}, na_values=[""],
                   keep_default_na=False)  # fmt: skip
    missing_columns(path, set(needed), dict.fromkeys(map(str, table.columns), "text"))
    read = len(table)
    for name in needed[1:]:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    table = table[np.isfinite(table[needed[1:]]).all(axis=1) & table["shape_id"].notna()]
    if len(table) < read:
        detail = Text(en="{file}: {n} points without numbers", vi="{file}: {n} điểm không có số")
        notes.append(("rows.left_out", detail.format(file=file.name, n=read - len(table))))
    table = table.assign(shape_id=table["shape_id"].astype("category"))
    table = table.sort_values(["shape_id", "shape_pt_sequence"], kind="stable")
    codes = table["shape_id"].cat.codes.to_numpy()
    ids = np.asarray(table["shape_id"].cat.categories, dtype=object)
    coordinates = table[["shape_pt_lon", "shape_pt_lat"]].to_numpy(dtype=float)
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.empty(0, int)
    ends = np.append(starts[1:], len(codes)) if len(codes) else starts
    lines: dict[str, Any] = {}
    for begin, end in zip(starts, ends, strict=True):
        # A line needs two points; a shape with one is drawn nowhere.
        lines[str(ids[codes[begin]])] = shapely.linestrings(coordinates[begin:end]) if end - begin > 1 else None
    return pd.Series(lines, dtype=object)
