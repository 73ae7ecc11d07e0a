"""Commands about layers: `twin layer`."""

from __future__ import annotations

import getpass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from layers.contracts import theme_of
from layers.registry import themes
from twin.access.permit import whole_permit
from twin.catalogue.catalogue import Layer, change_entry, ensure_agency, read_catalogue, split_layer_id
from twin.cli import Registered, console, plain, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database
from twin.db.tables import Sharing
from twin.errors import BadInput, NotFound
from twin.facts import SHARING, print_version
from twin.text import Text, format_number

KINDS = {
    "point": Text(en="points", vi="điểm"), "line": Text(en="lines", vi="đường"),
    "polygon": Text(en="polygons", vi="vùng"),
}  # fmt: skip
TYPES = {
    "text": Text(en="text", vi="chữ"), "integer": Text(en="integer", vi="số nguyên"),
    "number": Text(en="number", vi="số"), "boolean": Text(en="boolean", vi="có/không"),
    "date": Text(en="date", vi="ngày"), "time": Text(en="time", vi="giờ"),
}  # fmt: skip
RASTER = Text(en="raster", vi="ảnh raster")


@click.group(
    cls=Registered,
    help=say("The layers that agencies have published.", "Các lớp dữ liệu mà các đơn vị đã công bố."),
)
def layer() -> None:
    """Group of layer commands."""


def _catalogue() -> dict[str, Layer]:
    with open_database(load_settings()).session() as session:
        return read_catalogue(session)


def _facts(item: Layer) -> dict[str, Any]:
    current = item.current
    columns = whole_permit(item, current).columns if current else ()
    return {
        "layer": item.id,
        "title": item.title.as_dict(),
        "theme": item.theme,
        "sharing": item.sharing.value,
        "sample": item.sample,
        "licence": item.licence,
        "attribution": item.attribution,
        "version": current.number if current else None,
        "features": current.features if current else 0,
        "quarantined": current.quarantined if current else 0,
        "published": current.published.isoformat() if current else None,
        "source": current.source if current else None,
        "bounds": current.bounds if current else None,
        "table": f"layer_data.{current.table}" if current else None,
        "versions": sorted(item.versions),
        "raster": dict(current.raster) if current and current.raster else None,
        "columns": [column.as_dict() for column in columns],
    }


@layer.command(
    "list",
    help=say(
        "List all layers with their current versions.\n\nExample: twin layer list",
        "Liệt kê các lớp và phiên bản hiện hành.\n\nVí dụ: twin layer list",
    ),
)
@as_json
def list_layers(as_json: bool) -> None:
    """List layers."""
    layers = _catalogue().values()
    if as_json:
        print_json([{k: v for k, v in _facts(item).items() if k != "columns"} for item in layers])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(say("Layer", "Lớp"), no_wrap=True)
    table.add_column(say("Title", "Tên"))
    table.add_column(say("Sharing", "Chia sẻ"))
    table.add_column(say("Version", "Phiên bản"), justify="right")
    table.add_column(say("Features", "Đối tượng"), justify="right")
    table.add_column(say("Set aside", "Cách ly"), justify="right")
    for item in layers:
        now = item.current
        mark = say(" (sample)", " (mẫu)") if item.sample else ""
        table.add_row(
            item.id, plain(f"{item.title}{mark}"), str(SHARING[item.sharing.value]), str(now.number) if now else "—",
            format_number(now.features) if now else "—",
            format_number(now.quarantined) if now and now.quarantined else "",
        )  # fmt: skip
    Console().print(table)


@layer.command(
    "set",
    help=say(
        "Change the entry of a layer: who may read it, its title, its licence. Its data stays as it is.\n\n"
        'Example: twin layer set transport.bus_stops --sharing open --licence "CC BY 4.0"',
        "Đổi thông tin của một lớp: ai được đọc, tên, giấy phép. Dữ liệu giữ nguyên.\n\n"
        'Ví dụ: twin layer set transport.bus_stops --sharing open --licence "CC BY 4.0"',
    ),
)
@click.argument("layer_id", metavar=say("LAYER", "LỚP"))
@click.option(
    "--sharing", type=click.Choice([s.value for s in Sharing]),
    help=say(
        "open: everybody; shared: all agencies; restricted: only the own one.",
        "open: mọi người; shared: mọi đơn vị; restricted: chỉ đơn vị mình.",
    ),
)  # fmt: skip
@click.option("--title-vi", help=say("Title in Vietnamese.", "Tên tiếng Việt."))
@click.option("--title-en", help=say("Title in English.", "Tên tiếng Anh."))
@click.option("--licence", help=say("Licence.", "Giấy phép."))
@click.option("--attribution", help=say("Whom to name as the source.", "Ghi nguồn."))
@click.option("--update-frequency", help=say("How often it is renewed.", "Tần suất cập nhật."))
@as_json
def set_entry(layer_id: str, as_json: bool, **options: str | None) -> None:
    """Change a layer's entry in the catalogue."""
    changes = {name: value for name, value in options.items() if value is not None}
    if not changes:
        raise BadInput(
            Text(
                en="Say what to change, for example --sharing open. See: twin layer set --help",
                vi="Hãy cho biết cần đổi gì, ví dụ --sharing open. Xem: twin layer set --help",
            )
        )
    with open_database(load_settings()).session() as session:
        before = change_entry(session, layer_id, changes, getpass.getuser())
    if as_json:
        print_json({"layer": layer_id, "before": before, "after": changes})
        return
    for name, value in changes.items():
        console().print(f"{layer_id}: {name.replace('_', '-')} {before[name] or '—'} → {value}")


