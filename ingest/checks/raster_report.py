"""Plan and report of a raster's check: for people, for machines, for the catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ingest.checks.problems import Problem
from ingest.checks.reference import Reference
from ingest.checks.report import CheckReport
from ingest.readers.cell_tally import CellValues, Tally
from layers.theme import Theme
from twin.catalogue.catalogue import Bounds
from twin.cells.cover import parents, resolution_of
from twin.city import City
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import Description

BLOCKERS = frozenset({"crs.unknown", "crs.wrong", "raster.kind", "raster.empty", "raster.elsewhere"})


@dataclass(frozen=True, slots=True)
class RasterPlan:
    """All decisions about a raster, with their reasons. `codes` says what classes mean; None: the values count."""

    file: str
    format: str
    driver: str
    theme: Theme
    city: City
    reference: Reference
    description: Description
    band: int
    codes: Mapping[int, str] | None
    problems: tuple[tuple[str, str | Text], ...]

    @property
    def blockers(self) -> tuple[str, ...]:
        """The codes of what keeps the raster from being published."""
        return tuple(dict.fromkeys(code for code, _ in self.problems if code in BLOCKERS))

    def to_toml(self) -> str:
        """Return what the codes mean, as a file to edit and give back; a raster of quantities has nothing to edit."""
        if self.codes is None:
            return "# This raster holds quantities: there is nothing to map.\n"
        lines = [f"{code} = {json.dumps(term)}" for code, term in sorted(self.codes.items())]
        return "# What the codes of the raster's classes mean: terms of the theme.\n[codes]\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class RasterReport(CheckReport):
    """Result of a check, in pixels: `good` ones make the `cells`, `bad` ones are left out, `no_data` are neither."""

    plan: RasterPlan
    pixels: int
    no_data: int
    good: int
    bad: int
    low: float | None
    high: float | None
    classes: Mapping[int, int]
    cells: CellValues | None
    bounds: Bounds | None
    problems: tuple[Problem, ...]
    mended: int = 0

    @property
    def features(self) -> int:
        """The pixels that say something."""
        return self.good + self.bad

    @property
    def publishable(self) -> bool:
        """Whether anything could be published: the cells of the good pixels."""
        return (
            self.cells is not None
            and len(self.cells) > 0
            and not any(problem.code in BLOCKERS for problem in self.problems)
        )

    @property
    def shapes(self) -> tuple[BaseGeometry, ...]:
        """The extent, for a map of the report."""
        return (shapely.box(*self.bounds),) if self.bounds else ()

    def facts(self) -> dict[str, Any]:
        """Return what the catalogue says of the raster's file: numbers in the file's own system and unit."""
        raster, reading = self.plan.description, self.plan.reference.reading
        field = self.plan.theme.by_name[self.plan.theme.raster.field] if self.plan.theme.raster else None
        facts: dict[str, Any] = {
            "format": "COG", "crs": reading.code, "width": raster.width, "height": raster.height, "bands": raster.bands,
            "band": self.plan.band, "dtype": raster.dtypes[self.plan.band - 1],
            "nodata": _number(raster.nodata[self.plan.band - 1]),
            "pixel": list(raster.pixel), "bounds": list(raster.bounds),
            "outline": list(self.bounds) if self.bounds else None,
            "pixels": {"good": self.good, "left_out": self.bad, "no_data": self.no_data},
        }  # fmt: skip
        if self.plan.codes is None:
            facts |= {"minimum": self.low, "maximum": self.high, "unit": field.unit if field else None}
        else:
            facts["classes"] = {str(code): [self.plan.codes[code], count] for code, count in self.classes.items()}
        return facts

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON, in the form of the report of features, with `raster` instead of `fields`.

        raster        what the file is (width, height, bands, dtype, nodata, pixel, bounds) and what its pixels hold;
                      see `facts`. `cells`: how many cells the pixels make, `resolution`: of which H3 resolution
        features      read, good, bad: counted in pixels that have data
        """
        plan, reading = self.plan, self.plan.reference.reading
        return {
            "exit_code": self.exit_code,
            "publishable": self.publishable,
            "file": {
                "name": plan.file, "format": plan.format, "driver": plan.driver, "layer": None, "layers": [],
                "features": None,
            },
            "crs": {
                "code": reading.code, "name": reading.title.as_dict(), "treatment": None,
                "reason": plan.reference.reason.as_dict(),
                "fits": [
                    {"crs": f.reading.name.as_dict(), "inside": round(f.inside, 4)} for f in plan.reference.fits
                ],
            },
            "raster": {
                **self.facts(), "theme": plan.theme.name, "resolution": plan.theme.resolution,
                "cells": len(self.cells) if self.cells is not None else 0,
            },
            "features": {"read": self.features, "good": self.good, "bad": self.bad, "mended": 0},
            "bounds": list(self.bounds) if self.bounds else None,
            "problems": [problem.as_dict() for problem in self.problems],
        }  # fmt: skip


def _number(value: float | None) -> float | str | None:
    """JSON has no NaN."""
    return str(value) if value is not None and not np.isfinite(value) else value


def coarser(cells: CellValues, most: int) -> CellValues:
    """Return at most so many larger cells, with the mean or the most frequent value of theirs: a small map of many
    cells.
    """
    resolution = resolution_of(int(cells.cell[0])) if len(cells) else 0
    larger = cells.cell
    while resolution > 0 and len(np.unique(larger)) > most:
        resolution -= 1
        larger = parents(cells.cell, resolution)
    tally = Tally(cells.how)
    tally.add(larger, cells.value)
    return tally.result()
