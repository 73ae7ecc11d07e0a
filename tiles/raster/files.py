"""The files of raster versions while they are read: opened once, kept open for a while, read in threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pyproj import CRS

from twin.access.permit import Permit
from twin.catalogue.raster_files import RasterFolder
from twin.crs import transform, with_shift
from twin.errors import Unavailable
from twin.text import Text

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

log = logging.getLogger("twin.catalogue.raster_files")
T = TypeVar("T")

# More would not read faster, and each may hold a few megabytes of pixels.
THREADS = 4
MOST_OPEN = 32
# Nothing beside the file is looked for, nothing is fetched from elsewhere; the cache of pixels is the process's.
SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,
    "GDAL_NUM_THREADS": "1",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "PROJ_NETWORK": "OFF",
}
BUSY = Text(
    en="Too many rasters are being read. Try again in a few seconds.",
    vi="Đang có quá nhiều yêu cầu đọc ảnh raster. Hãy thử lại sau vài giây.",
)
MISSING = Text(
    en="The raster file of “{layer}”, version {version}, is missing on this server. Its operator can put it back into "
    "the raster folder (TWIN_RASTERS) or publish the raster again. The layer's cells are still served.",
    vi="Máy chủ này thiếu tệp raster của lớp “{layer}”, phiên bản {version}. Người vận hành có thể khôi phục tệp vào "
    "thư mục raster (TWIN_RASTERS) hoặc công bố lại ảnh. Các ô của lớp vẫn dùng được.",
)
DAMAGED = Text(
    en="The raster file of “{layer}”, version {version}, cannot be read. Its operator can restore it in the raster "
    "folder (TWIN_RASTERS) or publish the raster again. The layer's cells are still served.",
    vi="Không đọc được tệp raster của lớp “{layer}”, phiên bản {version}. Người vận hành có thể khôi phục tệp trong "
    "thư mục raster (TWIN_RASTERS) hoặc công bố lại ảnh. Các ô của lớp vẫn dùng được.",
)


@dataclass(frozen=True, slots=True, eq=False)
class OpenRaster:
    """An open file, used by one thread at a time.

    `shifted` is its system with the datum shift in it, where GDAL would take another; `pixel` is the size of its
    pixels in metres of EPSG:3857.
    """

    data: DatasetReader
    crs: CRS
    shifted: str | None
    pixel: float
    overviews: dict[int, DatasetReader] = field(default_factory=dict)

    def at(self, pixel: float, band: int) -> DatasetReader:
        """Return the file, or the one of its overviews with the largest pixels that are not larger than `pixel`."""
        import rasterio

        # Pixels that are hardly larger are good enough, and a quarter as many.
        fine = [i for i, times in enumerate(self.data.overviews(band)) if self.pixel * times <= pixel * 1.05]
        if not fine:
            return self.data
        level = fine[-1]
        if level not in self.overviews:
            self.overviews[level] = rasterio.open(self.data.name, driver="GTiff", OVERVIEW_LEVEL=level)
        return self.overviews[level]

    def close(self) -> None:
        """Close the file and its overviews."""
        for data in (self.data, *self.overviews.values()):
            data.close()


class RasterFiles:
    """Reads registered rasters and nothing else: a file's name comes from the catalogue and from nowhere else."""

    def __init__(self, folder: RasterFolder, wait: float) -> None:
        self.folder = folder
        self.wait = wait
        self._idle: OrderedDict[int, list[OpenRaster]] = OrderedDict()
        self._known: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._free = asyncio.Semaphore(THREADS)

    def __len__(self) -> int:
        """Return how many files are open and not in use."""
        with self._lock:
            return sum(map(len, self._idle.values()))

    async def run(self, chosen: Permit, work: Callable[[OpenRaster], T]) -> T:
        """Do some work on a version's file, in a thread; waits a bounded time for a free one."""
        try:
            await asyncio.wait_for(self._free.acquire(), self.wait)
        except TimeoutError:
            raise Unavailable(BUSY) from None
        try:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, "raster", _prepare)
            done = asyncio.get_running_loop().run_in_executor(self._threads, self._work, chosen, work)
        except BaseException:
            self._free.release()
            raise
        # Who gives up waiting does not stop the thread, which is only free when it is done.
        done.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(done)

    def _work(self, chosen: Permit, work: Callable[[OpenRaster], T]) -> T:
        from rasterio._err import CPLE_BaseError
        from rasterio.errors import RasterioError

        opened: OpenRaster | None = None
        # GDAL's errors come as one of these; as the last one, when it does not say what is wrong.
        try:
            opened = self._take(chosen) or self._open(chosen)
            done = work(opened)
        except (RasterioError, CPLE_BaseError, OSError, SystemError) as error:
            if opened is not None:
                opened.close()
            log.warning("raster of %s: %s", chosen.name, error)
            missing = not self._path(chosen).is_file()
            raise Unavailable(
                (MISSING if missing else DAMAGED).format(layer=chosen.layer.id, version=chosen.version.number)
            ) from None
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        self._give_back(chosen.version.key, opened)
        return done

    def _path(self, chosen: Permit) -> Any:
        assert chosen.version.raster is not None  # noqa: S101  # `only_rasters` saw to it
        return self.folder.path(chosen.version.raster["path"])

    def _open(self, chosen: Permit) -> OpenRaster:
        import rasterio

        # Named, so that no other of GDAL's formats, some of which follow addresses, can be meant.
        data = rasterio.open(self._path(chosen), driver="GTiff")
        try:
            crs = CRS.from_wkt(data.crs.to_wkt())
            pixel = _pixel_size(data, crs)
        except BaseException:
            data.close()
            raise
        return OpenRaster(data, crs, with_shift(crs), pixel)

    def _take(self, chosen: Permit) -> OpenRaster | None:
        with self._lock:
            waiting = self._idle.pop(chosen.version.key, [])
            opened = waiting.pop() if waiting else None
            if waiting:
                self._idle[chosen.version.key] = waiting
            return opened

    def _give_back(self, key: int, opened: OpenRaster) -> None:
        with self._lock:
            if key not in self._known:
                closing = [opened]
            else:
                self._idle.setdefault(key, []).append(opened)
                self._idle.move_to_end(key)
                closing = []
                if sum(map(len, self._idle.values())) > MOST_OPEN:
                    oldest = next(iter(self._idle))
                    closing.append(self._idle[oldest].pop(0))
                    if not self._idle[oldest]:
                        del self._idle[oldest]
        for old in closing:
            old.close()

    def keep(self, versions: Iterable[int]) -> None:
        """Close the files of all other versions: nobody can ask for them any more."""
        with self._lock:
            self._known = frozenset(versions)
            gone = [opened for key in set(self._idle) - self._known for opened in self._idle.pop(key)]
        for opened in gone:
            opened.close()

    def close(self) -> None:
        """Close everything, when the server stops."""
        self.keep(())
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None


def _pixel_size(data: DatasetReader, crs: CRS) -> float:
    """Return how wide the pixel in the middle is, in metres of EPSG:3857."""
    column, row = data.width / 2, data.height / 2
    corners = np.array([data.transform * (column + dx, row + dy) for dx, dy in ((0, 0), (1, 0), (0, 1))])
    place, right, down = transform(corners, crs, 3857)
    return float(min(np.hypot(*(right - place)), np.hypot(*(down - place))))


def _prepare() -> None:
    """Set what GDAL may do, for as long as the thread lives."""
    import rasterio

    rasterio.Env(**SETTINGS).__enter__()
