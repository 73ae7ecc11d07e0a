"""Requests for every route of the application, made from the routes themselves, and the application in this process."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from tests.conftest import HOME
from tiles.app import create_app
from tiles.middleware import with_middleware
from twin.config import Settings
from twin.db.database import Database
from viewer.app import opening, visible_layers
from viewer.pages import make_router

PLACE = (106.7005, 10.77)
CELL = "8b65b56604dcfff"
NOBODY_S = str(UUID(int=7))

# The streams that the walk's city has, by the end of their layer's name, in the order in which they are declared.
STREAMS = {"opened": "1", "shared": "2", "closed": "3"}

# What each parameter of a path is filled with, by its name. A route with another name fails the walk, with a sentence.
FILLED: Mapping[str, Callable[[str], str]] = {
    "layer": lambda layer: layer,
    "layers": lambda layer: layer,
    "name": lambda layer: layer.replace(".", "_"),
    "z": lambda _: "15", "x": lambda _: "26096", "y": lambda _: "15397",
    "grid": lambda _: "WebMercatorQuad", "matrix": lambda _: "15", "row": lambda _: "15397", "column": lambda _: "26096",
    "cell": lambda _: CELL,
    "feature": lambda _: "7",
    "form": lambda _: "csv",
    "ending": lambda _: "mvt",
    "stream": lambda layer: STREAMS.get(layer.rpartition("_")[2], "9"),
    "entity_path": lambda layer: f"Datastreams({STREAMS.get(layer.rpartition('_')[2], '9')})",
    "upload": lambda _: NOBODY_S, "job": lambda _: NOBODY_S,
    "rule": lambda _: "7", "incident": lambda _: "7",
    "asset_version": lambda _: "1", "path": lambda _: "main.css",
}  # fmt: skip
# Those of them that make an address one of a layer.
OF_A_LAYER = frozenset({"layer", "layers", "name", "stream", "entity_path"})
# What parameters of a query are given that a route cannot do without, or would never end without.
REQUESTED = {"lng": str(PLACE[0]), "lat": str(PLACE[1]), "coords": f"POINT({PLACE[0]} {PLACE[1]})", "once": "true"}


@dataclass(frozen=True)
class PlannedRequest:
    """One request, ready to be sent; `layered` tells that its address or its body names the layer."""

    method: str
    path: str
    route: str
    layered: bool
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {dict(self.query)}"


def _metadata(layer: str) -> str:
    values = {"layer": layer, "filename": "lamps.geojson"}
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


# By kind: which layers a rule may name is tested with the rules.
RULE = {
    "name": "walked", "severity": "warning", "title": {"en": "High", "vi": "Cao"}, "streams": {"kinds": ["pm2_5"]},
    "when": {"type": "threshold", "raise_at": 1},
}  # fmt: skip


# What is sent to the addresses that take something.
SENT: Mapping[tuple[str, str], Callable[[str], dict[str, Any]]] = {
    ("OPTIONS", "/uploads"): lambda _: {},
    ("POST", "/uploads"): lambda layer: {
        "headers": {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": _metadata(layer)}
    },
    ("HEAD", "/uploads/{upload}"): lambda _: {"headers": {"Tus-Resumable": "1.0.0"}},
    ("PATCH", "/uploads/{upload}"): lambda _: {
        "headers": {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    },
    ("DELETE", "/uploads/{upload}"): lambda _: {"headers": {"Tus-Resumable": "1.0.0"}},
    ("POST", "/jobs"): lambda layer: {"json": {"upload": NOBODY_S, "layer": layer}},
    ("DELETE", "/jobs/{job}"): lambda _: {},
    ("POST", "/alert-rules"): lambda _: {"json": RULE},
    ("PUT", "/alert-rules/{rule}"): lambda _: {"json": RULE},
    ("DELETE", "/alert-rules/{rule}"): lambda _: {},
    ("POST", "/incidents/{incident}/acknowledge"): lambda _: {"json": {"note": ""}},
    ("POST", "/incidents/{incident}/close"): lambda _: {"json": {"note": ""}},
    ("POST", "/sta/v1.1/CreateObservations"): lambda _: {
        "json": [{"Datastream": {"@iot.id": 1}, "components": ["result"], "dataArray": [[1]]}]
    },
    # A set, which names no layer: one thing of the agency's own is made, and sets are not changed.
    **{
        (method, "/sta/v1.1/{entity_path:path}"): lambda _: {
            "path": "/sta/v1.1/Things", "json": {"name": "A lamp", "description": "It shines."}
        }
        for method in ("POST", "PATCH", "PUT", "DELETE")
    },
}  # fmt: skip
NAMES_A_LAYER = frozenset({("POST", "/uploads"), ("POST", "/jobs")})


def routes_of(routes: Any) -> Iterator[APIRoute]:
    """All routes of an application, those of its routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner.routes)
        elif isinstance(route, APIRoute):
            yield route
        else:
            raise AssertionError(f"{route!r} is of a kind that the walk over the routes does not know")


