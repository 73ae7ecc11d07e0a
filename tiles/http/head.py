"""HEAD for every address that answers GET: the same headers, no body."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The key of a request's scope that says that only the headers are wanted.
HEADERS_ONLY = "twin.head"


@dataclass(frozen=True, slots=True)
class HeadMiddleware:
    """Asks the application with GET and leaves the body out."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        await self.app({**scope, "method": "GET", HEADERS_ONLY: True}, receive, send_without_body)
