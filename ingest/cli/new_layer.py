"""`twin layer new`: a layer of an agency's own, for what no theme of the platform describes."""

from __future__ import annotations

from pathlib import Path

import click

from layers.contracts import Contract, document, read_contract
from twin.catalogue.catalogue import LayerEntry, ensure_layer, split_layer_id
from twin.cli import console, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database
from twin.errors import BadInput
from twin.text import Text


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
    # Loads what reads files.
    from ingest.checks.contract_proposal import propose_contract

    text = propose_contract(file, layer, source_layer)
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
