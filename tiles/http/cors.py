"""Pages of other sites may read what is served: keys travel in headers and there are no cookies, so none is at risk."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
# What a page may read of an answer beside its body.
EXPOSED = (
    "Accept-Ranges", "Content-Crs", "Content-Disposition", "Content-Range", "ETag", "Link", "Location", "Retry-After",
    "Tus-Extension", "Tus-Max-Size", "Tus-Resumable", "Tus-Version", "Upload-Expires", "Upload-Length",
    "Upload-Offset", "X-Request-Id", "X-Tile-Cut",
)  # fmt: skip
DAY = 86_400


class CorsMiddleware(CORSMiddleware):
    """Starlette's, which also tells those who do not say where they come from.

    A cache in between keeps one answer for all: were it kept from a reader without `Origin`, the page that comes next
    could not read it.
    """

    # Known before any answer: set by hand, since a search through all headers costs as much as a tile from memory.
    open_to_all = (
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", ", ".join(EXPOSED).encode()),
    )

    def __init__(self, app: ASGIApp, origins: str) -> None:
        allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
        super().__init__(
            app, allow_origins=allowed, allow_methods=METHODS, allow_headers=["*"], expose_headers=EXPOSED, max_age=DAY
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http" or not self.allow_all_origins or scope["method"] == "OPTIONS":
            await super().__call__(scope, receive, send)
            return

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.open_to_all]
            await send(message)

        await self.app(scope, receive, send_open)
