"""Words that the terminal and the page of a report share."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.checks.kinds import Severity
from ingest.checks.matching import Match
from ingest.checks.plan import Plan
from ingest.checks.problems import Value
from ingest.checks.raster_report import RasterReport
from ingest.checks.report import Report
from ingest.counts import feature_count
from twin.text import Text, format_number

SEVERITY_TITLES: dict[Severity, Text] = {
    "refused": Text(en="Not published", vi="Không công bố"),
    "warning": Text(en="Published, but to be looked at", vi="Vẫn công bố, nhưng cần xem"),
    "info": Text(en="For your information", vi="Để biết"),
}


def say(en: str, vi: str) -> str:
    """Return a text in the reader's language."""
    return str(Text(en=en, vi=vi))


def file_encoding(plan: Plan) -> str:
    """Return how the file's text is encoded, as far as the file says."""
    if plan.raw_text:
        return say("decided by column", "xét theo từng cột")
    return plan.encoding or "Unicode"


def summary(report: Report) -> str:
    """Return format, layer and size in one line."""
    plan = report.plan
    parts = [plan.format]
    if plan.driver and plan.driver != plan.format:
        parts.append(plan.driver)
    if plan.layer and plan.layer not in plan.file:
        parts.append(plan.layer)
    if len(plan.layers) > 1:
        parts.append(say("one of {n} layers", "một trong {n} lớp").format(n=len(plan.layers)))
    parts.append(str(feature_count(report.features)))
    return " · ".join(parts)


def raster_summary(report: RasterReport) -> str:
    """Return format and size of a raster in one line."""
    raster = report.plan.description
    parts = [
        report.plan.format,
        f"{format_number(raster.width)} × {format_number(raster.height)} " + say("pixels", "điểm ảnh"),
    ]
    parts.append(say("{n} bands", "{n} kênh").format(n=raster.bands) if raster.bands > 1 else say("1 band", "1 kênh"))
    return " · ".join([*parts, raster.dtypes[report.plan.band - 1]])


def raster_facts(report: RasterReport) -> Iterator[tuple[str, str]]:
    """Yield what a raster holds, a fact a line: its pixels, its values, the cells that they make."""
    plan, raster = report.plan, report.plan.description
    unit = "°" if plan.reference.reading.crs.is_geographic else " m"
    yield say("Pixel", "Điểm ảnh"), f"{raster.pixel[0]:.6g} × {raster.pixel[1]:.6g}{unit}"
    nodata = raster.nodata[plan.band - 1]
    yield say("No data", "Không dữ liệu"), "–" if nodata is None else f"{nodata:g}"
    yield (
        say("Pixels", "Số điểm ảnh"),
        say(
            "{good:,} used, {bad:,} left out, {none:,} without data",
            "{good:,} dùng được, {bad:,} bỏ ra, {none:,} không có dữ liệu",
        ).format(good=report.good, bad=report.bad, none=report.no_data),
    )
    if report.low is not None and plan.codes is None:
        unit = plan.theme.fields[0].unit or ""
        yield say("Values", "Giá trị"), f"{report.low:g} – {report.high:g} {unit}".strip()
    if report.cells is not None:
        yield (
            say("Cells", "Ô H3"),
            say("{n:,} of resolution {r}", "{n:,} ô, độ phân giải {r}").format(
                n=len(report.cells), r=plan.theme.resolution
            ),
        )


def raster_classes(report: RasterReport) -> Iterator[tuple[int, str, float]]:
    """Yield the classes of a raster: code, title, share of the pixels that are used."""
    terms = report.plan.theme.fields[0].vocabulary or {}
    for code, count in report.classes.items():
        yield code, str(terms[(report.plan.codes or {})[code]].title), count / max(report.good, 1)


def legacy_columns(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield columns that are converted, with an example of before and after."""
    for column, decision in plan.encodings.items():
        if decision.encoding in ("unicode", "nfd"):
            continue
        example = f"  {decision.before} → {decision.after}" if decision.before else ""
        yield column, f"{decision.title}{example}"


def source_of(match: Match) -> str:
    """Return the source of a field's values, in short."""
    source = match.column
    if match.source.extract:
        source += say(" (first word)", " (từ đầu)")
    if match.source.values:
        source += say(" (translated)", " (quy đổi)")
    return source


def meant(value: Value) -> str:
    """Return the term that a value that is none may mean, as a question; nothing if none is like it."""
    if value.term is None:
        return ""
    return say("perhaps {}?", "có phải {}?").format(f"{value.term} ({value.title})")


def outcome(report: Report | RasterReport) -> Text:
    """Return the outcome of a check in one sentence."""
    if isinstance(report, RasterReport):
        return _raster_outcome(report)
    if report.plan.blockers or not report.good:
        return Text(
            en="Refused: nothing of this file can be published as it is.",
            vi="Từ chối: chưa thể công bố tệp này.",
        )
    if report.bad:
        return Text(
            en="{good:,} of {all:,} features can be published; {bad:,} would go to quarantine.",
            vi="Có thể công bố {good:,}/{all:,} đối tượng; {bad:,} đối tượng sẽ vào khu cách ly.",
        ).format(good=report.good, all=report.features, bad=report.bad)
    if report.exit_code:
        return Text(
            en="The one feature can be published; look at the warnings first."
            if report.good == 1
            else "All {good:,} features can be published; look at the warnings first.",
            vi="Có thể công bố cả {good:,} đối tượng; hãy xem các cảnh báo trước.",
        ).format(good=report.good)
    return Text(
        en="Clean: the one feature can be published."
        if report.good == 1
        else "Clean: all {good:,} features can be published.",
        vi="Sạch: có thể công bố cả {good:,} đối tượng.",
    ).format(good=report.good)


def _raster_outcome(report: RasterReport) -> Text:
    if not report.publishable or report.cells is None:
        return Text(
            en="Refused: this raster cannot be published as it is.", vi="Từ chối: chưa thể công bố ảnh raster này."
        )
    if report.bad:
        text = Text(
            en="It can be published as {cells:,} cells; {bad:,} pixels would be left out of them.",
            vi="Có thể công bố thành {cells:,} ô; {bad:,} điểm ảnh sẽ không được đưa vào ô.",
        )
    elif report.exit_code:
        text = Text(
            en="It can be published as {cells:,} cells; look at the warnings first.",
            vi="Có thể công bố thành {cells:,} ô; hãy xem các cảnh báo trước.",
        )
    else:
        text = Text(en="Clean: it can be published as {cells:,} cells.", vi="Sạch: có thể công bố thành {cells:,} ô.")
    return text.format(cells=len(report.cells), bad=report.bad)
