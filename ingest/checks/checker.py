"""The checks themselves: a file's batches in, good features and entries for quarantine out, a report at the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from ingest.checks.contract import CheckedBatch, fields_of_theme, split_by_fault
from ingest.checks.coverage import CoveragePolygons, gaps, overlaps
from ingest.checks.faults import Faults, Mask
from ingest.checks.kinds import KINDS
from ingest.checks.names import likely_term
from ingest.checks.picture import EvenSample
from ingest.checks.plan import Plan, decode
from ingest.checks.problems import AS_WRITTEN, Example, Ledger, Value
from ingest.checks.report import Report
from ingest.checks.shapes import CheckedShapes, area_of, check_shapes
from ingest.mapping.joins import JoinedRows, as_text
from ingest.mapping.rows import apply, select
from ingest.publish.identity import ids_from_geometry
from ingest.readers.row_problems import UNREADABLE, read_row_problem
from ingest.readers.source import PROBLEM, RAW, WKB
from ingest.repeats import EarlierValues, hash_coordinates, hash_shapes, hash_values
from twin.catalogue.catalogue import Bounds
from twin.text import Text

Objects = npt.NDArray[np.object_]


@dataclass
class _Counts:
    features: int = 0
    good: int = 0
    bad: int = 0
    mended: int = 0
    without_id: int = 0
    left_out: int = 0
    repeated: int = 0
    bounds: list[float] = field(default_factory=lambda: [np.inf, np.inf, -np.inf, -np.inf])


class Identities:
    """The ids and the geometries of a layer so far, in eight bytes each; the files of one layer share them."""

    def __init__(self) -> None:
        self.ids, self.shapes = EarlierValues(), EarlierValues()


class Checker:
    """Checks a file as its plan says, batch by batch. Memory: a batch, sixteen bytes a feature, and for a theme that
    should tile the plane its polygons up to a limit. `identities` are shared by the files of one layer.
    """

    def __init__(self, plan: Plan, identities: Identities | None = None) -> None:
        self.plan = plan
        self._near = area_of(plan.city.outline)
        self._ledger = Ledger(plan.limits.examples)
        self._counts = _Counts()
        self._identities = identities or Identities()
        self._selected, self._values_of_id = EarlierValues(), EarlierValues()
        # What follows from a problem of the whole file is not repeated for each feature.
        self._moot = _moot(plan)
        self._sample = EvenSample()
        covers = plan.theme.coverage and plan.theme.geometry == "polygon"
        self._coverage = CoveragePolygons(plan.limits.coverage, plan.limits.vertices) if covers else None
        for code, detail, of in plan.problems:
            self._ledger.note(code, [Example("", detail)] if detail else [], of=of)

    def feed(self, raw: gpd.GeoDataFrame) -> CheckedBatch:
        """Check a batch as the reader gives it.

        `good` has the layer's columns, `id` and the geometry in EPSG:4326. Every row is in `good` or in `bad`.
        """
        plan = self.plan
        read = len(raw)
        raw, problems, written, wkb = _without_notes(raw.reset_index(drop=True))
        decoded = decode(raw, plan.encodings)
        self._count_repeats(decoded)
        selected = select(plan.mapping, decoded, self._selected)
        for part, count in selected.left_out.items():
            self._counts.left_out += count
            self._ledger.note("row.left_out", [Example("", part)], count)
        if not selected.kept.all():
            problems, written, wkb = (None if c is None else c[selected.kept] for c in (problems, written, wkb))
        matched = selected.matched
        if matched is not None and matched.shapes is not None:
            problems, written, wkb = None, None, None
        original = np.asarray(selected.features.geometry.values, dtype=object)
        features = apply(plan.mapping, selected.features, plan.theme, plan.columns)
        straight = plan.reference.reading.straighten(original)
        if straight is not original:
            features = features.set_geometry(gpd.GeoSeries(straight))

        faults = Faults(len(features))
        _add_notes(problems, faults)
        if matched is not None and matched.shapes is not None:
            self._add_unmatched(selected.features, matched, faults)
        geometry = check_shapes(
            straight, plan.theme.geometry, plan.reference.reading.crs, self._near, faults, plan.usual_place
        )
        values = fields_of_theme(
            features, plan.theme, plan.columns, faults, plan.limits.text, plan.solid_columns, plan.city.time_zone
        )
        self._identify(features, geometry, values, faults)
        self._note(features, geometry, faults)
        bad_rows = np.flatnonzero(~faults.none)
        checked = split_by_fault(features, geometry, values, faults)
        if geometry.shapes is original and not checked.bad and wkb is not None and len(wkb) and wkb[0] is not None:
            # Nothing was changed or left out: what the file has need not be written again.
            checked = replace(checked, measured=replace(checked.measured, wkb=wkb))
        if written is not None:
            # A geometry that could not be read goes to quarantine as the file has it.
            for row, entry in zip(bad_rows, checked.bad, strict=True):
                if isinstance(written[row], str):
                    entry["properties"][AS_WRITTEN] = written[row]
        self._count(checked, read, geometry.mended)
        return checked

    def _count_repeats(self, raw: gpd.GeoDataFrame) -> None:
        """Count the rows that repeat a value of the column that looks like an id: a sample only suspects them."""
        repeats = self.plan.matches.repeats
        if repeats is None or self.plan.matches.rows.unique or repeats.column not in raw:
            return
        values = as_text(raw[repeats.column]).dropna().to_numpy(dtype=object)
        self._counts.repeated += int(self._values_of_id.find_repeats(hash_values(values)).sum())

    def _add_unmatched(self, features: gpd.GeoDataFrame, matched: JoinedRows, faults: Faults) -> None:
        """Note the rows that the join finds no shape for, or several."""
        join = self.plan.mapping.rows.join
        assert join is not None  # noqa: S101  # it matched
        keys = as_text(features[join.on]).fillna("")

        def detail(row: int) -> str:
            return f"{join.on} = {keys.iloc[row]}"

        faults.add(~matched.found & ~matched.ambiguous, "join.unmatched", detail, join.on)
        faults.add(matched.ambiguous, "join.ambiguous", detail, join.on)
        faults.add(matched.padded, "join.padded", detail, join.on)

    def finish(self) -> Report:
        """End the checks: what needs the whole layer, then the report."""
        plan, counts = self.plan, self._counts
        if counts.features == 0 and "file.empty" not in plan.blockers:
            self._ledger.note("file.empty")
        if counts.repeated and plan.matches.repeats is not None:
            detail = Text(
                en="{n:,} of {of:,} rows ({share:.0%}) repeat a value that came before",
                vi="{n:,}/{of:,} dòng ({share:.0%}) lặp lại giá trị đã có",
            ).format(n=counts.repeated, of=counts.features, share=counts.repeated / counts.features)
            column = plan.matches.repeats.column
            self._ledger.note("id.repeats", [Example("", detail)], counts.repeated, of=column)
        if counts.without_id:
            self._ledger.note("id.missing", count=counts.without_id)
        if self._coverage is not None:
            self._check_coverage(self._coverage)
        self._ledger.set_values(self._value)
        bounds: Bounds | None = tuple(counts.bounds) if counts.good else None  # type: ignore[assignment]
        return Report(
            plan=plan, features=counts.features, good=counts.good, bad=counts.bad, mended=counts.mended,
            bounds=bounds, problems=tuple(self._ledger.problems), shapes=self._sample.shapes(),
            left_out=counts.left_out,
        )  # fmt: skip

    def _value(self, of: str | None, value: str, count: int) -> Value:
        """Describe a value that is a problem, with the most similar term of the field's vocabulary."""
        vocabulary = self.plan.theme.by_name[of].vocabulary if of else None
        term = likely_term(value, self.plan.theme.by_name[of]) if of and vocabulary else None
        return Value(value, count, term, vocabulary[term].title if vocabulary and term else None)

    def _identify(
        self, features: gpd.GeoDataFrame, geometry: CheckedShapes, values: dict[str, Any], faults: Faults
    ) -> None:
        """Give every feature an id, and find ids and geometries that came before."""
        ids: Objects = features["id"].to_numpy(dtype=object).copy()
        zeros = np.array([isinstance(value, str) and "\0" in value for value in ids], dtype=bool)
        if zeros.any():
            faults.add(zeros, "text.control", lambda row: f"id = {features['id'].iloc[row]}", "id")
            ids[zeros] = [value.replace("\0", "") or None for value in ids[zeros]]
        unnamed = pd.isna(ids)
        good = faults.none
        ids[unnamed & good] = ids_from_geometry(geometry.shapes[unnamed & good])
        values["id"] = ids
        self._counts.without_id += int(unnamed.sum())

        rows = np.flatnonzero(good)
        repeated = np.zeros(len(ids), dtype=bool)
        repeated[rows] = self._identities.ids.find_repeats(hash_values(ids[rows]))
        faults.add(repeated & ~unnamed, "id.duplicate", lambda row: f"id = {ids[row]}")
        faults.add(repeated & unnamed, "geometry.duplicate")
        named = rows[~unnamed[rows] & ~repeated[rows]]
        same = np.zeros(len(ids), dtype=bool)
        same[named] = self._identities.shapes.find_repeats(_hashes(geometry, named))
        place = self.plan.theme.geometry == "point"
        faults.add(same, "geometry.same_place" if place else "geometry.same")

    def _note(self, features: gpd.GeoDataFrame, geometry: CheckedShapes, faults: Faults) -> None:
        """Count what was found, with examples that can be found again: by id, else by the row in the file."""
        ids = features["id"].to_numpy(dtype=object)
        first = self._counts.features + 1

        def name(row: int) -> str:
            return f"#{first + row}" if pd.isna(ids[row]) else str(ids[row])

        for finding in faults.found:
            if (finding.code, finding.field) in self._moot or (finding.code, None) in self._moot:
                continue

            def example(row: int, finding: Any = finding) -> Example:
                return Example(name(row), finding.detail(row), _place(geometry.arrived[row]))

            self._ledger.rows(finding.code, finding.where, example, finding.field)
            if finding.values:
                self._ledger.count_values(finding.code, finding.field, finding.values)

    def _count(self, checked: CheckedBatch, features: int, mended: int) -> None:
        counts, good = self._counts, checked.good
        counts.features += features
        counts.good += len(good)
        counts.bad += len(checked.bad)
        counts.mended += mended
        if not len(good):
            return
        shapes = np.asarray(good.geometry.values, dtype=object)
        west, south, east, north = checked.measured.total_bounds
        b = counts.bounds
        counts.bounds = [
            min(b[0], float(west)), min(b[1], float(south)), max(b[2], float(east)), max(b[3], float(north))
        ]  # fmt: skip
        self._sample.add(shapes)
        if self._coverage is not None:
            self._coverage.add(shapes, self._labels(good))

    def _labels(self, good: gpd.GeoDataFrame) -> Objects:
        """Return ids with names, if the theme has names: a person knows a ward by its name."""
        ids = good["id"].astype(str)
        label = self.plan.theme.label
        if label is None or label not in good or good[label].isna().all():
            own: npt.NDArray[np.object_] = ids.to_numpy(dtype=object)
            return own
        names = good[label].astype(object).where(good[label].notna(), "")
        return np.array([f"{i} {n}".strip() for i, n in zip(ids, names, strict=True)], dtype=object)

    def _check_coverage(self, collected: CoveragePolygons) -> None:
        if collected.is_full:
            detail = Text(
                en="more than {n:,} features or too many vertices", vi="hơn {n:,} đối tượng hoặc quá nhiều đỉnh"
            ).format(n=collected.most_features)
            self._ledger.note("coverage.skipped", [Example("", detail)])
            return
        shapes, names = collected.all()
        found = overlaps(shapes)
        if found:
            self._ledger.note(
                "coverage.overlap",
                (Example(f"{names[o.one]} – {names[o.other]}", _area(o.area), o.place) for o in found),
                len(found),
            )
        holes = gaps(shapes)
        if holes:
            self._ledger.note(
                "coverage.gap",
                (Example(_between(names, g.neighbours), _area(g.area, g.width), g.place) for g in holes),
                len(holes),
            )


