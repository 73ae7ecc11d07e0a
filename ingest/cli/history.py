"""Commands about what was published: `twin ingest versions | show | diff | rollback | quarantine`."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from sqlalchemy.orm import Session

from ingest.counts import feature_count
from twin.catalogue.catalogue import Layer, Version, read_catalogue, split_layer_id
from twin.catalogue.differences import changes, summary, version_of
from twin.catalogue.versions import rollback as roll_back
from twin.cli import console, plain, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database
from twin.db.tables import Audit, LayerVersion, Quarantine
from twin.errors import BadInput, NotFound
from twin.facts import print_version
from twin.text import Text, format_number, printable, read_stored

LAYER = click.argument("layer", metavar=say("LAYER", "LỚP"))


def find_layer(session: Session, layer_id: str) -> Layer:
    """Return the layer of that name, whoever asks: commands are run by the city's own operators."""
    split_layer_id(layer_id)
    layer = read_catalogue(session).get(layer_id)
    if layer is None:
        raise NotFound(
            Text(
                en="There is no layer “{id}”. See: twin layer list", vi="Không có lớp “{id}”. Xem: twin layer list"
            ).format(id=layer_id)
        )
    return layer


def _moment(value: datetime) -> str:
    zone = load_settings().profile.time_zone
    return value.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _facts(row: LayerVersion, layer: Layer) -> dict[str, Any]:
    return {
        "version": row.number,
        "current": layer.current is not None and row.id == layer.current.key,
        "state": row.state,
        "features": row.features,
        "quarantined": row.quarantined,
        "published": row.published_at.isoformat() if row.published_at else None,
        "by": row.created_by,
        "source": row.source,
        "sha256": row.source_sha256,
        "tool": row.tool_version,
        "reason": row.reason,
        "table": f"layer_data.{row.table_name}",
        "raster": row.raster,
    }


@click.command(
    short_help=say("List a layer's versions.", "Liệt kê các phiên bản của một lớp."),
    help=say(
        "List a layer's versions: who published what, when, from which file, why.\n\n"
        "Example: twin ingest versions transport.bus_stops",
        "Liệt kê các phiên bản của một lớp: ai công bố gì, khi nào, từ tệp nào, vì sao.\n\n"
        "Ví dụ: twin ingest versions transport.bus_stops",
    ),
)
@LAYER
@as_json
def versions(layer: str, as_json: bool) -> None:
    """List versions."""
    with open_database(load_settings()).session() as session:
        found = find_layer(session, layer)
        rows = session.scalars(
            sa.select(LayerVersion).where(LayerVersion.layer_id == found.key).order_by(LayerVersion.number.desc())
        ).all()
        facts = [_facts(row, found) for row in rows]
        moments = [_moment(row.published_at) if row.published_at else "—" for row in rows]
    if as_json:
        print_json(facts)
        return
    _print_versions(facts, moments)


