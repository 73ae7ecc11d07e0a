"""The map page and what it loads: HTML, modules, styles, texts, the deck.gl bundle and the deck's JSON."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from twin.text import LANGUAGES, Language, language_of_header
from viewer import deck
from viewer.bundle import deck_bundle

Collections = Callable[[Request, Language], Awaitable[list[dict[str, Any]]]]
City = Callable[[Request], Mapping[str, Any]]

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; font-src 'self'; worker-src 'self' blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FOREVER = "public, max-age=31536000, immutable"
DECK_SCRIPT = "deck.js"


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file, as it is and compressed."""

    content: bytes
    gzipped: bytes
    media_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file under static/ and i18n/ by its path, and the deck.gl bundle; read once."""
    bundle = deck_bundle()
    found = {DECK_SCRIPT: Asset(bundle.script, bundle.gzipped, MEDIA_TYPES["js"])}
    _read(files("viewer") / "static", "", found)
    _read(files("viewer") / "i18n", "i18n/", found)
    return found


def _read(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for file in folder.iterdir():
        if file.is_dir():
            _read(file, f"{prefix}{file.name}/", found)
        elif media_type := MEDIA_TYPES.get(file.name.rpartition(".")[2]):
            content = file.read_bytes()
            found[prefix + file.name] = Asset(content, gzip.compress(content, mtime=0), media_type)


@cache
def version() -> str:
    """Return a name for exactly these files, so that a browser may keep them for ever."""
    digest = hashlib.sha256()
    for path, asset in sorted(assets().items()):
        digest.update(path.encode() + b"\0" + asset.content)
    return digest.hexdigest()[:16]


def language_of(request: Request) -> Language:
    """Return the reader's language: `?lang=`, else what the browser prefers, else the city's first."""
    wanted = request.query_params.get("lang")
    for language in LANGUAGES:
        if wanted == language:
            return language
    return language_of_header(request.headers.get("accept-language")) or "vi"


def make_page(city: City) -> Callable[[Request], Awaitable[Response]]:
    """Return the map page of one city, which tiles/ogc/documents.py shows at / to browsers."""

    async def page(request: Request) -> Response:
        language = language_of(request)
        headers = SECURITY_HEADERS | {
            "Cache-Control": "no-cache",
            "Content-Language": language,
            "Vary": "Accept, Accept-Language",
        }
        return Response(render(city(request), language), headers=headers, media_type=MEDIA_TYPES["html"])

    return page


def make_router(collections: Collections, city: City) -> APIRouter:
    """Return the viewer's routes for one city; `collections` tells what this reader may see."""
    router = APIRouter(include_in_schema=False)

    @router.get("/deck.json")
    async def deck_json(request: Request) -> Response:
        language = language_of(request)
        seen = await collections(request, language)
        return Response(
            deck.build(city(request), seen),
            headers=SECURITY_HEADERS | {"Cache-Control": "no-cache", "Vary": "Accept-Language"},
            media_type=MEDIA_TYPES["json"],
        )

    router.add_api_route("/assets/{asset_version}/{path:path}", static, methods=["GET"])
    return router


def render(city: Mapping[str, Any], language: Language) -> str:
    """Fill the page's few places; its scripts fetch everything else."""
    facts = {"city": dict(city), "language": language, "assets": f"/assets/{version()}/"}
    template = Template(assets()["index.html"].content.decode())
    texts = json.loads(assets()[f"i18n/{language}.json"].content)
    return template.substitute(
        language=language,
        title=html.escape(city["title"][language]),
        loading=html.escape(texts["loading"]),
        skip=html.escape(texts["skip_to_map"]),
        no_script=html.escape(texts["no_script"]),
        assets=facts["assets"],
        # "<" is written as an escape so that no text of the city can end the script element.
        facts=json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c"),
    )


async def static(request: Request, asset_version: str, path: str) -> Response:
    """One file; a page of an older version gets today's file, but may not keep it."""
    asset = assets().get(path)
    if asset is None or path == "index.html":
        raise HTTPException(404)
    headers = SECURITY_HEADERS | {
        "Cache-Control": FOREVER if asset_version == version() else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.gzipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
