"""Commands of alerts: `twin ingest alerts load | rules | list | ack | close | test`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ingest.cli.streams import DATABASE, print_table, run_async, with_connection
from twin.cli import console, plain, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database
from twin.text import current_language

if TYPE_CHECKING:
    import asyncpg

    from twin.incidents.rules import AlertRule

BY = "command line"
FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar=say("FILE", "TỆP"))
NOTE = click.option("--note", default="", help=say("What there is to say, for the history.", "Ghi chú cho lịch sử."))
INCIDENT = click.argument("incident", type=click.IntRange(min=1), metavar=say("INCIDENT", "SỰ_VIỆC"))


@click.group(
    short_help=say("Alert rules and what they found.", "Quy tắc cảnh báo và kết quả."),
    help=say(
        "Alert rules and what they found. The usual way:\n\n"
        "1. What would the rules of a file have found in the last day?  twin ingest alerts test FILE\n\n"
        "2. Let them watch:  twin ingest alerts load FILE\n\n"
        "3. What is open now?  twin ingest alerts list\n\n"
        "The rules on silence and aggregates, and the sending, run in: twin ingest stream run",
        "Quy tắc cảnh báo và kết quả. Các bước thường làm:\n\n"
        "1. Các quy tắc trong tệp sẽ báo gì trong ngày qua?  twin ingest alerts test TỆP\n\n"
        "2. Cho quy tắc theo dõi:  twin ingest alerts load TỆP\n\n"
        "3. Đang có sự việc nào?  twin ingest alerts list\n\n"
        "Quy tắc về mất tín hiệu và tổng hợp, cùng việc gửi đi, chạy trong: twin ingest stream run",
    ),
)
def alerts() -> None:
    """Group of alert commands."""


@alerts.command(
    short_help=say("Store the rules of a file.", "Lưu các quy tắc trong tệp."),
    help=say(
        "Store the rules of a file. One of the same agency and name is replaced, and its open incidents end. The "
        "secret that webhooks are signed with is shown once.\n\nExample: twin ingest alerts load flood.alerts.toml",
        "Lưu các quy tắc trong tệp. Quy tắc cùng đơn vị và cùng tên được thay thế, sự việc đang mở của nó kết thúc. "
        "Khóa ký webhook chỉ hiện một lần.\n\nVí dụ: twin ingest alerts load ngap.alerts.toml",
    ),
)
@FILE
@click.option(
    "--every-agency", is_flag=True,
    help=say("They may look at streams of all agencies.", "Được xem luồng của mọi đơn vị."),
)  # fmt: skip
@DATABASE
@as_json
def load(file: Path, every_agency: bool, database: str | None, as_json: bool) -> None:
    """Load rules."""
    from twin.incidents.rule_store import put_rule

    rules = _read(file)

    async def store(connection: asyncpg.Connection) -> list[tuple[str, str | None]]:
        # All of them or none.
        async with connection.transaction():
            return [await put_rule(connection, rule, BY, every_agency=every_agency) for rule in rules]

    done = _connected(database, store)
    entries = [
        {"agency": rule.agency, "name": rule.name, "result": result, **({"secret": secret} if secret else {})}
        for rule, (result, secret) in zip(rules, done, strict=True)
    ]  # fmt: skip
    if as_json:
        print_json(entries)
        return
    words = {
        "new": say("new", "mới"), "changed": say("changed", "đã thay"), "same": say("as before", "không đổi"),
    }  # fmt: skip
    for rule, (result, secret) in zip(rules, done, strict=True):
        click.echo(f"{rule.agency}/{rule.name}: {words[result]}")
        if secret and rule.webhook:
            click.echo("  " + say("secret, shown once: ", "khóa ký, chỉ hiện một lần: ") + secret)


@alerts.command(
    "rules",
    short_help=say("List the rules.", "Liệt kê các quy tắc."),
    help=say("List the rules.\n\nExample: twin ingest alerts rules", "Liệt kê.\n\nVí dụ: twin ingest alerts rules"),
)
@DATABASE
@as_json
def list_rules(database: str | None, as_json: bool) -> None:
    """List rules."""
    from twin.incidents import rule_store

    found = _connected(database, rule_store.list_rules)
    if as_json:
        print_json([{"id": k.key, **k.stored.definition.model_dump(mode="json", exclude_none=True)} for k in found])
        return
    table = _table(say("Id", "Số"), say("Agency", "Đơn vị"), say("Rule", "Quy tắc"), say("Condition", "Điều kiện"),
                   say("Severity", "Mức độ"), say("On", "Bật"))  # fmt: skip
    for kept in found:
        rule = kept.stored.definition
        enabled = say("yes", "có") if rule.enabled else say("no", "không")
        table.add_row(str(kept.key), plain(rule.agency), plain(rule.name), rule.when.type, rule.severity, enabled)
    print_table(table)


@alerts.command(
    "list",
    short_help=say("List incidents.", "Liệt kê các sự việc."),
    help=say(
        "List the incidents that are not over; with --all the past ones too.\n\nExample: twin ingest alerts list",
        "Liệt kê các sự việc chưa kết thúc; với --all cả các sự việc đã qua.\n\nVí dụ: twin ingest alerts list",
    ),
)
@click.option("--all", "everything", is_flag=True, help=say("Those that are over too.", "Cả các sự việc đã kết thúc."))
@DATABASE
@as_json
def list_incidents(everything: bool, database: str | None, as_json: bool) -> None:
    """List incidents."""
    from twin.incidents.store import IncidentFilter, every_layer
    from twin.incidents.store import list_incidents as read

    wanted = IncidentFilter(status=None if everything else ("open", "acknowledged"))

    async def work(connection: asyncpg.Connection) -> Any:
        return await read(connection, await every_layer(connection), wanted, 1_000)

    found = _connected(database, work)
    if as_json:
        print_json([incident.as_dict() for incident in found])
        return
    table = _table(say("Id", "Số"), say("Status", "Trạng thái"), say("Severity", "Mức độ"), say("Opened", "Mở lúc"),
                   say("Title", "Nội dung"))  # fmt: skip
    zone = load_settings().profile.time_zone
    for incident in found:
        opened = incident.opened.astimezone(zone).strftime("%Y-%m-%d %H:%M")
        table.add_row(str(incident.id), incident.status, incident.severity, opened, plain(incident.title))
    print_table(table)


@alerts.command(
    short_help=say("Acknowledge an incident.", "Xác nhận một sự việc."),
    help=say(
        "Say that somebody looks after an incident.\n\nExample: twin ingest alerts ack 12 --note 'pump on its way'",
        "Xác nhận đã có người xử lý sự việc.\n\nVí dụ: twin ingest alerts ack 12 --note 'đang điều máy bơm'",
    ),
)
@INCIDENT
@NOTE
@DATABASE
def ack(incident: int, note: str, database: str | None) -> None:
    """Acknowledge."""
    from twin.incidents.store import acknowledge, find_incident

    async def work(connection: asyncpg.Connection) -> None:
        await acknowledge(connection, await find_incident(connection, None, incident), BY, note)

    _connected(database, work)
    console().print(say("Acknowledged.", "Đã xác nhận."))


@alerts.command(
    short_help=say("Close an incident.", "Đóng một sự việc."),
    help=say(
        "Close an incident. Its rule stays quiet about it until the condition was over.\n\n"
        "Example: twin ingest alerts close 12 --note 'false alarm'",
        "Đóng một sự việc. Quy tắc không báo lại cho đến khi điều kiện đã hết.\n\n"
        "Ví dụ: twin ingest alerts close 12 --note 'báo nhầm'",
    ),
)
@INCIDENT
@NOTE
@DATABASE
def close(incident: int, note: str, database: str | None) -> None:
    """Close."""
    from twin.incidents.store import close as end
    from twin.incidents.store import find_incident

    async def work(connection: asyncpg.Connection) -> None:
        await end(connection, await find_incident(connection, None, incident), BY, note)

    _connected(database, work)
    console().print(say("Closed.", "Đã đóng."))


@alerts.command(
    short_help=say("What would these rules have found?", "Các quy tắc này sẽ báo gì?"),
    help=say(
        "Apply the rules of a file to the values of the last day, and show what they would have opened. Nothing is "
        "stored or sent.\n\nExample: twin ingest alerts test flood.alerts.toml --hours 48",
        "Áp dụng các quy tắc trong tệp cho số liệu ngày qua và cho biết chúng sẽ mở sự việc nào. Không lưu và không "
        "gửi gì.\n\nVí dụ: twin ingest alerts test ngap.alerts.toml --hours 48",
    ),
)
@FILE
@click.option(
    "--hours", type=click.FloatRange(min=0.1, max=24 * 31), default=24.0, show_default=True,
    help=say("How far back.", "Lùi lại bao nhiêu giờ."),
)  # fmt: skip
@click.option(
    "--every-agency", is_flag=True, help=say("As with load --every-agency.", "Như load --every-agency.")
)  # fmt: skip
@DATABASE
@as_json
def test(file: Path, hours: float, every_agency: bool, database: str | None, as_json: bool) -> None:
    """Test rules."""
    from layers.observed.stream_grades import StreamGrades
    from twin.incidents.rehearsal import rehearse

    rules = _read(file)
    zone = load_settings().profile.time_zone
    end = datetime.now(UTC)
    start = end - timedelta(hours=hours)

    async def work(connection: asyncpg.Connection) -> Any:
        return [
            await rehearse(connection, rule, StreamGrades(), zone, start, end, every_agency=every_agency)
            for rule in rules
        ]  # fmt: skip

    found = _connected(database, work)
    if as_json:
        print_json([rehearsal.as_dict() for rehearsal in found])
        return
    for rule, rehearsal in zip(rules, found, strict=True):
        count, streams = len(rehearsal.incidents), rehearsal.streams
        click.echo(
            say(
                f"{rule.name}: {count} incidents on {streams} streams", f"{rule.name}: {count} sự việc, {streams} luồng"
            )
        )
        for incident in rehearsal.incidents[:20]:
            until = incident.until.astimezone(zone).strftime("%H:%M") if incident.until else "…"
            began = incident.began.astimezone(zone).strftime("%Y-%m-%d %H:%M")
            click.echo(f"  {began}–{until}  {incident.title.in_language(current_language())}")
        if count > 20:
            click.echo(f"  … {count - 20}")


def _read(file: Path) -> tuple[AlertRule, ...]:
    from layers.observed.stream_grades import check_rule
    from twin.incidents.rules import read_rule_file
    from twin.incidents.webhook import AllowedHosts

    rules = read_rule_file(file)
    hosts = AllowedHosts.parse(load_settings().webhook_hosts)
    for rule in rules:
        check_rule(rule)
        if rule.webhook is not None:
            hosts.check(rule.webhook)
    return rules


def _connected(database: str | None, work: Any) -> Any:
    return run_async(with_connection(open_database(load_settings(), database), work))


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table
