"""Who follows the city at this moment: counted, bounded, woken at each change, and sent away when the server stops."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

from prometheus_client import Gauge

from tiles.http.server import CityContext
from tiles.incidents.live_incidents import LiveIncidents
from tiles.live.visible import VisibleLayers
from tiles.streams.live_state import LiveState
from twin.access.principals import Principal
from twin.errors import TooMany, Unavailable
from twin.text import Text

OPEN = Gauge("twin_live_streams", "Readers that follow /live at this moment.", multiprocess_mode="livesum")

FULL = Text(
    en="Too many readers follow this server live. Try again in a minute, or ask with once=true now and then.",
    vi="Máy chủ đang có quá nhiều người theo dõi trực tiếp. Hãy thử lại sau một phút, hoặc thỉnh thoảng hỏi với "
    "once=true.",
)
ENOUGH = Text(
    en="{limit:,} live streams are open for this key or address already. Close one of them first.",
    vi="Khóa hoặc địa chỉ này đã mở {limit:,} luồng trực tiếp. Hãy đóng bớt một luồng trước.",
)
STOPPING = Text(
    en="The server is being stopped. Try again in a few seconds.",
    vi="Máy chủ đang dừng. Hãy thử lại sau vài giây.",
)


class Followers:
    """The open streams of one server process. Each has an event of its own, so that it looks once for many changes."""

    def __init__(self, city: CityContext, live: LiveState, incidents: LiveIncidents) -> None:
        self.city = city
        self.live = live
        self.incidents = incidents
        self.views = VisibleLayers(city)
        self.heartbeat = city.settings.live_heartbeat
        self.stopping = False
        # The open streams' events, each with the question whether its reader may see anything new.
        self._woken: dict[asyncio.Event, Callable[[], bool]] = {}
        self._each: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._woken)

    @contextmanager
    def place(self, who: str, has_news: Callable[[], bool]) -> Iterator[asyncio.Event]:
        """Take one of the places as long as a stream is open; its event is set whenever there is news for it."""
        settings = self.city.settings
        if self.stopping:
            raise Unavailable(STOPPING)
        if self.open >= settings.live_streams:
            raise Unavailable(FULL)
        if self._each[who] >= settings.live_streams_each:
            raise TooMany(ENOUGH.format(limit=settings.live_streams_each))
        woken = asyncio.Event()
        self._woken[woken] = has_news
        self._each[who] += 1
        OPEN.inc()
        try:
            yield woken
        finally:
            OPEN.dec()
            del self._woken[woken]
            self._each[who] -= 1
            if not self._each[who]:
                del self._each[who]

    def may_stay(self, reader: Principal) -> bool:
        """Tell whether the reader's key is still good, and still the same reader's."""
        if self.stopping:
            return False
        if reader.key is None:
            return True
        key = self.city.keys.get(reader.key)
        return key is not None and key.principal == reader

    def wake(self) -> None:
        """Wake the streams whose readers may see something new; the others must not notice that anything happened."""
        for woken, has_news in self._woken.items():
            if has_news():
                woken.set()

    def stop(self) -> None:
        """End all streams, and begin no more."""
        self.stopping = True
        self.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the catalogue and the keys while the server runs."""
        callbacks = (self.city.on_change, self.city.on_keys, self.live.on_change, self.incidents.on_change)
        for callback in callbacks:
            callback.append(self.wake)
        try:
            with _on_stop_signal(self.stop):
                yield
        finally:
            for callback in callbacks:
                callback.remove(self.wake)
            self.stop()


@contextmanager
def _on_stop_signal(callback: Callable[[], None]) -> Iterator[None]:
    """Call back at the signal itself: a server stops the application only when all answers have ended."""
    loop = asyncio.get_running_loop()
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        before[number](number, frame)

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    for number in numbers:
        # Where the signal ends the process at once nothing can be called.
        if callable(first := signal.getsignal(number)):
            before[number] = first
            signal.signal(number, stop)
    try:
        yield
    finally:
        for changed, first in before.items():
            signal.signal(changed, first)