@layer.command(
    help=say(
        "Show one layer: whose, what, since when, its columns and kept versions.\n\n"
        "Example: twin layer show construction.buildings",
        "Xem một lớp: của ai, gồm gì, từ khi nào, các cột và phiên bản còn giữ.\n\n"
        "Ví dụ: twin layer show construction.buildings",
    )
)
@click.argument("layer_id", metavar=say("LAYER", "LỚP"))
@as_json
def show(layer_id: str, as_json: bool) -> None:
    """Show a layer."""
    split_layer_id(layer_id)
    item = _catalogue().get(layer_id)
    if item is None:
        raise NotFound(
            Text(
                en="There is no layer “{id}”. See: twin layer list",
                vi="Không có lớp “{id}”. Xem: twin layer list",
            ).format(id=layer_id)
        )
    facts = _facts(item)
    if as_json:
        print_json(facts)
        return
    theme = theme_of(item)
    facts |= {"title": str(item.title), "theme": f"{theme.title} ({theme.name})"}
    columns = facts.pop("columns")
    print_version(facts, load_settings().profile.time_zone)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (say("Column", "Cột"), say("Type", "Kiểu"), say("Unit", "Đơn vị"), say("Title", "Tên")):
        table.add_column(heading)
    for column in columns:
        kind, unit, title = str(TYPES[column["type"]]), column["unit"] or "", Text(**column["title"])
        table.add_row(column["name"], kind, plain(unit), plain(title))
    click.echo()
    Console().print(table)


@layer.command(
    help=say(
        "Make an agency, or change its title.\n\n"
        'Example: twin layer agency health --vi "Sở Y tế" --en "Department of Health"',
        "Tạo một đơn vị, hoặc đổi tên của nó.\n\n"
        'Ví dụ: twin layer agency health --vi "Sở Y tế" --en "Department of Health"',
    )
)
@click.argument("name", metavar=say("NAME", "TÊN"))
@click.option("--vi", required=True, help=say("Title in Vietnamese.", "Tên tiếng Việt."))
@click.option("--en", required=True, help=say("Title in English.", "Tên tiếng Anh."))
def agency(name: str, vi: str, en: str) -> None:
    """Make an agency."""
    with open_database(load_settings()).session() as session:
        ensure_agency(session, name, Text(en=en, vi=vi))
    console().print(say(f"The agency {name} is there.", f"Đã có đơn vị {name}."))


@layer.command(
    "themes",
    help=say(
        "List the themes and the fields of their contracts.\n\nExample: twin layer themes buildings",
        "Liệt kê các chuyên đề và trường dữ liệu.\n\nVí dụ: twin layer themes buildings",
    ),
)
@click.argument("name", required=False, metavar=say("[THEME]", "[CHUYÊN_ĐỀ]"))
@as_json
def list_themes(name: str | None, as_json: bool) -> None:
    """List themes."""
    from layers.registry import theme as find_theme

    chosen = [find_theme(name)] if name else list(themes().values())
    if as_json:
        print_json([_contract(item) for item in chosen])
        return
    for item in chosen:
        click.secho(f"{item.name}  ", bold=True, nl=False)
        kind = RASTER if item.raster else KINDS[item.geometry]
        click.echo(f"{item.title} — {kind}, H3 {item.resolution}")
        for field in item.fields:
            need = say(" (required)", " (bắt buộc)") if field.required else ""
            unit = f" [{field.unit}]" if field.unit else ""
            click.echo(f"  {field.name:16} {TYPES[field.type]!s:8} {field.title}{unit}{need}")
            if name and field.vocabulary:
                for key, entry in field.vocabulary.items():
                    click.echo(f"  {'':16}   {key:18} {entry.title}")


def _contract(item: Any) -> dict[str, Any]:
    return {
        "theme": item.name,
        "title": item.title.as_dict(),
        "geometry": item.geometry,
        "raster": item.raster is not None,
        "resolution": item.resolution,
        "fields": [
            {
                "name": f.name, "type": f.type, "title": f.title.as_dict(), "unit": f.unit, "required": f.required,
                "minimum": f.minimum, "maximum": f.maximum, "rollup": f.rollup,
                "vocabulary": {k: t.title.as_dict() for k, t in (f.vocabulary or {}).items()} or None,
            }
            for f in item.fields
        ],
    }  # fmt: skip
