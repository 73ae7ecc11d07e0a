"""Words that the terminal and the page of a report share."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.checks.matching import Match
from ingest.checks.plan import Plan
from ingest.checks.problems import Severity
from ingest.checks.report import Report
from twin.text import Text

SEVERITY_TITLES: dict[Severity, Text] = {
    "refused": Text(en="Not published", vi="Không công bố"),
    "warning": Text(en="Published, but to be looked at", vi="Vẫn công bố, nhưng cần xem"),
    "info": Text(en="For your information", vi="Để biết"),
}


def say(en: str, vi: str) -> str:
    """A text in the reader's language."""
    return str(Text(en=en, vi=vi))


def printable(text: object) -> str:
    """A text that cannot steer a terminal or a page: what is not a visible character becomes a dot."""
    return "".join(c if c.isprintable() else "·" for c in str(text))


def file_encoding(plan: Plan) -> str:
    """How the file's text is encoded, as far as the file says."""
    if plan.raw_text:
        return say("told apart by column", "xét theo từng cột")
    return plan.encoding or "Unicode"


def summary(report: Report) -> str:
    """Format, layer and size in one line."""
    plan = report.plan
    parts = [plan.format]
    if plan.driver and plan.driver != plan.format:
        parts.append(plan.driver)
    if plan.layer and plan.layer not in plan.file:
        parts.append(plan.layer)
    if len(plan.layers) > 1:
        parts.append(say("one of {n} layers", "một trong {n} lớp").format(n=len(plan.layers)))
    parts.append(say("{n:,} features", "{n:,} đối tượng").format(n=report.features))
    return " · ".join(parts)


def legacy_columns(plan: Plan) -> Iterator[tuple[str, str]]:
    """Columns that are converted, with an example of before and after."""
    for column, decision in plan.encodings.items():
        if decision.encoding in ("unicode", "nfd"):
            continue
        example = f"  {decision.before} → {decision.after}" if decision.before else ""
        yield column, f"{decision.title}{example}"


def source_of(match: Match) -> str:
    """Where a field's values come from, shortly."""
    said = match.column
    if match.source.extract:
        said += say(" (first word)", " (từ đầu)")
    if match.source.values:
        said += say(" (translated)", " (quy đổi)")
    return said


def outcome(report: Report) -> Text:
    """What it comes to, in one sentence."""
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
            en="All {good:,} features can be published; look at the warnings first.",
            vi="Có thể công bố cả {good:,} đối tượng; hãy xem các cảnh báo trước.",
        ).format(good=report.good)
    return Text(
        en="Clean: all {good:,} features can be published.", vi="Sạch: có thể công bố cả {good:,} đối tượng."
    ).format(good=report.good)
