"""The check of a raster: what it is, where it lies, which pixels can be used, and the cells that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h3
import numpy as np
import numpy.typing as npt
import shapely

from ingest.checks.problems import EXAMPLES, Example, Ledger
from ingest.checks.raster_report import RasterPlan, RasterReport
from ingest.checks.reference import decide_reference
from ingest.checks.shapes import area_of
from ingest.readers.cell_tally import CellValues, Tally
from ingest.readers.source import CRS_GIVEN, LayerNotChosen
from layers.theme import Raster, Theme
from twin.bounded_toml import read_toml
from twin.cells.cover import cell_places
from twin.city import City
from twin.errors import BadInput
from twin.text import Text

if TYPE_CHECKING:
    from ingest.readers.raster import Block, RasterReader

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
# Different classes that are counted; a raster with more of them is not one of classes.
MOST_CLASSES = 1000
# What may be done to vector coordinates would turn or stretch a raster's pixels: such a reading is no reading here.
UNUSABLE = frozenset({"crs.swapped", "crs.units", "crs.impossible"})


def inspect_raster(
    reader: RasterReader, theme: Theme, city: City, mapping: Path | Mapping[str, str] | None = None, crs: Any = None,
    band: str | None = None, file: str | None = None,
) -> RasterPlan:  # fmt: skip
    """Look at a raster and decide how it is read: its band, its coordinate system, what its codes mean."""
    of = theme.raster
    name = file or reader.path.name
    if of is None:
        raise BadInput(wrong_theme(name, theme))
    description = reader.describe()
    chosen = _band(name, description.band_names, band)
    codes = _codes(theme, of, mapping)
    ledger: list[tuple[str, str | Text]] = []
    values, known, places = reader.overview(chosen)
    usable = known & _fits(theme, codes, values)
    reason = CRS_GIVEN if crs else reader.crs_reason
    reference = decide_reference(
        places[usable if usable.any() else known], reader.crs, reason, city, confirmed=crs is not None
    )
    for code, detail in reference.problems:
        ledger.append(("crs.wrong" if code in UNUSABLE else code, detail))
    if reference.reading.is_plain:
        reader.crs = reference.reading.crs
    if description.picture or (description.colours and codes is None):
        ledger.append(
            ("raster.kind", Text(en="the file holds colours, not values", vi="tệp chứa màu sắc, không phải giá trị"))
        )
    if description.bands > 1 and band is None:
        ledger.append(
            (
                "raster.bands",
                Text(en="band 1 of {n} is read", vi="đọc kênh 1 trong {n} kênh").format(n=description.bands),
            )
        )
    unit, wanted = description.units[chosen - 1], theme.by_name[of.field].unit
    if unit and wanted and _plain_unit(unit) != wanted:
        detail = Text(en="the file says {unit}, the theme {wanted}", vi="tệp ghi {unit}, chuyên đề dùng {wanted}")
        ledger.append(("raster.unit", detail.format(unit=unit, wanted=wanted)))
    if description.nodata[chosen - 1] is None:
        ledger.append(("raster.no_data", ""))
    return RasterPlan(
        file=name, format=reader.format, driver=reader.driver, theme=theme, city=city, reference=reference,
        description=description, band=chosen, codes=codes, problems=tuple(ledger),
    )  # fmt: skip


def wrong_theme(file: str, theme: Theme) -> Text:
    """Return the error for a raster given to a theme of features."""
    from layers.registry import themes

    return Text(
        en="{file} is a raster, and the theme “{theme}” takes features. Themes of rasters: {rasters}.",
        vi="{file} là ảnh raster, còn chuyên đề “{theme}” nhận đối tượng. Các chuyên đề raster: {rasters}.",
    ).format(
        file=file, theme=theme.name, rasters=", ".join(sorted(n for n, t in themes().items() if t.raster is not None))
    )


@dataclass
class _Counts:
    """Pixels counted on the way."""

    pixels: int = 0
    no_data: int = 0
    good: int = 0
    low: float = np.inf
    high: float = -np.inf


class RasterSurvey:
    """Reads a raster once, block by block: counts, problems, and the values of the cells."""

    def __init__(self, reader: RasterReader, plan: RasterPlan, done: Callable[[int, int], None]) -> None:
        self.reader, self.plan = reader, plan
        self._done = done
        self._ledger = Ledger(EXAMPLES)
        self._counts = _Counts()
        self._classes: Counter[int] = Counter()
        self._bad = 0
        self._near = area_of(plan.city.outline)
        for code, detail in plan.problems:
            self._ledger.note(code, [Example("", detail)] if detail else [])

    def run(self) -> tuple[RasterReport, CellValues | None]:
        """Return the report, and the cells unless something keeps the whole raster from being published."""
        cells = None if self.plan.blockers else self._sample()
        counts = self._counts
        if cells is not None:
            cells = self._within(cells)
        report = RasterReport(
            plan=self.plan, pixels=counts.pixels, no_data=counts.no_data, good=counts.good, bad=self._bad,
            low=counts.low if counts.good else None, high=counts.high if counts.good else None,
            classes=dict(sorted(self._classes.items())), cells=cells, bounds=self.reader.describe().outline,
            problems=tuple(self._ledger.problems),
        )  # fmt: skip
        return report, cells if report.publishable else None

    def _sample(self) -> CellValues:
        reader, theme = self.reader, self.plan.theme
        tally = Tally("mean" if self.plan.codes is None else "mode")
        fine = reader.samples_a_side(theme.resolution)
        if fine > 1:
            x, y = self.plan.description.pixel
            self._ledger.note("raster.coarse", [Example("", f"{x:g} × {y:g}")])
        for block in reader.blocks(self.plan.band, fine):
            good = self._judge(block)
            if good.any():
                tally.add(*reader.cells(block, good, fine, theme.resolution))
            self._done(self._counts.pixels, self.plan.description.width * self.plan.description.height)
        return tally.result()

    def _judge(self, block: Block) -> Mask:
        """Return which pixels of a block can be used; the others are counted by what is the matter."""
        counts, plan = self._counts, self.plan
        known = block.known & block.finite
        counts.pixels += block.values.size
        counts.no_data += int((~known).sum())
        self._note("raster.not_finite", block, block.known & ~block.finite)
        good = known & _fits(plan.theme, plan.codes, block.values)
        bad = known & ~good
        if bad.any():
            self._bad += int(bad.sum())
            code = "raster.range" if plan.codes is None else "raster.class"
            if plan.codes is None:
                self._note(code, block, bad)
            else:
                for value in np.unique(block.values[bad])[:MOST_CLASSES]:
                    self._note(code, block, bad & (block.values == value), f"{value:g}")
        if good.any():
            values = block.values[good]
            counts.good += len(values)
            counts.low, counts.high = min(counts.low, float(values.min())), max(counts.high, float(values.max()))
            if plan.codes is not None:
                codes, numbers = np.unique(values, return_counts=True)
                self._classes.update({int(c): int(n) for c, n in zip(codes, numbers, strict=True)})
        return good

    def _note(self, code: str, block: Block, where: Mask, of: str | None = None) -> None:
        """Count pixels with a problem; the first few are named by their value, row and column."""
        number = int(np.count_nonzero(where))
        if not number:
            return
        first = np.argwhere(where)[:EXAMPLES]
        examples = [self._example(block, int(row), int(column)) for row, column in first]
        self._ledger.note(code, examples, number, of)

    def _example(self, block: Block, row: int, column: int) -> Example:
        r, c = row + int(block.window.row_off), column + int(block.window.col_off)
        detail = Text(en="{value:g} in row {r}, column {c}", vi="{value:g} ở hàng {r}, cột {c}").format(
            value=float(block.values[row, column]), r=r + 1, c=c + 1
        )
        return Example("", detail, self.reader.place_of(r, c))

    def _within(self, cells: CellValues) -> CellValues:
        """Return the cells that are not far outside the city; none of them: it is a raster of another place."""
        if not len(cells):
            self._ledger.note("raster.empty")
            return cells
        x, y = cell_places(cells.cell).T
        near = shapely.contains_xy(self._near, x, y)
        away = int((~near).sum())
        if not near.any():
            self._ledger.note("raster.elsewhere", [Example("", _distance(self.plan.city, x, y))])
        elif away:
            detail = Text(en="{n:,} cells of {all:,}", vi="{n:,} trong {all:,} ô").format(n=away, all=len(cells))
            self._ledger.note("raster.beyond", [Example("", detail)], away)
        return cells.only(near)


def _distance(city: City, x: Floats, y: Floats) -> Text:
    middle = shapely.Point(float(x.mean()), float(y.mean()))
    inner = city.outline.centroid
    km = h3.great_circle_distance((middle.y, middle.x), (inner.y, inner.x), unit="km")
    return Text(en="{km:,.0f} km from the city", vi="cách thành phố {km:,.0f} km").format(km=km)


def _fits(theme: Theme, codes: Mapping[int, str] | None, values: Floats) -> Mask:
    """Return which values a theme can take: codes that mean something, or quantities within what is believable."""
    if codes is not None:
        return np.isin(values, list(codes))
    assert theme.raster is not None  # noqa: S101  # inspect_raster saw to it
    field = theme.by_name[theme.raster.field]
    low = -np.inf if field.minimum is None else field.minimum
    high = np.inf if field.maximum is None else field.maximum
    fits: Mask = (values >= low) & (values <= high)
    return fits


def _band(file: str, names: tuple[str | None, ...], wanted: str | None) -> int:
    """Return the chosen band, by number or name; else the first."""
    if wanted is None:
        return 1
    numbers = {str(i): i for i in range(1, len(names) + 1)}
    numbers |= {name: i for i, name in reversed(list(enumerate(names, 1))) if name}
    if wanted not in numbers:
        raise LayerNotChosen(file, list(numbers), wanted)
    return numbers[wanted]


def _codes(theme: Theme, of: Raster, mapping: Path | Mapping[str, str] | None) -> Mapping[int, str] | None:
    """Return what the codes of classes mean: as a person says, else as the theme does."""
    if mapping is None:
        return of.codes
    stated: Any = mapping
    try:
        if isinstance(mapping, Path):
            document = read_toml(mapping)
            if set(document) - {"codes"} or not isinstance(document.get("codes"), dict):
                raise ValueError("it has to hold one table, [codes]")
            stated = document["codes"]
        if of.codes is None:
            raise ValueError(f"the theme {theme.name} has quantities, not classes")
        terms = set(theme.by_name[of.field].vocabulary or {})
        if unknown := {str(v) for v in stated.values()} - terms:
            raise ValueError(f"{', '.join(sorted(unknown))}? The theme's terms are: {', '.join(sorted(terms))}")
        return {int(code): term for code, term in stated.items()}
    except (ValueError, OSError) as error:
        where = mapping.name if isinstance(mapping, Path) else "codes"
        raise BadInput(
            Text(
                en='{file} cannot be used to translate codes: {reason}. Example:  [codes]  10 = "trees"',
                vi='Không dùng {file} để quy đổi mã được: {reason}. Ví dụ:  [codes]  10 = "trees"',
            ).format(file=where, reason=error)
        ) from None


def _plain_unit(unit: str) -> str:
    name = unit.strip().casefold()
    return "m" if name in ("m", "metre", "meter", "metres", "meters") else name
