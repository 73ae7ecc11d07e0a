"""Commands of the developers' door: `twin tiles bake`, `twin tiles prepare`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tiles.downloads.commands import prepare
from twin.access.permit import operator_permits, permit_of, same_key
from twin.access.principals import ANONYMOUS
from twin.catalogue.catalogue import Bounds, read_catalogue
from twin.cli import console, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database, speaking_of_database
from twin.db.tables import Sharing
from twin.errors import BadInput
from twin.private_files import private_folder
from twin.text import Text, current_language

if TYPE_CHECKING:
    from tiles.raster.image import Form, Style

BOX = "WEST,SOUTH,EAST,NORTH"
# Below, tiles hold nothing; beyond, a client enlarges the last.
ZOOMS = range(6, 17)


@click.group(help=say("Tiles in files.", "Ô bản đồ trong tệp."))
def tiles() -> None:
    """Group of tile commands."""


tiles.add_command(prepare)


@tiles.command(
    help=say(
        "Bake the tiles of layers into one PMTiles archive. The server offers the archives of its folder under "
        "/archives; a CDN or a phone can use them without a server.\n\n"
        "Examples:\n\n  twin tiles bake planning.wards transport.roads -o city.pmtiles\n\n"
        "  twin tiles bake construction.buildings --bbox 106.69,10.76,106.71,10.79 --zoom 13-16 -o centre.pmtiles\n\n"
        "  twin tiles bake environment.land_cover --image webp -o cover.pmtiles",
        "Tạo sẵn ô bản đồ của các lớp thành một kho PMTiles. Máy chủ cung cấp các kho trong thư mục của nó tại "
        "/archives; CDN hay điện thoại dùng được mà không cần máy chủ.\n\n"
        "Ví dụ:\n\n  twin tiles bake planning.wards transport.roads -o city.pmtiles\n\n"
        "  twin tiles bake construction.buildings --bbox 106.69,10.76,106.71,10.79 --zoom 13-16 -o centre.pmtiles\n\n"
        "  twin tiles bake environment.land_cover --image webp -o cover.pmtiles",
    )
)
@click.argument("layers", nargs=-1, required=True, metavar=say("LAYER…", "LỚP…"))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help=say("The archive; else city.pmtiles in the server's folder.", "Tệp kho; mặc định city.pmtiles của máy chủ."),
)  # fmt: skip
@click.option("--bbox", metavar=BOX, help=say("Area in degrees; else that of the layers.", "Vùng, tính bằng độ."))
@click.option(
    "--zoom",
    help=say(
        "From and to; else 6-16, or those that a raster has pixels for.",
        "Từ mức đến mức; mặc định 6-16, hoặc theo điểm ảnh của raster.",
    ),
)  # fmt: skip
@click.option(
    "--image", type=click.Choice(["png", "webp"]),
    help=say("Pictures of one raster, instead of vector tiles.", "Ảnh của một lớp raster, thay cho ô vector."),
)  # fmt: skip
@click.option(
    "--style", type=click.Choice(["default", "terrain-rgb"]), default="default", show_default=True,
    help=say("How a raster is drawn.", "Cách vẽ lớp raster."),
)  # fmt: skip
@click.option(
    "--not-open", is_flag=True,
    help=say("Also layers that are not open: a file asks nobody for a key.", "Cả lớp không mở: tệp không hỏi khóa."),
)  # fmt: skip
@as_json
def bake(
    layers: tuple[str, ...], output: Path | None, bbox: str | None, zoom: str | None, image: Form | None, style: Style,
    not_open: bool, as_json: bool,
) -> None:  # fmt: skip
    """Bake an archive."""
    from tiles.raster.image import RasterStyle
    from tiles.raster.routes import only_one
    from tiles.vector.archives import LAYERS, PERMIT
    from tiles.vector.bake import bake as bake_tiles
    from tiles.vector.bake import bake_pictures
    from tiles.vector.routes import describe

    settings = load_settings()
    zooms = _zooms(zoom) if zoom else None
    database = open_database(settings)
    with database.session() as session:
        catalogue = read_catalogue(session)
    chosen = operator_permits(catalogue, layers)
    # Heights must come out as they went in: PNG loses nothing.
    image = image or ("png" if style == "terrain-rgb" else None)
    one = only_one(chosen, style) if image else None
    closed = [c.layer.id for c in chosen if c.layer.sharing is not Sharing.OPEN]
    if closed and not not_open:
        raise BadInput(
            Text(
                en="Not open to everybody: {layers}. Whoever has the file can read them; if so, say --not-open.",
                vi="Không mở cho mọi người: {layers}. Ai có tệp đều đọc được; nếu đúng ý, hãy thêm --not-open.",
            ).format(layers=", ".join(closed))
        )
    if not not_open:
        # A file for everybody holds what everybody may read.
        chosen = tuple(permit_of(ANONYMOUS, catalogue, permit.name) for permit in chosen)
        one = only_one(chosen, style) if image else None
    described = describe(chosen, "", current_language())
    area = _area(bbox) or tuple(described.get("bounds", (-180.0, -85.0, 180.0, 85.0)))
    target = output or settings.archive_folder / "city.pmtiles"
    if output is None:
        private_folder(settings.archive_folder)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
    metadata = {k: described[k] for k in ("name", "description", "attribution")} | {
        LAYERS: [c.name for c in chosen],
        PERMIT: same_key(chosen),
    }
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with speaking_of_database(), Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task("", total=None)

        def progress(z: int, done: int, total: int) -> None:
            bar.update(task, description=f"{say('zoom', 'mức')} {z}", completed=done, total=total)

        if one and image:
            work = bake_pictures(
                settings.raster_folder, one, RasterStyle(style, image), metadata, area, zooms, target, progress
            )
        else:
            metadata["vector_layers"] = described["vector_layers"]
            work = bake_tiles(database, chosen, metadata, area, zooms or ZOOMS, target, progress)
        result = asyncio.run(work)
    if as_json:
        print_json({"archive": str(target), "tiles": result.tiles, "cut": result.cut, "bytes": result.size})
        return
    message = Text(
        en="{path}: {tiles:,} tiles, {size:,.1f} MB; {cut:,} of them do not show every feature.",
        vi="{path}: {tiles:,} ô, {size:,.1f} MB; {cut:,} ô không hiện đủ mọi đối tượng.",
    )
    if image:
        message = Text(en="{path}: {tiles:,} pictures, {size:,.1f} MB.", vi="{path}: {tiles:,} ảnh, {size:,.1f} MB.")
    click.echo(str(message.format(path=target, tiles=result.tiles, size=result.size / 1e6, cut=result.cut)))


def _zooms(text: str) -> range:
    first, _, last = text.partition("-")
    if first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) <= 22:
        return range(int(first), int(last or first) + 1)
    raise BadInput(
        Text(en="“{text}” are no zooms. Example: 6-16", vi="“{text}” không phải mức. Ví dụ: 6-16").format(
            text=text[:20]
        )
    )


def _area(text: str | None) -> Bounds | None:
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        west = south = east = north = float("nan")
    if not (-180 <= west < east <= 180 and -85.06 <= south < north <= 85.06):
        raise BadInput(
            Text(
                en="“{text}” is no area. Write {form} in degrees, as in 106.6,10.7,106.8,10.9",
                vi="“{text}” không phải vùng. Hãy ghi {form} theo độ, ví dụ 106.6,10.7,106.8,10.9",
            ).format(text=text[:60], form=BOX)
        )
    return west, south, east, north
