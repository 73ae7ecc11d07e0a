"""Who sees which raster; files that are missing, damaged, or open too long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import mercantile
import pytest

from tests.conftest import run_async, text_of
from tests.rasters.conftest import (
    BROKEN,
    CHANGING,
    COVER,
    GROUND,
    MIDDLE,
    SECRET,
    Served,
    address,
    flooded,
    picture,
)
from tests.test_raster_publish import publish, settings_of, write
from tiles.raster.files import MOST_OPEN, RasterFiles
from twin.access.permit import whole_permit
from twin.catalogue.catalogue import read_catalogue
from twin.errors import Unavailable

CHANNELS = ("/tiles/{}/12/3261/1925.png", "/tiles/{}@1/12/3261/1925@2x.webp", "/tiles/{}/raster.json",
            "/collections/{}/map/tiles/WebMercatorQuad/12/1925/3261", "/collections/{}/map/tiles",
            "/collections/{}/map/tiles/WebMercatorQuad", "/collections/{}/map/legend",
            "/collections/{}/position?coords=POINT(106.66 10.767)")  # fmt: skip


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_hidden_raster_answers_exactly_like_a_missing_one(served: Served, channel: str) -> None:
    missing = served.client.get(channel.format("environment.sekret"))
    for query in ("", "f=gif", "style=gold", "nonsense=1", "version=7"):
        path = channel + ("" if not query else ("&" if "?" in channel else "?") + query)
        hidden, missing = (served.client.get(path.format(name)) for name in (SECRET, "environment.sekret"))
        assert (hidden.status_code, text_of(hidden).replace("secret", "sekret")) == (
            missing.status_code,
            text_of(missing),
        )
        assert hidden.status_code in (400, 404)
    own = served.client.get(channel.format(SECRET), headers={"X-API-Key": served.key})
    assert own.status_code == 200 and own.headers["cache-control"].startswith("private")
    # What its own agency has seen is in memory now, and still nobody else's.
    assert served.client.get(channel.format(SECRET)).status_code == 404


@pytest.mark.parametrize(
    ("number", "kept", "words"),
    [(1, 0.0, "missing"), (2, 0.02, "cannot be read"), (3, 2e-4, "cannot be read"), (4, 0.6, "cannot be read")],
)
def test_a_missing_or_damaged_file_is_told_and_served_again_when_it_is_restored(
    served: Served, number: int, kept: float, words: str
) -> None:
    with served.database.session() as session:
        version = read_catalogue(session)[BROKEN].versions[number]
        assert version.raster is not None
    path = served.folder / version.raster["path"]
    body = path.read_bytes()
    paths = (
        f"/tiles/{BROKEN}@{number}/raster.json", address(f"{BROKEN}@{number}", mercantile.tile(*MIDDLE, 16)),
        f"/collections/{BROKEN}/position?coords=POINT(106.66 10.767)&version={number}",
    )  # fmt: skip
    path.unlink()
    if kept:
        path.write_bytes(body[: int(len(body) * kept)])
    # A file whose end is missing still says how large it is.
    for ask in paths if kept < 0.5 else paths[1:]:
        answer = served.client.get(ask, headers={"Accept-Language": "en"})
        assert answer.status_code == 503 and words in answer.json()["detail"], (ask, answer.text)
        assert "TWIN_RASTERS" in answer.json()["detail"] and path.name not in answer.text
        assert answer.headers["cache-control"] == "no-store"
    path.unlink(missing_ok=True)
    path.write_bytes(body)
    assert all(served.client.get(ask).status_code == 200 for ask in paths)


def test_a_file_that_points_to_another_one_is_not_followed(served: Served, tmp_path: Path) -> None:
    """GDAL's virtual formats name files and addresses; put in a raster's place, one is no raster."""
    with served.database.session() as session:
        version = read_catalogue(session)[SECRET].current
        assert version is not None and version.raster is not None
    files = RasterFiles(settings_of(served.database, served.folder).raster_folder, 5)
    there = served.folder / "other.tif"
    secret = served.folder / version.raster["path"]
    there.write_text(
        f'<VRTDataset rasterXSize="120" rasterYSize="90"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    with served.database.session() as session:
        layer = read_catalogue(session)[COVER]
    other = replace(layer.current, raster=dict(layer.current.raster) | {"path": there.name})  # type: ignore[arg-type,type-var,union-attr]
    for path in ("../x.tif", "/etc/passwd", "/vsicurl/http://localhost/x.tif", "x.vrt"):
        bad = replace(other, raster=dict(other.raster) | {"path": path})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not the name"):
            run_async(files.run(whole_permit(layer, bad), lambda opened: opened.data.width))
    with pytest.raises(Unavailable, match="cannot be read"):
        run_async(files.run(whole_permit(layer, other), lambda opened: opened.data.width))
    files.close()
    there.unlink()


def test_a_new_version_shows_at_once_and_its_old_tiles_leave_memory(served: Served, tmp_path: Path) -> None:
    tile = mercantile.tile(*MIDDLE, 15)
    before, dropped = served.client.get(address(CHANGING, tile)), served.metric("twin_tile_cache_asked", "dropped")
    publish(served.database, served.folder, write(tmp_path / "new.tif", flooded() + 2), CHANGING)
    deadline = time.monotonic() + 10
    while served.client.get(address(CHANGING, tile)).headers["etag"] == before.headers["etag"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert served.metric("twin_tile_cache_asked", "dropped") > dropped
    assert (picture(served.client.get(address(CHANGING, tile)))[..., 3] == 255).any()


def test_open_files_are_few_and_closed_when_nobody_can_ask_for_them(served: Served) -> None:
    with served.database.session() as session:
        layers = read_catalogue(session)
    chosen = [whole_permit(layers[name], layers[name].current) for name in (COVER, GROUND)]  # type: ignore[arg-type]
    files = RasterFiles(settings_of(served.database, served.folder).raster_folder, 5)
    files.keep(c.version.key for c in chosen)
    most = 0

    async def play() -> None:
        nonlocal most

        def work(opened: object) -> str:
            time.sleep(0.005)
            return opened.data.name  # type: ignore[attr-defined]

        names = await asyncio.gather(*(files.run(chosen[i % 2], work) for i in range(60)))
        assert {Path(n).name for n in names} == {c.version.raster["path"] for c in chosen}  # type: ignore[index]
        most = len(files)
        kept = [o for some in files._idle.values() for o in some]
        files.keep([chosen[0].version.key])
        assert 0 < len(files) < most
        assert sum(o.data.closed for o in kept) == most - len(files)
        # One that leaves the catalogue while it is read is closed afterwards.
        await files.run(chosen[1], work)
        assert all(key == chosen[0].version.key for key in files._idle)
        files.close()

    run_async(play())
    assert most <= MOST_OPEN and len(files) == 0


def test_who_finds_all_readers_busy_is_told_after_a_while(served: Served) -> None:
    with served.database.session() as session:
        layer = read_catalogue(session)[COVER]
    one = whole_permit(layer, layer.current)  # type: ignore[arg-type]
    files = RasterFiles(settings_of(served.database, served.folder).raster_folder, 0.1)

    async def play() -> None:
        slow = [asyncio.create_task(files.run(one, lambda _: time.sleep(0.6))) for _ in range(4)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="Try again"):
            await files.run(one, lambda _: None)
        assert time.monotonic() - began < 0.5
        await asyncio.gather(*slow)
        assert await files.run(one, lambda _: 7) == 7
        files.close()

    run_async(play())
