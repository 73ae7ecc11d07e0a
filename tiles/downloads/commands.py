"""The command that prepares downloads before anybody asks for them: `twin tiles prepare`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from twin.access.permit import operator_permits
from twin.cli import console, print_json, say
from twin.commands import as_json
from twin.config import load_settings
from twin.db.database import open_database, speaking_of_database
from twin.text import Text

# As tiles/downloads/formats.py has them, which takes long to import.
FORMS = ("geojson", "gpkg", "fgb", "parquet", "csv")
MADE = Text(en="{layer}.{form}: {size:,.1f} MB", vi="{layer}.{form}: {size:,.1f} MB")


@click.command(
    help=say(
        "Prepare the downloads of layers, so that the first to ask does not wait. The server sends them from then on; "
        "it removes them when their version is retired.\n\n"
        "Example:\n\n  twin tiles prepare construction.buildings planning.wards@3 --form gpkg --form parquet",
        "Chuẩn bị sẵn tệp tải về của các lớp để người tải đầu tiên không phải chờ. Máy chủ sẽ gửi các tệp này và xóa "
        "khi phiên bản của chúng bị gỡ.\n\n"
        "Ví dụ:\n\n  twin tiles prepare construction.buildings planning.wards@3 --form gpkg --form parquet",
    )
)
@click.argument("layers", nargs=-1, required=True, metavar=say("LAYER…", "LỚP…"))
@click.option(
    "--form", "forms", multiple=True, type=click.Choice(FORMS),
    help=say("A format, may be repeated; else all of them.", "Một định dạng, có thể lặp lại; mặc định tất cả."),
)  # fmt: skip
@as_json
def prepare(layers: tuple[str, ...], forms: tuple[str, ...], as_json: bool) -> None:
    """Prepare downloads."""
    with speaking_of_database(), console().status(""):
        made = asyncio.run(_prepare(layers, forms or FORMS))
    if as_json:
        print_json({"files": made})
        return
    for file in made:
        click.echo(str(MADE.format(layer=file["layer"], form=file["form"], size=int(str(file["bytes"])) / 1e6)))


async def _prepare(names: Sequence[str], forms: Sequence[str]) -> list[dict[str, object]]:
    from tiles.downloads import formats as known
    from tiles.downloads.prepare import Downloads
    from tiles.http.server import CityContext

    settings = load_settings()
    city = CityContext(settings, open_database(settings))
    made: list[dict[str, object]] = []
    async with city.running():
        await city.refresh()
        downloads = Downloads(city)
        for chosen in operator_permits(city.layers, names):
            for form in forms:
                file = await downloads.prepare(chosen, known.FORMS[form])
                made.append(
                    {
                        "layer": chosen.name, "form": form, "bytes": file.size, "sha256": file.sha256,
                        "file": str(file.path),
                    }
                )  # fmt: skip
    return made