# What the features of a file cannot help while the whole file has one of these problems.
_FOLLOWS = {
    "geometry.unmapped": ("geometry.missing",),
    "crs.unknown": ("geometry.outside_city", "geometry.outside_crs", "geometry.stray"),
    "crs.wrong": ("geometry.outside_city", "geometry.outside_crs", "geometry.stray"),
}


def _moot(plan: Plan) -> frozenset[tuple[str, str | None]]:
    """Return the problems of features, as (code, field), that follow from a problem of the whole file."""
    moot: set[tuple[str, str | None]] = set()
    for code, _, of in plan.problems:
        moot |= {(follows, None) for follows in _FOLLOWS.get(code, ())}
        if code == "field.unmapped":
            moot.add(("field.required", of))
    return frozenset(moot)


def _hashes(geometry: CheckedShapes, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """Return a hash of each of some of a batch's geometries."""
    if len(rows) < len(geometry.shapes):
        return hash_shapes(geometry.shapes[rows])
    return hash_coordinates(geometry.measured.coordinates, geometry.measured.owner, len(rows))


def _area(area: float, width: float | None = None) -> Text:
    if width is None:
        return Text(en="{area:,.2f} m²", vi="{area:,.2f} m²").format(area=area)
    wide = Text(en="{area:,.2f} m², {width:,.2f} m wide", vi="{area:,.2f} m², rộng {width:,.2f} m")
    return wide.format(area=area, width=width)


def _between(names: Objects, neighbours: tuple[int, ...]) -> str:
    names_shown = " – ".join(str(names[n]) for n in neighbours[:3])
    return f"{names_shown} …" if len(neighbours) > 3 else names_shown


def _place(shape: Any) -> tuple[float, float] | None:
    if shape is None or shapely.is_empty(shape):
        return None
    west, south, east, north = shapely.bounds(shape)
    middle = (float(west + east) / 2, float(south + north) / 2)
    return middle if all(np.isfinite(middle)) else None


def _without_notes(raw: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, Objects | None, Objects | None, Objects | None]:
    """Take off the columns in which a reader says what it could not read, what the file has there, and its WKB."""
    known = [c for c in (PROBLEM, RAW, WKB) if c in raw]
    notes, written, wkb = (raw[c].to_numpy(dtype=object) if c in known else None for c in (PROBLEM, RAW, WKB))
    return raw.drop(columns=known), notes, written, wkb


def _add_notes(notes: Objects | None, faults: Faults) -> None:
    if notes is None:
        return
    noted: Mask = ~pd.isna(notes)
    if not noted.any():
        return
    codes = np.array([read_row_problem(str(n))[0] if there else "" for n, there in zip(notes, noted, strict=True)])
    for code in np.unique(codes[noted]):
        known = code if code in KINDS else UNREADABLE
        faults.add(noted & (codes == code), known, lambda row: read_row_problem(str(notes[row]))[1])
