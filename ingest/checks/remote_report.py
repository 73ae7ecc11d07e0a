"""A report that came as JSON, in the form that the terminal shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console
from rich.text import Text as Styled

from ingest.checks.encodings import TITLES
from ingest.checks.kinds import Kind
from ingest.checks.plan import Plan
from ingest.checks.problems import Example, Problem, Value
from ingest.checks.raster_report import BLOCKERS, RasterPlan, RasterReport
from ingest.checks.report import Report
from ingest.checks.terminal import STYLES, print_report
from ingest.mapping.description import FieldSource
from ingest.readers.cell_tally import CellValues
from layers.registry import theme, themes
from twin.crs import parse_crs
from twin.text import Text, format_number, printable


@dataclass
class _KnownProblem(Problem):
    """A problem as the report calls it: a newer server may know some that this program does not."""

    stated: Kind | None = None

    @property
    def kind(self) -> Kind:
        return self.stated or super().kind


def print_remote_report(document: Mapping[str, Any], console: Console) -> None:
    """Write a report for people. One of a form that this program does not know is stated by its problems."""
    if "fields" in document and "encoding" in document:
        print_report(read_report(document), console)
        return
    if document.get("raster", {}).get("theme") in themes():
        print_report(read_raster_report(document), console)
        return
    console.print(Styled(printable(document["file"]["name"]), "bold"), highlight=False)
    for part in document["problems"]:
        problem = _problem(part)
        sign, style = STYLES[problem.severity]
        console.print(Styled(f"{sign} {format_number(problem.count)}  {printable(problem.kind.title)}", style))
        console.print(Styled(f"  → {printable(problem.kind.advice)}"))


def read_report(document: Mapping[str, Any]) -> Report:
    """Read what `Report.to_dict` gives. The plan holds only what is part of it there, and there is no map."""
    file, crs, encoding, fields = (document[part] for part in ("file", "crs", "encoding", "fields"))
    counts = document["features"]
    reading = SimpleNamespace(
        code=crs["code"], title=_text(crs["name"]), name=_with_treatment(crs["code"], crs["treatment"])
    )
    plan = SimpleNamespace(
        file=file["name"], format=file["format"], driver=file["driver"], layer=file["layer"], layers=file["layers"],
        count=file["features"], blockers=tuple(document["blockers"]),
        reference=SimpleNamespace(reading=reading, reason=_text(crs["reason"])),
        encoding=encoding["file"], encoding_reason=_text(encoding["reason"]), raw_text=encoding["by_column"],
        encodings={column: _decision(part) for column, part in encoding["columns"].items()},
        theme=SimpleNamespace(
            name=fields["theme"], title=_text(fields["title"]),
            fields=[SimpleNamespace(**f | {"title": _text(f["title"])}) for f in fields["contract"]],
        ),
        matches=SimpleNamespace(
            id=fields["id"], id_reason=_text(fields["id_reason"]),
            taken=[_match(m) for m in fields["matched"]], hints=[_match(m) for m in fields["hints"]],
        ),
    )  # fmt: skip
    return Report(
        cast(Plan, plan), counts["read"], counts["good"], counts["bad"], counts["mended"],
        tuple(document["bounds"]) if document["bounds"] else None,
        tuple(_problem(p) for p in document["problems"]), left_out=counts.get("left_out", 0),
    )  # fmt: skip


def read_raster_report(document: Mapping[str, Any]) -> RasterReport:
    """Read what `RasterReport.to_dict` gives; of the cells only their number is known here."""
    file, crs, part, counts = (document[part] for part in ("file", "crs", "raster", "features"))
    band, nodata = part["band"], part["nodata"]
    classes = {int(code): (term, count) for code, (term, count) in part.get("classes", {}).items()}
    reading = SimpleNamespace(
        code=crs["code"], title=_text(crs["name"]), name=Text(crs["code"], crs["code"]), crs=parse_crs(crs["code"])
    )
    dtypes = [""] * part["bands"]
    nodatas: list[float | None] = [None] * part["bands"]
    dtypes[band - 1], nodatas[band - 1] = part["dtype"], None if nodata is None else float(nodata)
    plan = SimpleNamespace(
        file=file["name"], format=file["format"], driver=file["driver"], theme=theme(part["theme"]), band=band,
        codes={code: term for code, (term, _) in classes.items()} if "classes" in part else None,
        blockers=tuple(p["code"] for p in document["problems"] if p["code"] in BLOCKERS),
        reference=SimpleNamespace(reading=reading, reason=_text(crs["reason"])),
        description=SimpleNamespace(
            width=part["width"], height=part["height"], bands=part["bands"], dtypes=dtypes, nodata=nodatas,
            pixel=part["pixel"],
        ),
    )  # fmt: skip
    return RasterReport(
        plan=cast(RasterPlan, plan), pixels=part["width"] * part["height"], no_data=part["pixels"]["no_data"],
        good=counts["good"], bad=counts["bad"], low=part.get("minimum"), high=part.get("maximum"),
        classes={code: count for code, (_, count) in classes.items()},
        cells=cast(CellValues, range(part["cells"])),
        bounds=tuple(document["bounds"]) if document["bounds"] else None,
        problems=tuple(_problem(p) for p in document["problems"]),
    )  # fmt: skip


def _text(part: Mapping[str, str]) -> Text:
    return Text(en=part["en"], vi=part["vi"])


def _with_treatment(code: str, treatment: Mapping[str, str] | None) -> Text:
    return Text(f"{code}, {treatment['en']}", f"{code}, {treatment['vi']}") if treatment else Text(code, code)


def _decision(part: Mapping[str, Any]) -> SimpleNamespace:
    title = TITLES.get(part["encoding"], part["encoding"])
    return SimpleNamespace(encoding=part["encoding"], title=title, before=part["before"], after=part["after"])


def _match(part: Mapping[str, Any]) -> SimpleNamespace:
    source = FieldSource.model_validate(part["from"])
    column = source.column or source.template or f"= {source.constant}"
    return SimpleNamespace(
        field=part["field"], source=source, column=column, confidence=part["confidence"], reason=_text(part["reason"])
    )


def _problem(part: Mapping[str, Any]) -> Problem:
    examples = [
        Example(e["feature"], _text(e["detail"]), tuple(e["place"]) if e["place"] else None) for e in part["examples"]
    ]
    stated = Kind(part["severity"], _text(part["title"]), _text(part["advice"]))
    values = tuple(
        Value(v["value"], v["count"], v["term"], _text(v["title"]) if v["title"] else None)
        for v in part.get("values", ())
    )
    return _KnownProblem(part["code"], part["count"], examples, part["field"], values, stated)