def requests_for(app: FastAPI, layer: str) -> Iterator[PlannedRequest]:
    """Every route with every format that it offers, about one layer."""
    for route in routes_of(app.routes):
        for method in sorted(route.methods or ()):
            yield from _requests(route, method, layer)


def _requests(route: APIRoute, method: str, layer: str) -> Iterator[PlannedRequest]:
    names = set(route.param_convertors)
    if unknown := names - FILLED.keys():
        raise AssertionError(
            f"{route.path} has the parameter {min(unknown)!r}: say in FILLED of tests/access/walk.py what it is requested with"
        )
    path = route.path
    for name in names:
        convertor = ":path" if f"{{{name}:path}}" in path else ""
        path = path.replace(f"{{{name}{convertor}}}", FILLED[name](layer))
    layered = bool(names & OF_A_LAYER)
    if method != "GET":
        if (method, route.path) not in SENT:
            raise AssertionError(f"{method} {route.path}: say in SENT of tests/access/walk.py what it is sent")
        sent = SENT[method, route.path](layer)
        if "path" in sent:
            path, layered = sent.pop("path"), False
        yield PlannedRequest(method, path, route.path, layered or (method, route.path) in NAMES_A_LAYER, **sent)
        return
    written = (route.openapi_extra or {}).get("parameters", [])
    declared = {p.alias: p.field_info.is_required() for p in route.dependant.query_params}
    declared |= {p["name"]: p.get("required", False) for p in written if p["in"] == "query"}
    query = {}
    for name, required in declared.items():
        if name in REQUESTED:
            query[name] = REQUESTED[name]
        elif required:
            raise AssertionError(
                f"{route.path} needs {name!r}: say in REQUESTED of tests/access/walk.py what it is requested with"
            )
    forms = next((p["schema"].get("enum", []) for p in written if p["name"] == "f"), [])
    for form in forms or [None]:
        yield PlannedRequest(method, path, route.path, layered, query | ({"f": form} if form else {}))
    if layered:
        # With the version: an address that takes none has no such layer.
        yield PlannedRequest(method, path.replace(layer, f"{layer}@1"), route.path, layered, query)


@asynccontextmanager
async def running(database: Database, folder: Path) -> AsyncIterator[tuple[FastAPI, ASGIApp]]:
    """The whole application with its middleware, in this process."""
    settings = Settings(
        home=HOME, database=database.url.database, rate_limit=0, rate_limit_key=0, archives=folder / "archives",
        rasters=folder / "rasters", downloads=folder / "downloads", uploads=folder / "uploads", pool_wait=30,
        uploads_open=1000,
    )  # type: ignore[call-arg]  # fmt: skip
    app = create_app(settings, database)
    app.include_router(make_router(visible_layers, opening))
    served = with_middleware(app, settings)
    async with app.router.lifespan_context(app):
        await app.state.city.refresh()
        yield app, served


def client(served: ASGIApp, key: str | None) -> httpx.AsyncClient:
    """A client with a key, or without."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=served), base_url="http://city", headers=headers, timeout=60
    )


async def send(http: httpx.AsyncClient, request: PlannedRequest) -> httpx.Response:
    """Send a request."""
    return await http.request(
        request.method, request.path, params=request.query, headers=request.headers, json=request.json
    )
