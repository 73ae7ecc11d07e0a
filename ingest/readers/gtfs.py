"""GTFS timetables: stops, routes and shapes as layers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

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
from ingest.readers.table import CsvReader

LAYERS = ("stops", "routes", "shapes")
TABLES = ("stops.txt", "routes.txt", "trips.txt", "shapes.txt")


def open_gtfs(path: Path, options: ReadOptions) -> Reader:
    """Open one layer of a timetable. Routes are drawn by the shapes of their trips."""
    names = [entry.filename for entry in archive.members(path, options.limits)]
    tables = {name.rpartition("/")[2]: name for name in names if name.rpartition("/")[2] in TABLES}
    present = tuple(layer for layer in LAYERS if f"{layer}.txt" in tables)
    layer = choose_layer(path.name, present, options.layer)
    folder = archive.unpack(path, options, list(tables.values()))
    try:
        files = {name: folder / inner for name, inner in tables.items()}
        reader = _Stops(path, files, options) if layer == "stops" else _Lines(path, files, options, layer)
        reader.layer, reader.layers = layer, present
        reader.own(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return reader


class _Stops(CsvReader):
    """Stops, stations and entrances, as points."""

    format = "GTFS"

    def __init__(self, path: Path, files: dict[str, Path], options: ReadOptions) -> None:
        columns = replace(options, longitude="stop_lon", latitude="stop_lat", wkt=None, crs=None)
        super().__init__(path, columns, files["stops.txt"])
        self.crs, self.crs_reason = 4326, CRS_OF_FORMAT


class _Lines(FeatureReader):
    """Shapes, or the routes that use them, as lines; the order of the points is the one that they are numbered by."""

    format = "GTFS"
    driver = "csv"

    def __init__(self, path: Path, files: dict[str, Path], options: ReadOptions, layer: str) -> None:
        super().__init__(path, options)
        self.crs, self.crs_reason = 4326, CRS_OF_FORMAT
        self._lines = _shapes(path, files.get("shapes.txt"))
        if layer == "shapes":
            self._table = pd.DataFrame({"shape_id": self._lines.index.to_numpy(dtype=object)})
            self._of = [[shape] for shape in self._table["shape_id"]]
        else:
            self._table = _read(path, files["routes.txt"])
            self._of = self._shapes_of_routes(files.get("trips.txt"))
        names = unique_names(list(self._table.columns))
        self._table.columns = pd.Index(names)
        self.columns = dict.fromkeys(names, "text")
        self.count = len(self._table)

    def _shapes_of_routes(self, trips: Path | None) -> list[list[str]]:
        missing_columns(self.path, {"route_id"}, dict.fromkeys(self._table.columns, "text"))
        used: dict[str, list[str]] = {}
        if trips is not None:
            table = _read(self.path, trips)
            if {"route_id", "shape_id"} <= set(table.columns):
                for route, shape in table[["route_id", "shape_id"]].drop_duplicates().itertuples(index=False):
                    used.setdefault(route, []).append(shape)
        return [sorted(str(s) for s in used.get(route, ()) if pd.notna(s)) for route in self._table["route_id"]]

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Give the lines, at most `rows` at a time; a route without a shape has no geometry."""
        for start in range(0, len(self._table), rows):
            part = self._table.iloc[start : start + rows].reset_index(drop=True)
            shapes = np.full(len(part), None, dtype=object)
            for i, used in enumerate(self._of[start : start + rows]):
                lines = [line for shape in used if (line := self._lines.get(shape)) is not None]
                if lines:
                    shapes[i] = lines[0] if len(lines) == 1 else shapely.multilinestrings(lines)
            yield make_batch({name: part[name].astype(object) for name in self.columns}, shapes)


def _read(path: Path, file: Path, **options: Any) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            file, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig", encoding_errors="replace",
            on_bad_lines="skip", skipinitialspace=True, **options,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise cannot_read(path, f"{file.name}: {error}") from None
    return table.astype(object)


def _shapes(path: Path, file: Path | None) -> pd.Series:
    """Every shape as a line, by its id."""
    if file is None:
        return pd.Series(dtype=object)
    needed = ["shape_id", "shape_pt_lat", "shape_pt_lon", "shape_pt_sequence"]
    try:
        table = pd.read_csv(
            file, usecols=needed, dtype={"shape_id": "category"}, encoding="utf-8-sig", encoding_errors="replace",
            on_bad_lines="skip", skipinitialspace=True,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise cannot_read(path, f"{file.name}: {error}") from None
    for name in needed[1:]:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table = table.dropna().sort_values(["shape_id", "shape_pt_sequence"], kind="stable")
    codes = table["shape_id"].cat.codes.to_numpy()
    ids = np.asarray(table["shape_id"].cat.categories, dtype=object).astype(str)
    coordinates = table[["shape_pt_lon", "shape_pt_lat"]].to_numpy(dtype=float)
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.empty(0, int)
    lines = {}
    for begin, end in zip(starts, np.r_[starts[1:], len(codes)], strict=True):
        # A line needs two points; a shape with one is drawn nowhere.
        lines[ids[codes[begin]]] = shapely.linestrings(coordinates[begin:end]) if end - begin > 1 else None
    return pd.Series(lines, dtype=object)
