"""The report as one page by itself: no scripts, nothing fetched, every text escaped, a map drawn here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np
import shapely

from ingest.checks.picture import Frame, area_shown, color_of, frame_of, path, spread
from ingest.checks.problems import Example, Problem
from ingest.checks.raster_report import RasterReport, coarser
from ingest.checks.reference import Reference
from ingest.checks.report import Report
from ingest.checks.wording import (
    SEVERITY_TITLES,
    file_encoding,
    legacy_columns,
    meant,
    outcome,
    raster_classes,
    raster_facts,
    raster_summary,
    say,
    source_of,
    summary,
)
from ingest.counts import feature_count
from layers.theme import METRES_PER_DEGREE
from twin.cells.cover import cell_polygons
from twin.text import Text, current_language, format_number, printable

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MARK_RADIUS = 9
MOST_CELLS = 4000

STYLE = """
:root { --ink: #1d2a2f; --soft: #5d6b70; --line: #dde3e4; --paper: #ffffff; --ground: #f4f6f6;
  --refused: #b3261e; --warning: #8a5a00; --info: #35618e; --clean: #1f6f43; color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 "Be Vietnam Pro", "Noto Sans", "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1024px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 34px 0 10px; }
p { margin: 0; }
.soft { color: var(--soft); }
.outcome { margin: 16px 0 0; padding: 12px 16px; border-radius: 8px; color: #fff; font-weight: 600; }
.outcome.e0 { background: var(--clean); } .outcome.e1 { background: var(--warning); }
.outcome.e2 { background: var(--refused); }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 10px 22px; padding: 16px 18px; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 8px 18px; border-top: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 13px; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Consolas, monospace; }
.map { display: block; width: 100%; height: auto; background: #eaf1f4; }
.outline { fill: #fbfaf6; stroke: #a9b4b7; stroke-width: 1; }
.shape { fill: #7fa8a0; fill-opacity: .35; stroke: #3f7168; stroke-width: .7; fill-rule: evenodd; }
.shape.line { fill: none; stroke-width: 1.2; } .shape.point { stroke-width: 4; stroke-linecap: round; }
.mark circle { stroke: #fff; stroke-width: 1.6; } .mark text { fill: #fff; font-size: 10.5px; font-weight: 700;
  text-anchor: middle; dominant-baseline: central; }
.extent { fill: none; stroke: #5d6b70; stroke-dasharray: 5 4; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; }
table.narrow { width: auto; }
.leader { stroke: var(--ink); stroke-width: .8; fill: none; }
.mark:hover circle, .mark:focus circle { stroke: var(--ink); }
.refused circle { fill: var(--refused); } .warning circle { fill: var(--warning); } .info circle { fill: var(--info); }
.scale { stroke: var(--ink); stroke-width: 1.4; fill: none; } .scale-text { font-size: 11px; fill: var(--ink); }
.inset { fill: #fff; stroke: var(--line); } .inset-view { fill: none; stroke: var(--refused); stroke-width: 1.4; }
.caption { padding: 9px 18px; font-size: 13px; border-top: 1px solid var(--line); }
.problem { padding: 14px 18px; border-top: 1px solid var(--line); display: grid; gap: 2px 14px;
  grid-template-columns: 26px 1fr max-content; }
.problem:first-child { border-top: 0; } .problem > * { grid-column: 2 / 4; }
.badge { grid-column: 1; display: inline-flex; width: 24px; height: 24px; border-radius: 12px; color: #fff;
  align-items: center; justify-content: center; font-size: 12px; font-weight: 700; }
.badge.refused { background: var(--refused); } .badge.warning { background: var(--warning); }
.badge.info { background: var(--info); }
.problem h3 { grid-column: 2; margin: 0; font-size: 15px; } .problem h3 code { color: var(--info); margin-left: 6px; }
.count { grid-column: 3; font-variant-numeric: tabular-nums; font-weight: 600; }
.advice::before { content: "→ "; }
.examples { margin: 6px 0 0; padding: 0; list-style: none; font-size: 13.5px; }
.examples li { padding: 2px 6px; margin-left: -6px; border-radius: 4px; overflow-wrap: anywhere; }
.examples li:target { background: #fff1c9; }
.place { color: var(--soft); white-space: nowrap; font-variant-numeric: tabular-nums; }
.refused-text { color: var(--refused); }
footer { margin-top: 30px; font-size: 13px; color: var(--soft); }
@media (max-width: 640px) { .facts { grid-template-columns: 1fr; gap: 2px; } .facts dd { margin-bottom: 10px; }
  .mark circle { r: 17px; } .mark text { font-size: 20px; } .scale-text { font-size: 22px; }
  th, td, .problem { padding-left: 12px; padding-right: 12px; } }
@media print { body { background: #fff; } main { padding: 0; } .card { break-inside: avoid; }
  * { print-color-adjust: exact; } }
"""


def to_html(report: Report | RasterReport) -> str:
    """Write the report as a page in the reader's language."""
    title = f"{report.plan.file}: " + say("check", "kiểm tra")
    body = _raster_body(report) if isinstance(report, RasterReport) else _body(report)
    return (
        f'<!doctype html>\n<html lang="{current_language()}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _body(report: Report) -> list[str]:
    return [
        f"<h1>{_text(report.plan.file)}</h1>",
        f'<p class="soft">{_text(summary(report))}</p>',
        f'<p class="outcome e{report.exit_code}">{_text(outcome(report))}</p>',
        f"<h2>{say('Where', 'Vị trí')}</h2>",
        f'<div class="card">{_map(report)}</div>',
        *_problems(report),
        f"<h2>{say('What was recognised', 'Nhận dạng')}</h2>",
        f'<div class="card">{_recognised(report)}</div>',
        f"<h2>{say('Fields of', 'Các trường của')} {_text(report.plan.theme.title)}</h2>",
        f'<div class="card">{_fields(report)}</div>',
        f"<footer>{_footer(report)}</footer>",
    ]


def _raster_body(report: RasterReport) -> list[str]:
    return [
        f"<h1>{_text(report.plan.file)}</h1>",
        f'<p class="soft">{_text(raster_summary(report))}</p>',
        f'<p class="outcome e{report.exit_code}">{_text(outcome(report))}</p>',
        f"<h2>{say('Where', 'Vị trí')}</h2>",
        f'<div class="card">{_raster_map(report)}</div>',
        *_problems(report),
        f"<h2>{say('What was recognised', 'Nhận dạng')}</h2>",
        f'<div class="card">{_raster_recognised(report)}</div>',
        *_classes(report),
    ]


def _text(text: object) -> str:
    return escape(printable(text))


# The parts -----------------------------------------------------------------------------------------------------------


def _recognised(report: Report) -> str:
    plan = report.plan
    rows = [
        (say("Format", "Định dạng"), _text(f"{plan.format} ({plan.driver})" if plan.driver else plan.format)),
        (say("Coordinate system", "Hệ tọa độ"), _reference(plan.reference)),
        (
            say("Text encoding", "Bảng mã"),
            f'<strong>{_text(file_encoding(plan))}</strong> <span class="soft">{_text(plan.encoding_reason)}</span>'
            + "".join(f"<br><code>{_text(column)}</code> {_text(why)}" for column, why in legacy_columns(plan)),
        ),
        (
            say("Id", "Mã định danh"),
            f"<strong>{_text(plan.matches.id or '–')}</strong> "
            f'<span class="soft">{_text(plan.matches.id_reason)}</span>',
        ),
    ]
    if len(plan.layers) > 1:
        rows.insert(1, (say("Layer", "Lớp"), _text(f"{plan.layer or '–'} ({', '.join(plan.layers)})")))
    return _listed(rows)


def _raster_recognised(report: RasterReport) -> str:
    plan = report.plan
    rows = [
        (say("Format", "Định dạng"), _text(f"{plan.format} ({plan.driver})")),
        (say("Theme", "Chuyên đề"), _text(plan.theme.title)),
        (say("Coordinate system", "Hệ tọa độ"), _reference(plan.reference)),
        *((name, _text(fact)) for name, fact in raster_facts(report)),
    ]
    return _listed(rows)


def _reference(reference: Reference) -> str:
    reading = reference.reading
    return (
        f"<strong>{_text(reading.name)}</strong> {_text(reading.title)}"
        f'<br><span class="soft">{_text(reference.reason)}</span>'
    )


def _listed(rows: list[tuple[str, str]]) -> str:
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{fact}</dd>" for name, fact in rows) + "</dl>"


def _classes(report: RasterReport) -> Iterable[str]:
    if not report.classes:
        return
    head = (say("Code", "Mã"), say("Class", "Lớp"), say("Share", "Tỷ lệ"))
    color = report.plan.theme.style["fill"]["categories"]
    rows = "".join(
        f'<tr><td class="number">{code}</td><td><span class="swatch" style="background:'
        f'{color.get((report.plan.codes or {})[code], "#b8b8b8")}"></span>{_text(title)}</td>'
        f'<td class="number">{format_number(share, ".1%")}</td></tr>'
        for code, title, share in raster_classes(report)
    )
    yield f"<h2>{say('Classes', 'Các lớp')}</h2>"
    yield (
        '<div class="card"><table class="narrow"><thead><tr>' + "".join(f"<th>{h}</th>" for h in head)
        + f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )  # fmt: skip


def _fields(report: Report) -> str:
    matched = {m.field: m for m in report.plan.matches.taken}
    hints = {m.field: m for m in report.plan.matches.hints}
    rows = []
    for field in report.plan.theme.fields:
        match, hint = matched.get(field.name), hints.get(field.name)
        need = f' <span class="refused-text">{say("required", "bắt buộc")}</span>' if field.required else ""
        cells = [f"{_text(field.title)} <code>{field.name}</code>{need}"]
        if match:
            cells += [
                f"<code>{_text(source_of(match))}</code>",
                format_number(match.confidence, ".0%"),
                _text(match.reason),
            ]
        elif hint:
            hint_text = say("perhaps {}?", "có phải {}?").format(source_of(hint))
            cells += [
                f'<span class="soft">{_text(hint_text)}</span>',
                format_number(hint.confidence, ".0%"),
                _text(hint.reason),
            ]
        else:
            missing = say("no column", "không có cột")
            cells += [f'<span class="{"refused-text" if field.required else "soft"}">{missing}</span>', "", ""]
        name, source, sure, why = cells
        rows.append(
            f'<tr><td>{name}</td><td>{source}</td><td class="number">{sure}</td><td class="soft">{why}</td></tr>'
        )
    head = (
        say("Field", "Trường"),
        say("Column of the file", "Cột trong tệp"),
        say("Sure", "Chắc chắn"),
        say("Why", "Vì sao"),
    )
    return (
        "<table><thead><tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr></thead><tbody>" + "".join(rows)
        + "</tbody></table>"
    )  # fmt: skip


def _problems(report: Report | RasterReport) -> Iterable[str]:
    numbers = {id(problem): n for n, problem in enumerate(report.problems, 1)}
    if not report.problems:
        yield f"<h2>{say('Problems', 'Vấn đề')}</h2><p>{say('None found.', 'Không phát hiện vấn đề nào.')}</p>"
    for severity, problems in report.by_severity():
        yield f"<h2>{_text(SEVERITY_TITLES[severity])}</h2>"
        yield '<div class="card">' + "".join(_problem(numbers[id(p)], p) for p in problems) + "</div>"


def _problem(number: int, problem: Problem) -> str:
    of = f" <code>{_text(problem.field)}</code>" if problem.field else ""
    examples = "".join(
        f'<li id="p{number}e{e}">{_example(example)}</li>'
        for e, example in enumerate(problem.examples, 1)
        if example.feature or str(example.detail)
    )
    values = "".join(
        f"<li><strong>{_text(value.value)}</strong> × {format_number(value.count)}"
        + (f' <span class="soft">{_text(meant(value))}</span></li>' if value.term else "</li>")
        for value in problem.values
    )
    shown = f'<ul class="examples">{values}</ul>' if values else ""
    shown += f'<ul class="examples">{examples}</ul>' if examples else ""
    return (
        f'<section class="problem" id="p{number}"><span class="badge {problem.severity}">{number}</span>'
        f'<h3>{_text(problem.kind.title)}{of}</h3><span class="count">{format_number(problem.count)}</span>'
        f'<p class="advice soft">{_text(problem.kind.advice)}</p>{shown}</section>'
    )


def _example(example: Example) -> str:
    parts = [f"<strong>{_text(example.feature)}</strong>"] if example.feature else []
    if str(example.detail):
        parts.append(_text(example.detail))
    if example.place:
        parts.append(f'<span class="place">{example.place[0]:.5f}, {example.place[1]:.5f}</span>')
    return " · ".join(parts)


def _footer(report: Report) -> str:
    counts = Text(
        en="{features} read, {good:,} good, {bad:,} set aside, {mended:,} mended.",
        vi="Đã đọc {features}: {good:,} đạt, {bad:,} để riêng, {mended:,} được sửa.",
    )
    read = feature_count(report.features)
    return _text(str(counts.format(features=read, good=report.good, bad=report.bad, mended=report.mended)))


# The map -------------------------------------------------------------------------------------------------------------


def _map(report: Report) -> str:
    marks = report.marks()
    bounds = area_shown(list(report.shapes), [place for _, _, place in marks], report.plan.city.outline)
    frame = frame_of(bounds)
    view = shapely.box(*frame.bounds)
    kind = report.plan.theme.geometry
    shown = [shape for shape in report.shapes if view.intersects(shape)]
    svg, hidden = _drawn(
        report, frame, "".join(f'<path class="shape {kind}" d="{path(shape, frame)}"/>' for shape in shown)
    )
    caption = Text(en="Drawn: {n:,} of {features}.", vi="Vẽ {n:,} trong {features}.").format(
        n=len(shown), features=feature_count(report.good)
    )
    return _captioned(svg, caption, hidden)


def _captioned(svg: str, caption: Text, hidden: int) -> str:
    """Put a caption below a map, with the number of places that lie beyond it."""
    text = str(caption)
    if hidden:
        text += " " + str(
            Text(en="Places beyond this map: {n:,}.", vi="Số vị trí nằm ngoài bản đồ: {n:,}.").format(n=hidden)
        )
    return f'{svg}<p class="caption soft">{_text(text)}</p>'


def _raster_map(report: RasterReport) -> str:
    """Return the raster's extent, and larger cells with the colours that the map will give them."""
    extent = list(report.shapes)
    frame = frame_of(area_shown(extent, [], report.plan.city.outline))
    shapes = "".join(f'<path class="extent" d="{path(shape, frame)}"/>' for shape in extent)
    if report.cells is not None and len(report.cells):
        shown = coarser(report.cells, MOST_CELLS)
        fill, codes = report.plan.theme.style["fill"], report.plan.codes or {}
        for polygon, value in zip(cell_polygons(shown.cell), shown.value, strict=True):
            shade = color_of(fill, value if report.plan.codes is None else codes[int(value)])
            shapes += f'<path class="cell" fill="{shade}" d="{path(polygon, frame)}"/>'
    svg, hidden = _drawn(report, frame, shapes)
    caption = Text(
        en="Values in larger cells; the frame is the raster's extent.", vi="Giá trị theo ô lớn; khung là phạm vi ảnh."
    )
    return _captioned(svg, caption, hidden)


def _drawn(report: Report | RasterReport, frame: Frame, shapes: str) -> tuple[str, int]:
    """Return the picture: the city, the shapes, the marks; and how many marks lie beyond it."""
    outline, view = report.plan.city.outline, shapely.box(*frame.bounds)
    drawn, hidden = _marks(report, frame)
    city = shapely.intersection(outline, shapely.buffer(view, view.length / 40))
    label = say("Map of the data and the places of problems", "Bản đồ dữ liệu và vị trí vấn đề")
    svg = (
        f'<svg class="map" viewBox="0 0 {frame.width:g} {frame.height:g}" role="img" aria-label="{label}">'
        f'<path class="outline" d="{"" if city.is_empty else path(city, frame)}"/>{shapes}{drawn}'
        f"{_scale(frame)}{_inset(frame, view, outline)}</svg>"
    )
    return svg, hidden


def _marks(report: Report | RasterReport, frame: Frame) -> tuple[str, int]:
    marks = [(number, example, *frame.pixels(np.array([place]))[0]) for number, example, place in report.marks()]
    inside = [m for m in marks if 0 <= m[2] <= frame.width and 0 <= m[3] <= frame.height]
    spots = spread([(float(x), float(y)) for _, _, x, y in inside], 2 * MARK_RADIUS + 2)
    lines, drawn = [], []
    for (number, example, x, y), (left, top) in zip(inside, spots, strict=True):
        problem = report.problems[number - 1]
        title = f"{problem.kind.title}: {problem.examples[example - 1].feature}"
        if (left, top) != (x, y):
            lines.append(f'<path class="leader" d="M{x:.1f} {y:.1f}L{left:.1f} {top:.1f}"/>')
        drawn.append(
            f'<a class="mark {problem.severity}" href="#p{number}e{example}"><title>{_text(title)}</title>'
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{MARK_RADIUS}"/>'
            f'<text x="{left:.1f}" y="{top:.1f}">{number}</text></a>'
        )
    return "".join(lines + drawn), len(marks) - len(inside)


def _scale(frame: Frame) -> str:
    """Return a bar of a round length, about a sixth of the picture."""
    metres_per_pixel = METRES_PER_DEGREE / frame.scale
    wanted = frame.width / 6 * metres_per_pixel
    power = 10 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    pixels = length / metres_per_pixel
    name = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    x, y = 18, frame.height - 16
    return (
        f'<path class="scale" d="M{x} {y - 5:.1f}v5h{pixels:.1f}v-5"/>'
        f'<text class="scale-text" x="{x + pixels + 6:.1f}" y="{y:.1f}">{name}</text>'
    )


def _inset(frame: Frame, view: shapely.Geometry, outline: shapely.Geometry) -> str:
    """Return where the picture is in the city, if it shows a small part of it."""
    if view.area > 0.4 * shapely.box(*outline.bounds).area:
        return ""
    small = frame_of(outline.bounds, 150, 130)
    left, top = frame.width - small.width - 10, frame.height - small.height - 10
    (west, south), (east, north) = small.pixels(np.array([view.bounds[:2], view.bounds[2:]]))
    return (
        f'<g transform="translate({left:.1f} {top:.1f})"><rect class="inset" width="{small.width:.1f}" '
        f'height="{small.height:.1f}" rx="6"/><path class="outline" d="{path(outline, small)}"/>'
        f'<rect class="inset-view" x="{west - 2:.1f}" y="{north - 2:.1f}" width="{max(east - west, 1) + 4:.1f}" '
        f'height="{max(south - north, 1) + 4:.1f}"/></g>'
    )
