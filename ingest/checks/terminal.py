"""The report on a terminal: what was recognised, the fields, the problems, the outcome. Clear at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from ingest.checks.kinds import Severity
from ingest.checks.problems import Example, Problem
from ingest.checks.raster_report import RasterReport
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
from twin.text import format_number, printable

STYLES: dict[Severity, tuple[str, str]] = {
    "refused": ("✗", "bold red"), "warning": ("!", "bold yellow"), "info": ("·", "cyan"),
}  # fmt: skip
EXAMPLES_SHOWN = 3
VALUES_SHOWN = 5
FOLD: dict[str, object] = {"overflow": "fold"}


def print_report(report: Report | RasterReport, console: Console) -> None:
    """Write a report for people."""
    parts = _raster_parts(report) if isinstance(report, RasterReport) else _parts(report)
    console.print(Group(*parts, *_found(report)))


def _raster_parts(report: RasterReport) -> Iterator[RenderableType]:
    plan = report.plan
    yield Styled.assemble((printable(plan.file), "bold"), "  ", (printable(raster_summary(report)), "dim"))
    yield ""
    grid = _grid({"style": "dim", "no_wrap": True}, FOLD)
    _coordinates(grid, plan.reference)
    for name, fact in raster_facts(report):
        grid.add_row(name, printable(fact))
    yield grid
    yield ""
    if report.classes:
        yield Styled.assemble((say("Classes of", "Các lớp của") + f" {plan.theme.title}", "bold"))
        table = _grid({"justify": "right", "no_wrap": True}, FOLD, {"justify": "right", "no_wrap": True})
        for code, title, share in raster_classes(report):
            table.add_row(str(code), title, format_number(share, ".1%"))
        yield Padding(table, (0, 0, 0, 2))
        yield ""


def _parts(report: Report) -> Iterator[RenderableType]:
    plan = report.plan
    yield Styled.assemble(
        (printable(plan.file), "bold"), "  ", (printable(summary(report)), "dim"),
    )  # fmt: skip
    yield ""
    yield _recognised(report)
    yield ""
    yield Styled.assemble((say("Fields of", "Các trường của") + f" {plan.theme.title}", "bold"))
    yield Padding(_fields(report), (0, 0, 0, 2))
    yield ""


def _found(report: Report | RasterReport) -> Iterator[RenderableType]:
    if report.problems:
        for severity, problems in report.by_severity():
            yield Styled(str(SEVERITY_TITLES[severity]), STYLES[severity][1])
            for problem in problems:
                yield Padding(_problem(problem), (0, 0, 0, 2))
            yield ""
    style = {0: "bold green", 1: "bold yellow", 2: "bold red"}[report.exit_code]
    yield Styled(str(outcome(report)), style)


def _grid(*columns: dict[str, object]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(**column)  # type: ignore[arg-type]
    return grid


def _recognised(report: Report) -> Table:
    plan = report.plan
    grid = _grid({"style": "dim", "no_wrap": True}, FOLD)
    _coordinates(grid, plan.reference)
    grid.add_row(
        say("Text", "Chữ"),
        Styled.assemble((printable(file_encoding(plan)), "bold"), (f"  {printable(plan.encoding_reason)}", "dim")),
    )
    for column, evidence in legacy_columns(plan):
        grid.add_row("", Styled(printable(f"{column}: {evidence}")))
    grid.add_row(
        say("Id", "Mã"),
        Styled.assemble((printable(plan.matches.id or "–"), "bold"), (f"  {printable(plan.matches.id_reason)}", "dim")),
    )
    return grid


def _coordinates(grid: Table, reference: Reference) -> None:
    reading = reference.reading
    grid.add_row(
        say("Coordinates", "Tọa độ"), Styled.assemble((str(reading.name), "bold"), f"  {printable(reading.title)}")
    )
    grid.add_row("", Styled(printable(reference.reason), "dim"))


def _fields(report: Report) -> Table:
    plan = report.plan
    grid = _grid({"no_wrap": True}, {**FOLD, "max_width": 30}, {"justify": "right"}, {**FOLD, "style": "dim"})
    matched = {m.field: m for m in plan.matches.taken}
    hints = {m.field: m for m in plan.matches.hints}
    for field in plan.theme.fields:
        name = Styled.assemble(field.name, ("*" if field.required else "", "red"))
        if match := matched.get(field.name):
            grid.add_row(
                name, printable(source_of(match)), format_number(match.confidence, ".0%"), printable(match.reason)
            )
        elif hint := hints.get(field.name):
            hint_text = say("perhaps {}?", "có phải {}?").format(source_of(hint))
            grid.add_row(
                name, Styled(printable(hint_text), "dim"), format_number(hint.confidence, ".0%"), printable(hint.reason)
            )
        else:
            missing = say("required, no column", "bắt buộc, không có cột") if field.required else "–"
            grid.add_row(name, Styled(missing, "red" if field.required else "dim"), "", "")
    return grid


def _problem(problem: Problem) -> Table:
    sign, style = STYLES[problem.severity]
    grid = _grid({"style": style, "no_wrap": True}, {"justify": "right", "no_wrap": True, "min_width": 7}, FOLD)
    title = Styled(str(problem.kind.title), "bold" if problem.severity != "info" else "")
    if problem.field:
        title.append(f"  {printable(problem.field)}", "cyan")
    grid.add_row(sign, format_number(problem.count), title)
    for value in problem.values[:VALUES_SHOWN]:
        counted = (f"{format_number(value.count)} × ", ""), (f"“{printable(value.value)}”", "bold")
        grid.add_row("", "", Styled.assemble(*counted, (f"  {printable(meant(value))}", "dim")))
    if len(problem.values) > VALUES_SHOWN:
        grid.add_row("", "", "…")
    # Where the values are listed, one feature shows where to look.
    for example in problem.examples[: 1 if problem.values else EXAMPLES_SHOWN]:
        if shown := _example(example):
            grid.add_row("", "", shown)
    if problem.severity != "info":
        grid.add_row("", "", Styled.assemble(("→ ", style), str(problem.kind.advice)))
    return grid


def _example(example: Example) -> Styled | None:
    parts = [(printable(example.feature), "")] if example.feature else []
    if str(example.detail):
        parts.append((("  " if parts else "") + printable(example.detail), "dim"))
    if example.place:
        parts.append((f"  ({example.place[0]:.5f}, {example.place[1]:.5f})", "dim"))
    return Styled.assemble(*parts) if parts else None