def _print_versions(facts: Sequence[dict[str, Any]], moments: Sequence[str]) -> None:
    """Print a line for each version, and below it the file and the reason, for which there is no room beside the
    rest.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", say("Version", "Phiên bản"), say("Published", "Công bố"), say("By", "Người")):
        table.add_column(heading, no_wrap=True)
    for heading in (say("Features", "Đối tượng"), say("Set aside", "Cách ly")):
        table.add_column(heading, justify="right", no_wrap=True)
    for fact, moment in zip(facts, moments, strict=True):
        table.add_row(
            "→" if fact["current"] else "", str(fact["version"]), moment, plain(fact["by"]),
            format_number(fact["features"]),
            format_number(fact["quarantined"]) if fact["quarantined"] else "",
        )  # fmt: skip
    terminal = Console()
    with terminal.capture() as printed:
        terminal.print(table)
    heading, *lines = printed.get().splitlines()
    click.echo(heading)
    dropped = say("(retired)", "(đã gỡ)")
    for fact, line in zip(facts, lines, strict=True):
        click.echo(line)
        retired = "" if fact["state"] == "published" else dropped
        parts = fact["source"], retired, fact["reason"] and f"— {fact['reason']}"
        terminal.print(Padding(plain(" ".join(part for part in parts if part), "dim"), (0, 0, 0, 3)))


@click.command(
    short_help=say("Show the version of a time.", "Xem phiên bản hiện hành tại một thời điểm."),
    help=say(
        "Show which version was current at a time.\n\nExample: twin ingest show transport.bus_stops --at 2026-11-01",
        "Cho biết phiên bản nào là hiện hành tại một thời điểm.\n\n"
        "Ví dụ: twin ingest show transport.bus_stops --at 2026-11-01",
    ),
)
@LAYER
@click.option(
    "--at", required=True, help=say("ISO date or time, of the city's clock.", "Ngày hoặc giờ ISO của thành phố.")
)
@as_json
def show(layer: str, at: str, as_json: bool) -> None:
    """Show the version of a time."""
    moment = parse_moment(at)
    with open_database(load_settings()).session() as session:
        found = find_layer(session, layer)
        number = session.scalar(
            sa.select(Audit.version)
            .where(Audit.layer == layer, Audit.action.in_(("publish", "rollback")), Audit.at <= moment)
            .order_by(Audit.id.desc())
            .limit(1)
        )
        if number is None:
            raise NotFound(
                Text(en="“{id}” had no version at {at}.", vi="Lớp “{id}” chưa có phiên bản nào vào lúc {at}.").format(
                    id=layer, at=at
                )
            )
        row = session.scalars(
            sa.select(LayerVersion).where(LayerVersion.layer_id == found.key, LayerVersion.number == number)
        ).one()
        facts = _facts(row, found)
    if as_json:
        print_json(facts)
        return
    print_version(facts, load_settings().profile.time_zone)


def parse_moment(text: str) -> datetime:
    """Read a date or time; one without a zone is of the city's clock, a date alone means its end."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            Text(
                en="“{text}” is not a time. Examples: 2026-11-01, 2026-11-01T08:30",
                vi="“{text}” không phải thời điểm. Ví dụ: 2026-11-01, 2026-11-01T08:30",
            ).format(text=text[:40])
        ) from None
    if len(text) == len("2026-11-01"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return moment if moment.tzinfo else moment.replace(tzinfo=load_settings().profile.time_zone)


@click.command(
    short_help=say("Show what changed between two versions.", "So sánh hai phiên bản."),
    help=say(
        "Show what changed between two versions (the current one if B is left out): counts, fields, wards.\n\n"
        "Example: twin ingest diff transport.bus_stops 3 4 --geojson changes.geojson",
        "Cho biết thay đổi giữa hai phiên bản (bỏ B là so với bản hiện hành): số lượng, trường, theo phường.\n\n"
        "Ví dụ: twin ingest diff transport.bus_stops 3 4 --geojson thay_doi.geojson",
    ),
)
@LAYER
@click.argument("a", type=int)
@click.argument("b", type=int, required=False)
@click.option(
    "--geojson",
    type=click.Path(path_type=Path, dir_okay=False),
    help=say("Write every change there.", "Ghi mọi thay đổi vào tệp này."),
)
@as_json
def diff(layer: str, a: int, b: int | None, geojson: Path | None, as_json: bool) -> None:
    """Compare two versions."""
    with open_database(load_settings()).session() as session:
        catalogue = read_catalogue(session)
        found = find_layer(session, layer)
        before, after = version_of(found, a), version_of(found, b)
        between = summary(session, before, after, _wards(catalogue))
        if geojson:
            _write_changes(session, before, after, geojson)
    if as_json:
        print_json(
            {
                "layer": layer, "from": before.number, "to": after.number, "added": between.added,
                "removed": between.removed, "changed": between.changed, "geometryChanged": between.geometry,
                "fields": between.fields, "newColumns": between.new_columns, "lostColumns": between.lost_columns,
                "wards": between.wards,
            }
        )  # fmt: skip
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row(say("added", "thêm mới"), format_number(between.added))
    table.add_row(say("removed", "bỏ đi"), format_number(between.removed))
    table.add_row(say("changed", "thay đổi"), format_number(between.changed))
    table.add_row(say("  of these, geometry", "  trong đó hình học"), format_number(between.geometry))
    for name, count in between.fields.items():
        table.add_row(say("  field ", "  trường ") + name, format_number(count))
    Console().print(table)
    if between.new_columns:
        Console().print(plain(say("New columns: ", "Cột mới: ") + ", ".join(between.new_columns)))
    if between.lost_columns:
        Console().print(plain(say("Columns gone: ", "Cột đã bỏ: ") + ", ".join(between.lost_columns)))
    if between.wards:
        click.echo(say("\nBy ward:", "\nTheo phường:"))
        for ward, count in list(between.wards.items())[:20]:
            click.echo(f"  {format_number(count):>7}  {ward}")
        if len(between.wards) > 20:
            click.echo(say(f"  … and {len(between.wards) - 20} more", f"  … và {len(between.wards) - 20} phường khác"))


def _wards(catalogue: dict[str, Layer]) -> Version | None:
    """Return the version of ward polygons to count by: the layer that the city's profile names."""
    layer = catalogue.get(load_settings().profile.wards)
    return layer.current if layer else None


def _write_changes(session: Session, before: Version, after: Version, path: Path) -> None:
    """Write every change as a GeoJSON feature, one after another."""
    import shapely

    with path.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for i, change in enumerate(changes(session, before, after)):
            feature = {
                "type": "Feature",
                "id": change.id,
                "geometry": json.loads(shapely.to_geojson(shapely.from_wkb(change.geometry))),
                "properties": {
                    "change": change.kind,
                    "geometryChanged": change.geometry_changed,
                    "fields": {name: {"before": old, "after": new} for name, (old, new) in change.fields.items()},
                },
            }
            file.write((",\n" if i else "\n") + json.dumps(feature, ensure_ascii=False))
        file.write("\n]}\n")


@click.command(
    short_help=say("Go back to an earlier version.", "Quay lại một phiên bản trước."),
    help=say(
        "Make an earlier version the current one again: the one before, or --to a number.\n\n"
        'Example: twin ingest rollback transport.bus_stops --reason "wrong file"',
        "Quay lại một phiên bản trước: bản liền trước, hoặc --to một số.\n\n"
        'Ví dụ: twin ingest rollback transport.bus_stops --reason "nhầm tệp"',
    ),
)
@LAYER
@click.option(
    "--to",
    type=int,
    help=say("Number of the version; else the one before.", "Số phiên bản; không nêu thì bản liền trước."),
)
@click.option("--reason", default="", help=say("Why; kept in the record.", "Lý do, được ghi vào nhật ký."))
@as_json
def rollback(layer: str, to: int | None, reason: str, as_json: bool) -> None:
    """Roll back."""
    number = roll_back(open_database(load_settings()), layer, to, getpass.getuser(), reason)
    if as_json:
        print_json({"layer": layer, "current": number})
    else:
        console().print(
            say(f"Version {number} of {layer} is the current one.", f"Phiên bản {number} của {layer} là bản hiện hành.")
        )


@click.command(
    short_help=say("List or export what was set aside.", "Liệt kê hoặc xuất đối tượng bị cách ly."),
    help=say(
        "List the features that a version set aside, with the reasons; export them as GeoPackage to mend them "
        "and publish again.\n\nExample: twin ingest quarantine transport.bus_stops --out bad.gpkg",
        "Liệt kê các đối tượng bị cách ly và lý do; xuất ra GeoPackage để sửa rồi công bố lại.\n\n"
        "Ví dụ: twin ingest quarantine transport.bus_stops --out loi.gpkg",
    ),
)
@LAYER
@click.option(
    "--version",
    "number",
    type=int,
    help=say("Of this version, else the current one.", "Của phiên bản này; không nêu thì bản hiện hành."),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=say("GeoPackage to write.", "Tệp GeoPackage để ghi."),
)
@as_json
def quarantine(layer: str, number: int | None, out: Path | None, as_json: bool) -> None:
    """List or export what was set aside."""
    with open_database(load_settings()).session() as session:
        version = version_of(find_layer(session, layer), number)
        rows = session.scalars(
            sa.select(Quarantine).where(Quarantine.version_id == version.key).order_by(Quarantine.id)
        ).all()
    if out:
        _export(rows, out)
        console().print(
            say(
                f"{feature_count(len(rows))} written to {out}",
                f"Đã ghi {feature_count(len(rows))} vào {out}",
            )
        )
        return
    if as_json:
        print_json(
            [
                {
                    "id": r.feature_id, "reason": r.reason, "title": _title(r.reason).as_dict(),
                    "detail": read_stored(r.detail).as_dict(), "properties": r.properties,
                }
                for r in rows
            ]
        )  # fmt: skip
        return
    if not rows:
        click.echo(say("Nothing was set aside.", "Không có đối tượng nào bị cách ly."))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (say("Feature", "Đối tượng"), say("Reason", "Lý do"), say("Detail", "Chi tiết")):
        table.add_column(heading, overflow="fold")
    for row in rows[:200]:
        cells = row.feature_id or "—", str(_title(row.reason)), str(read_stored(row.detail))
        table.add_row(*map(plain, cells))
    Console().print(table)
    if len(rows) > 200:
        click.echo(
            say(
                f"… and {format_number(len(rows) - 200)} more; --out writes all",
                f"… và {format_number(len(rows) - 200)} nữa; --out ghi tất cả",
            )
        )
    click.echo()
    for reason, count in Counter(row.reason for row in rows).most_common():
        click.echo(f"{count:>7,}  {printable(_title(reason))}")
    console().print(
        say(
            f"\nTo mend them: twin ingest quarantine {layer} --out to_mend.gpkg, correct that file, and add it with "
            f"twin ingest publish to_mend.gpkg --layer {layer} --mode upsert",
            f"\nĐể sửa: twin ingest quarantine {layer} --out can_sua.gpkg, sửa tệp đó rồi bổ sung bằng "
            f"twin ingest publish can_sua.gpkg --layer {layer} --mode upsert",
        )
    )


def _title(reason: str) -> Text:
    """Return the title of a kind of problem."""
    from ingest.checks.kinds import KINDS

    return KINDS[reason].title if reason in KINDS else Text(en=reason, vi=reason)


def _export(rows: Any, path: Path) -> None:
    import geopandas as gpd
    import shapely

    from ingest.checks.problems import QUARANTINE_ID, QUARANTINE_NOTES

    taken = {QUARANTINE_ID, *QUARANTINE_NOTES, "geometry", "fid"}
    frame = gpd.GeoDataFrame(
        [
            {
                QUARANTINE_ID: r.feature_id,
                **dict(
                    zip(QUARANTINE_NOTES, map(str, (r.reason, _title(r.reason), read_stored(r.detail))), strict=True)
                ),
                **{k: v for k, v in r.properties.items() if k not in taken},
            }
            for r in rows
        ],
        geometry=[shapely.from_wkb(r.geometry) if r.geometry else None for r in rows],
        crs=4326,
    )
    frame.to_file(path, driver="GPKG", layer="quarantine")
