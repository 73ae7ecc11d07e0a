"""Prepares downloads: each file is made once, by one process, however many ask for it at the same time."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import asyncpg

from tiles.catalogue.citations import words
from tiles.downloads import formats as forms
from tiles.downloads.formats import DownloadFormat
from tiles.http.server import CityContext
from twin.access.permit import Permit
from twin.catalogue.catalogue import Layer, Version
from twin.catalogue.download_folder import DownloadFolder, Making, Prepared, is_being_made
from twin.errors import NoRoom, NotFound, Unavailable
from twin.text import Text

log = logging.getLogger("twin.catalogue.download_folder")

# Raised whenever the same version would be written in another way.
FORM_NUMBER = 1
# How often a waiting process looks whether another one has finished, in seconds.
LOOK = 0.1
CHUNK = 256 * 1024
# GDAL says of a full disk only that it could not write.
FULL_BYTES = 4 << 20
NO_ROOM = Text(
    en="The server has no room to prepare this file. Its operator has to free some, or lower TWIN_DOWNLOADS_MB. "
    "The features can be read page by page meanwhile, under /collections/{id}/items.",
    vi="Máy chủ không còn chỗ để chuẩn bị tệp này. Người vận hành cần giải phóng dung lượng hoặc giảm "
    "TWIN_DOWNLOADS_MB. Trong lúc đó vẫn đọc được từng trang tại /collections/{id}/items.",
)

NO_FOLDER = Text(
    en="Files cannot be prepared on this server now; its log says why. The features can be read page by page "
    "meanwhile, under /collections/{id}/items.",
    vi="Hiện máy chủ không chuẩn bị được tệp; nhật ký của máy chủ có nêu lý do. Trong lúc đó vẫn đọc được từng trang "
    "tại /collections/{id}/items.",
)
FULL = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Do work in a thread, and wait for its end even if nobody wants it any more: it holds a file."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


class Downloads:
    """The prepared downloads of a city, and those being prepared by this process."""

    def __init__(self, city: CityContext) -> None:
        self._city = city
        settings = city.settings
        # One folder may serve several databases, whose versions have the same names.
        name = quote(city.database.url.database or "city", safe="")
        self.folder = DownloadFolder(settings.download_folder.absolute() / name)
        self._budget = settings.downloads_mb * 1_000_000
        self._tasks: dict[tuple[str, str], asyncio.Task[Prepared]] = {}
        self._sweeps: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Remove what retired versions left, at each change of the catalogue; at the end stop what is being made."""
        self._city.on_change.append(self.tidy)
        try:
            yield
        finally:
            self._city.on_change.remove(self.tidy)
            tasks = [*self._tasks.values(), *self._sweeps]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=5)

    def key(self, permit: Permit) -> str:
        """Return the name of a version's files: another one if anything that is written into them is another."""
        name = self._name(permit.layer, permit.version)
        return f"{name}-{permit.key}" if permit.key else name

    def _name(self, layer: Layer, version: Version) -> str:
        """Return the name of the files that hold nothing back; those that do have the permit's key behind it."""
        parts = [
            FORM_NUMBER,
            version.key,
            version.published.isoformat(),
            words(layer, version, self._city.settings.profile),
        ]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{version.table}-{digest[:16]}"

    def find(self, chosen: Permit, form: DownloadFormat) -> Prepared | None:
        """Return the file, if it is there."""
        return self.folder.find(self.key(chosen), form.suffix)

    def known(self, permit: Permit) -> Mapping[str, Prepared]:
        """Return the files of a version that are there, by suffix, without using them."""
        key, names = self.key(permit), self.folder.names()
        return {suffix: names[key, suffix] for suffix in forms.FORMS if (key, suffix) in names}

    def prepare(self, chosen: Permit, form: DownloadFormat) -> asyncio.Task[Prepared]:
        """Make the file, or take part in its making. It goes on if the client goes away: the next one has it."""
        name = (self.key(chosen), form.suffix)
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(self._prepare(chosen, form, name[0]))

            def done(_: asyncio.Task[Prepared]) -> None:
                self._tasks.pop(name, None)
                # Whoever waits hears of a failure; with nobody there it is not asyncio's to complain.
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.info("%s.%s was not prepared: %s", *name, error)

            task.add_done_callback(done)
        return self._tasks[name]

    async def _prepare(self, chosen: Permit, form: DownloadFormat, key: str) -> Prepared:
        async with asyncio.timeout(self._city.settings.stream_seconds):
            try:
                making = await self._begin(chosen, form, key)
                try:
                    # Another process may have finished it between the look and the lock.
                    prepared = self.folder.find(key, form.suffix) or await self._make(chosen, form, making)
                finally:
                    await _in_thread(making.close)
            except OSError as error:
                if error.errno in FULL:
                    log.warning("the disk is full: %s.%s cannot be prepared", key, form.suffix)
                    raise NoRoom(NO_ROOM.format(id=chosen.layer.id)) from None
                raise
            except asyncpg.UndefinedTableError:
                raise NotFound(
                    Text(
                        en="Version {number} of “{id}” was retired a moment ago.",
                        vi="Phiên bản {number} của “{id}” vừa được gỡ bỏ.",
                    ).format(id=chosen.layer.id, number=chosen.version.number)
                ) from None
        self.tidy(keep=prepared)
        return prepared

    async def _begin(self, chosen: Permit, form: DownloadFormat, key: str) -> Making:
        """Wait for the right to make a file."""
        try:
            while (making := await _in_thread(self.folder.begin, key, form.suffix)) is None:
                await asyncio.sleep(LOOK)
        except OSError as error:
            if error.errno in FULL:
                raise
            log.warning("downloads cannot be prepared in %s: %s", self.folder.root, error.strerror)
            raise Unavailable(NO_FOLDER.format(id=chosen.layer.id)) from None
        return making

    async def _make(self, chosen: Permit, form: DownloadFormat, making: Making) -> Prepared:
        metadata = words(chosen.layer, chosen.version, self._city.settings.profile)
        if form.grows:
            async with aclosing(forms.chunks(self._city, chosen, form, metadata)) as chunks:
                async for chunk in chunks:
                    await _in_thread(making.write, chunk)
            return await _in_thread(making.finish)
        workspace = await _in_thread(making.workspace)
        try:
            path = await forms.write(self._city, chosen, form, metadata, workspace)
        except Exception as error:
            if shutil.disk_usage(self.folder.root).free < FULL_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
        return await _in_thread(making.finish, path)

    async def follow(self, handle: int, task: asyncio.Task[Prepared]) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file while it grows, whichever process makes it; an error if it is never finished."""
        try:
            while True:
                # Looked at in this order: what is finished before a look at its end has its end there.
                grows = is_being_made(handle) and not task.done()
                chunk = await asyncio.to_thread(os.read, handle, CHUNK)
                if chunk:
                    yield chunk
                elif not grows:
                    break
                else:
                    await asyncio.sleep(LOOK / 2)
            prepared = await asyncio.shield(task)
            if os.fstat(handle).st_ino != prepared.path.stat().st_ino:
                raise ConnectionError("the file was begun anew")
        finally:
            os.close(handle)

    def tidy(self, keep: Prepared | None = None) -> None:
        """Remove, in a thread, what nobody can ask for and what is over the budget."""
        task = asyncio.create_task(self._tidy(keep))
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)

    async def _tidy(self, keep: Prepared | None) -> None:
        layers = self._city.layers.values()
        versions = {version.table: (layer, version) for layer in layers for version in layer.versions.values()}

        def is_wanted(key: str) -> bool:
            table, digest, *_ = key.split("-")
            found = versions.get(table)
            return found is not None and self._name(*found) == f"{table}-{digest}"

        try:
            removed = await _in_thread(self.folder.sweep, is_wanted, self._budget, keep.path if keep else None)
        except OSError as error:
            log.warning("prepared downloads cannot be removed from %s: %s", self.folder.root, error.strerror)
            return
        if removed:
            log.info("%d prepared downloads were removed", len(removed))
