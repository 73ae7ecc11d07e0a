"""`twin layer new`: a layer of an agency's own, for what no theme of the platform describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ingest.checks.plan import Limits, decode, encodings_of, sample_of
from ingest.mapping import column_name
from ingest.readers.opening import open_file
from ingest.readers.source import Reader, ReadOptions
from layers.contracts import RESOLUTIONS, Contract, document, read_contract
from layers.theme import RESERVED, FieldType, GeometryKind
from twin.catalogue import LayerEntry, ensure_layer, split_layer_id
from twin.cli import console, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database
from twin.errors import BadInput
from twin.text import Text

KINDS: tuple[GeometryKind, ...] = ("point", "line", "polygon")
# A text column with at most this many different values, each met often, is a vocabulary.
TERMS = 20
OFTEN = 3
# Endings of column names that tell a unit.
UNITS = {
    "m2": "m2", "km2": "km2", "km": "km", "ha": "har", "m": "m", "kmh": "km/h", "km_h": "km/h", "mm": "mm",
    "percent": "%", "pct": "%", "phan_tram": "%", "kg": "kg", "tan": "t", "nguoi": "{person}",
}  # fmt: skip
LABELS = ("ten", "name", "ten_goi", "title")


@click.command(
    "new",
    help=say(
        "Make a layer of your agency's own. First from a file: a contract is proposed (fields, types, terms, units) "
        "for you to edit. Then with the contract: the layer is made, and files can be published into it.\n\n"
        "Examples:\n\n  twin layer new wells.gpkg --layer environment.wells --write wells.toml\n\n"
        "  twin layer new --contract wells.toml",
        "Tạo lớp riêng của đơn vị. Trước hết từ một tệp: chương trình đề xuất hợp đồng dữ liệu (trường, kiểu, "
        "danh mục, đơn vị) để bạn chỉnh sửa. Sau đó từ hợp đồng: lớp được tạo và có thể công bố tệp vào lớp.\n\n"
        "Ví dụ:\n\n  twin layer new gieng.gpkg --layer environment.wells --write gieng.toml\n\n"
        "  twin layer new --contract gieng.toml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True), required=False, metavar=say("[FILE]", "[TỆP]"))
@click.option("--layer", help=say("AGENCY.NAME of the layer.", "ĐƠN_VỊ.TÊN của lớp."))
@click.option("--source-layer", help=say("Which layer of the file.", "Lớp nào trong tệp."))
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help=say("Write the proposed contract there.", "Ghi hợp đồng được đề xuất vào tệp này."),
)
@click.option(
    "--contract",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=say("Make the layer that this contract describes.", "Tạo lớp theo hợp đồng này."),
)
@as_json
def new(
    file: Path | None,
    layer: str | None,
    source_layer: str | None,
    write: Path | None,
    contract: Path | None,
    as_json: bool,
) -> None:
    """Propose a contract, or make the layer of one."""
    if contract is not None:
        made = read_contract(contract)
        _make(made)
        if as_json:
            print_json(made.model_dump(mode="json", exclude_none=True))
        else:
            console().print(
                say(
                    f"The layer {made.layer} is there. Publish into it: twin ingest publish FILE --layer {made.layer}",
                    f"Đã có lớp {made.layer}. Công bố vào lớp: twin ingest publish TỆP --layer {made.layer}",
                )
            )
        return
    if file is None or layer is None:
        raise BadInput(
            Text(
                en="Give a file and --layer to have a contract proposed, or --contract to make its layer.",
                vi="Hãy cho tệp và --layer để được đề xuất hợp đồng, hoặc --contract để tạo lớp.",
            )
        )
    split_layer_id(layer)
    text = propose(file, layer, source_layer)
    if write is None:
        click.echo(text)
        return
    write.write_text(text, "utf-8")
    console().print(
        say(
            f"Written to {write}. Edit titles, licence and sharing, then: twin layer new --contract {write}",
            f"Đã ghi vào {write}. Hãy sửa tên, giấy phép, mức chia sẻ rồi chạy: twin layer new --contract {write}",
        )
    )


def _make(contract: Contract) -> None:
    entry = LayerEntry(
        contract.layer, contract.layer, contract.title.text, (contract.description or contract.title).text,
        contract.licence, contract.attribution, contract.sharing, contract=document(contract),
        update_frequency=contract.update_frequency,
    )  # fmt: skip
    with open_database(load_settings()).session() as session:
        ensure_layer(session, entry)


def propose(file: Path, layer: str, source_layer: str | None = None) -> str:
    """Propose a contract for a file, as TOML to be edited."""
    reader = open_file(file, ReadOptions(layer=source_layer))
    try:
        sample, read = sample_of(reader, Limits())
        if not read:
            raise BadInput(
                Text(en="{file} holds no features.", vi="{file} không có đối tượng nào.").format(file=file.name)
            )
        solids = tuple(getattr(reader, "solids", ()))
        # The columns that became the geometry are not said twice.
        places = {str(c).casefold() for c in ("x", "y", "lon", "lng", "lat", "longitude", "latitude", "wkt")}
        is_table = reader.format in ("CSV", "XLSX")
        columns = [c for c in reader.columns if c not in solids and not (is_table and c.casefold() in places)]
        frame = decode(pd.DataFrame(sample[columns]), encodings_of(sample, reader.columns, solids, None))
        return _toml(layer, _kind(sample), reader, frame)
    finally:
        reader.close()


def _kind(sample: gpd.GeoDataFrame) -> GeometryKind:
    dimensions = shapely.get_dimensions(np.asarray(sample.geometry.values, dtype=object))
    return KINDS[int(np.bincount(dimensions[dimensions >= 0], minlength=3).argmax())]


def _toml(layer: str, kind: GeometryKind, reader: Reader, frame: pd.DataFrame) -> str:
    fields: list[dict[str, Any]] = []
    taken: set[str] = set()
    for column in frame.columns:
        name = column_name(column)
        while name in taken or name in RESERVED:
            name = f"{name}_value"
        taken.add(name)
        fields.append(_field(name, column, reader.columns[column], frame[column].dropna()))
    label = next((f["name"] for f in fields if f["name"] in LABELS and f["type"] == "text"), None)
    title = layer.split(".")[1].replace("_", " ")
    lines = [
        "# "
        + say(
            "A proposal: title each field in both languages, correct types and units, strike out what is not needed.",
            "Đề xuất: đặt tên mỗi trường bằng hai ngôn ngữ, sửa kiểu và đơn vị, bỏ những gì không cần.",
        ),
        f"layer = {_said(layer)}",
        f"title = {{ vi = {_said(title)}, en = {_said(title)} }}",
        f"licence = {_said(say('not stated', 'chưa nêu'))}",
        f"attribution = {_said(layer.split('.')[0])}",
        "# "
        + say(
            "open (everybody), shared (every agency) or restricted (your agency)",
            "open (mọi người), shared (mọi đơn vị) hoặc restricted (chỉ đơn vị của bạn)",
        ),
        'sharing = "restricted"',
        "# "
        + say(
            "how often it changes: continuous, daily, weekly, monthly, quarterly, yearly or irregular",
            "chu kỳ cập nhật: continuous (liên tục), daily (ngày), weekly (tuần), monthly (tháng), quarterly (quý), "
            "yearly (năm) hoặc irregular (không định kỳ)",
        ),
        'update_frequency = "irregular"',
        f'geometry = "{kind}"',
        "# "
        + say(
            "H3 cells of about 2,150 m² at 11, seven times as large at 10, and so on",
            "ô H3 rộng khoảng 2.150 m² ở mức 11, lớn gấp bảy ở mức 10, v.v.",
        ),
        f"resolution = {RESOLUTIONS[kind]}",
    ]
    if label:
        lines.append(f'label = "{label}"')
    for field in fields:
        lines += ["", "[[field]]"]
        lines += [f"{key} = {value if key in _RAW else _said(value)}" for key, value in field.items()]
    return "\n".join(lines) + "\n"


_RAW = frozenset({"title", "vocabulary", "aliases", "minimum", "maximum"})


def _field(name: str, column: str, kind: FieldType, values: pd.Series) -> dict[str, Any]:
    kind, numbers = _type(kind, values)
    title = column.replace("_", " ").strip() or name
    field: dict[str, Any] = {
        "name": name,
        "type": kind,
        "title": f"{{ vi = {_said(title)}, en = {_said(title)} }}",
    }
    if column != name:
        field["aliases"] = f"[{_said(column)}]"
    if kind in ("integer", "number"):
        unit = next((code for ending, code in UNITS.items() if name == ending or name.endswith(f"_{ending}")), None)
        if unit:
            field["unit"] = unit
        if len(numbers) and numbers.min() >= 0:
            field["minimum"] = 0
    elif kind == "text" and (terms := _terms(values)):
        inner = ", ".join(f"{_said(t)} = {{ vi = {_said(t)}, en = {_said(t)} }}" for t in terms)
        field["vocabulary"] = f"{{ {inner} }}"
    return field


def _type(kind: FieldType, values: pd.Series) -> tuple[FieldType, pd.Series]:
    """The type that all values have, where a file (a table, OpenStreetMap) says no more than text."""
    if kind != "text":
        return kind, pd.to_numeric(values, errors="coerce") if kind in ("integer", "number") else values
    text = values.astype(str).str.strip()
    # A leading zero is part of a code.
    if not len(text) or text.str.fullmatch(r"0\d+").any():
        return "text", values
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().all() and np.isfinite(numbers).all():
        return ("integer" if (numbers % 1 == 0).all() else "number"), numbers
    if text.str.fullmatch(r"\d{4}-\d{2}-\d{2}").all():
        return "date", values
    return "text", values


def _terms(values: pd.Series) -> list[str]:
    counts = values.astype(str).str.strip().value_counts()
    few = 2 <= len(counts) <= TERMS and counts.min() >= OFTEN and counts.index.str.len().max() <= 60
    return list(counts.index) if few else []


def _said(text: str) -> str:
    """A TOML basic string: JSON's form without its escapes beyond the basic plane."""
    return json.dumps(str(text), ensure_ascii=False)
