"""The OpenAPI document, and that requests keep to it: a parameter that it does not name is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tiles.http.openapi30 import to_openapi_30
from twin.errors import BadInput, TooLong
from twin.text import Text

MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.1"
MEDIA_TYPE_30 = "application/vnd.oai.openapi+json;version=3.0"
CONFORMS = ("http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",)
PROBLEM_TYPE = "application/problem+json"

PROBLEM = {
    "type": "object",
    "title": "Problem (RFC 9457)",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong and what to do, in the reader's language."},
        "request_id": {
            "type": "string",
            "description": "Of errors of the server: as in the header X-Request-ID and in the log.",
        },
    },
}
PROBLEMS = {
    "400": "The request cannot be understood",
    "401": "The key is not valid",
    "404": "There is no such thing, or not for this reader",
    "405": "This method is not offered here",
    "414": "The question is too long",
    "429": "Too many requests in a minute; Retry-After says when to go on",
    "503": "The database is not reachable now, or the answer took too long",
}
WRITTEN_OUT = ("limit", "bbox", "datetime")
MARK = "reads_parameters"
# What is tagged so needs a key.
WRITING = "publishing"
# Probes and gauges, which are requested by programs that add parameters of their own.
OPERATIONS = "operations"

# Bytes of a query string. A filter may have 60,000 characters; the HTTP server itself takes an address of 65,534 bytes.
LONG_QUERY_BYTES = 65_000
QUERY_BYTES = 8_000
LONG_PARAMETERS = frozenset({"filter", "ids", "token", "coords"})

router = APIRouter(include_in_schema=False)
F = TypeVar("F", bound=Callable[..., Any])


def reads_parameters(endpoint: F) -> F:
    """Mark an endpoint that checks the names of its parameters itself, since they depend on the layer."""
    setattr(endpoint, MARK, True)
    return endpoint


async def only_known(request: Request) -> None:
    """Refuse a query that is too long, a parameter that the address does not have, and one that is given twice."""
    query = request.scope["query_string"]
    _check_length(request, len(query))
    route = request.scope.get("route")
    if not query or not isinstance(route, APIRoute) or not route.include_in_schema or OPERATIONS in route.tags:
        return
    if route.endpoint not in _NAMES:
        _NAMES[route.endpoint] = _names(route)
    known = _NAMES[route.endpoint]
    if known is None:
        return
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen or name not in known:
            raise BadInput(
                Text(
                    en="“{name}” is not a parameter here, or it is given twice. Known: {known}.",
                    vi="“{name}” không phải tham số ở đây, hoặc xuất hiện hai lần. Có: {known}.",
                ).format(name=name[:60], known=", ".join(sorted(known)) or "—")
            )
        seen.add(name)


def _check_length(request: Request, length: int) -> None:
    if length <= QUERY_BYTES:
        return
    limit = QUERY_BYTES if LONG_PARAMETERS.isdisjoint(request.query_params) else LONG_QUERY_BYTES
    if length > limit:
        raise TooLong(
            Text(
                en="The question has {length:,} bytes behind the “?”; {limit:,} are taken here. Ask in parts.",
                vi="Phần sau dấu “?” dài {length:,} byte; ở đây nhận tối đa {limit:,}. Hãy hỏi từng phần.",
            ).format(length=length, limit=limit)
        )


# By endpoint, since routes cannot be keys.
_NAMES: dict[Callable[..., Any], frozenset[str] | None] = {}


def _names(route: APIRoute) -> frozenset[str] | None:
    if getattr(route.endpoint, MARK, False):
        return None
    further = (route.openapi_extra or {}).get("parameters", [])
    return frozenset({*_query_names(route.dependant), *(p["name"] for p in further if p["in"] == "query")})


def _query_names(dependant: Dependant) -> set[str]:
    found = {str(field.alias) for field in dependant.query_params}
    for inner in dependant.dependencies:
        found |= _query_names(inner)
    return found


@router.get("/api")
async def api(request: Request) -> Response:
    """Give the OpenAPI document: 3.1, or 3.0 to who names that version in the header Accept."""
    older = MEDIA_TYPE_30 in request.headers.get("accept", "").replace(" ", "").replace('"', "")
    return _written(request, older=older)


@router.get("/api/3.0")
async def api_30(request: Request) -> Response:
    """Give the OpenAPI document as version 3.0, which OGC API — Features and many generators of code expect."""
    return _written(request, older=True)


def _written(request: Request, *, older: bool) -> Response:
    made = _document(request.app) | {"servers": [{"url": str(request.base_url).rstrip("/")}]}
    if older:
        made = to_openapi_30(made)
    headers = {"Cache-Control": "public, max-age=300", "Vary": "Accept, Host"}
    return Response(orjson.dumps(made), media_type=MEDIA_TYPE_30 if older else MEDIA_TYPE, headers=headers)


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once."""
    if not hasattr(app.state, "openapi"):
        app.state.openapi = document(app)
    made: dict[str, Any] = app.state.openapi
    return made


def document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's own document, with the errors that this program really answers, and how keys are shown."""
    # Parameters are described once for many addresses, and what is settled here depends on the settings.
    found = copy.deepcopy(app.openapi())
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    found["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A key made with `twin key new`."},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    }
    # QGIS takes the size of its pages from here; without it, it asks for a hundred features at a time.
    found["components"]["parameters"] = {"limit": _page_limit(app)}
    # Without a key one reads what is open.
    found["security"] = [{}, {"bearer": []}, {"key": []}]
    most = app.state.city.settings.stream_limit
    for operations in found["paths"].values():
        for operation in operations.values():
            _settle(operation)
            for parameter in operation.get("parameters", ()):
                _settle_parameter(parameter, most)
        # The methods of an address are public.
        if "options" in operations:
            operations["options"]["security"] = [{}]
    return found


def _page_limit(app: FastAPI) -> dict[str, Any]:
    most = app.state.city.settings.items_limit
    return {
        "name": "limit", "in": "query", "required": False, "description": "Features of a page of items.",
        "schema": {"type": "integer", "minimum": 1, "maximum": most, "default": min(10, most)},
        "style": "form", "explode": False,
    }  # fmt: skip


def methods(request: Request) -> str:
    """Return the methods that an address offers, as the header Allow lists them."""
    route = request.scope.get("route")
    paths = _document(request.app)["paths"]
    # An address that is written out goes before one with a place for any path, which answers it for other methods.
    offered = paths.get(request.url.path) or paths.get(getattr(route, "path_format", ""), {})
    found = {method.upper() for method in offered} or set(getattr(route, "methods", None) or ())
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


def _settle_parameter(parameter: dict[str, Any], most: int) -> None:
    """Write out in full what OGC API — Features 1 says of `limit`, `bbox` and `datetime`."""
    if parameter["in"] != "query" or parameter["name"] not in WRITTEN_OUT:
        return
    parameter |= {"style": "form", "explode": False}
    if parameter["name"] == "limit":
        # A page has fewer: see the parameter's description. A larger number is taken for the greatest.
        parameter["schema"].setdefault("maximum", most)


def _settle(operation: dict[str, Any]) -> None:
    """Give an operation the errors that any may have, each as a problem document; and its need of a key."""
    problem = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = operation["responses"]
    responses.pop("422", None)
    for status, description in PROBLEMS.items():
        responses.setdefault(status, {"description": description})
    for status, response in responses.items():
        if int(status) >= 400:
            response.setdefault("content", problem)
    if WRITING in operation.get("tags", ()):
        operation["security"] = [{"bearer": []}, {"key": []}]
