"""The documents as pages for people, in Vietnamese and English, without scripts or anything from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from layers.contracts import theme_of
from tiles.http.principal import city_context
from tiles.http.selection import is_known
from tiles.ogc import display
from tiles.ogc.entry_points import ENTRY_POINTS
from tiles.ogc.formats import ITEMS
from tiles.ogc.links import Link, base_of, path
from twin.access.permit import Permit, every_permit
from twin.access.principals import ANONYMOUS
from twin.catalogue.catalogue import Column
from twin.text import LANGUAGES, Language, Text

# As the viewer's, without scripts, workers and requests.
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
STYLE, ICON = "features.css", "favicon.svg"
CSS = "text/css; charset=utf-8"
WORDS = {
    "layers": Text(en="Layers", vi="Các lớp dữ liệu"),
    "features": Text(en="Features", vi="Đối tượng"),
    "agency": Text(en="Agency", vi="Đơn vị"),
    "version": Text(en="Version", vi="Phiên bản"),
    "published": Text(en="Published", vi="Công bố"),
    "licence": Text(en="Licence", vi="Giấy phép"),
    "attribution": Text(en="Attribution", vi="Ghi nguồn"),
    "update": Text(en="Updated", vi="Cập nhật"),
    "extent": Text(en="Extent", vi="Phạm vi"),
    "crs": Text(en="Coordinate systems", vi="Hệ tọa độ"),
    "map": Text(en="Map", vi="Bản đồ"),
    "home": Text(en="Start", vi="Trang đầu"),
    "formats": Text(en="Other formats", vi="Định dạng khác"),
    "next": Text(en="Next page", vi="Trang sau"),
    "prev": Text(en="Previous page", vi="Trang trước"),
    "sample": Text(en="Sample data", vi="Dữ liệu mẫu"),
    "schema": Text(en="Schema", vi="Lược đồ"),
    "queryables": Text(en="Queryables", vi="Thuộc tính hỏi được"),
    "conformance": Text(en="Standards that are kept", vi="Các tiêu chuẩn được tuân theo"),
    "name": Text(en="Name", vi="Tên"),
    "title": Text(en="Title", vi="Nhan đề"),
    "type": Text(en="Type", vi="Kiểu"),
    "unit": Text(en="Unit", vi="Đơn vị đo"),
    "terms": Text(en="Terms", vi="Thuật ngữ"),
    "property": Text(en="Property", vi="Thuộc tính"),
    "value": Text(en="Value", vi="Giá trị"),
    "matched": Text(en="in all", vi="tổng cộng"),
    "none": Text(en="No features.", vi="Không có đối tượng nào."),
    "api": Text(en="API description (OpenAPI)", vi="Mô tả API (OpenAPI)"),
    "catalogue": Text(en="Data catalogue", vi="Danh mục dữ liệu"),
    "entry": Text(en="Catalogue entry and downloads", vi="Danh mục và tải về"),
    "documents": Text(en="Documents", vi="Tài liệu"),
    "preview": Text(en="{title} on a small map", vi="{title} trên bản đồ nhỏ"),
    "python": Text(en="In Python", vi="Bằng Python"),
}

router = APIRouter(include_in_schema=False)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tiles.ogc"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@cache
def _beside(package: str, name: str) -> tuple[bytes, str]:
    content = (files(package) / "templates" / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def send_file(request: Request, package: str, name: str, media_type: str) -> Response:
    """Give a file that stands beside a package's templates."""
    content, tag = _beside(package, name)
    headers = {"Cache-Control": "public, max-age=3600", "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@router.get(f"/{STYLE}")
async def style(request: Request) -> Response:
    """Give the pages' style sheet."""
    return send_file(request, "tiles.ogc", STYLE, CSS)


@router.get(f"/{ICON}")
async def icon(request: Request) -> Response:
    """Give the sign of the city's pages, the map's as well."""
    return send_file(request, "tiles.ogc", ICON, "image/svg+xml")


def _page(
    request: Request, template: str, title: str, trail: Sequence[tuple[str, str]], links: Sequence[Link],
    language: Language, headers: Mapping[str, str], **facts: Any,
) -> Response:  # fmt: skip
    base = base_of(request)
    words = {name: text.in_language(language) for name, text in WORDS.items()}
    languages = {other: str(request.url.include_query_params(lang=other)) for other in LANGUAGES if other != language}
    html = _environment().get_template(f"{template}.html").render(
        title=title, trail=[(words["home"], f"{base}/landing?f=html"), *trail], links=links, language=language,
        languages=languages, w=words, base=base, style=f"{base}/{STYLE}", **facts,
    )  # fmt: skip
    every = SECURITY | dict(headers) | {"Content-Language": language}
    return Response(html, media_type="text/html; charset=utf-8", headers=every)


def _trail(request: Request, language: Language, chosen: Permit | None = None) -> list[tuple[str, str]]:
    base = base_of(request)
    trail = [(WORDS["layers"].in_language(language), f"{base}/collections?f=html")]
    if chosen is not None:
        title = chosen.layer.title.in_language(language)
        trail.append((title, path(base, "collections", chosen.layer.id) + "?f=html"))
    return trail


def landing(request: Request, document: Mapping[str, Any], language: Language, headers: Mapping[str, str]) -> Response:
    """Return the landing page: what there is for people, for programs and for maps."""
    base, city = base_of(request), city_context(request)
    lng, lat = (city.fact("view") or {}).get("center", city.settings.profile.view.center)
    box = lng - 0.02, lat - 0.02, lng + 0.02, lat + 0.02
    entry_points = [
        {
            "title": entry.title.in_language(language), "description": entry.description.in_language(language),
            "href": base + entry.path.format(lang=language, lng=f"{lng:.3f}", lat=f"{lat:.3f}") if entry.path else "",
            "addresses": entry.addresses,
        }
        for entry in ENTRY_POINTS
    ]  # fmt: skip
    # One that everybody may read: the page is the same for all.
    example = min((permit.layer.id for permit in every_permit(ANONYMOUS, city.known_layers or {})), default=None)
    return _page(
        request, "landing", document["title"], [], document["links"], language, headers, document=document,
        entry_points=entry_points, example=example, around=", ".join(f"{n:.2f}" for n in box),
    )  # fmt: skip


def conformance(
    request: Request, document: Mapping[str, Any], language: Language, headers: Mapping[str, str]
) -> Response:
    """Return the conformance classes."""
    title = WORDS["conformance"].in_language(language)
    return _page(request, "conformance", title, [], [], language, headers, classes=document["conformsTo"])


def layers(request: Request, document: Mapping[str, Any], language: Language, headers: Mapping[str, str]) -> Response:
    """Return all layers, by agency."""
    agencies: dict[str, list[Any]] = {}
    for described in document["collections"]:
        agencies.setdefault(described["agency"]["title"], []).append(described)
    title = WORDS["layers"].in_language(language)
    return _page(
        request, "layers", title, [], document["links"], language, headers, agencies=agencies,
        number=lambda value: display.number(value, language),
    )  # fmt: skip


def layer(request: Request, described: Mapping[str, Any], language: Language, headers: Mapping[str, str]) -> Response:
    """One layer."""
    base, zone = base_of(request), city_context(request).settings.profile.time_zone
    west, south, east, north = described["bounds"] or (0, 0, 0, 0)
    return _page(
        request, "layer", described["title"], _trail(request, language), described["links"], language, headers,
        layer=described, number=lambda value: display.number(value, language),
        day=display.day(datetime.fromisoformat(described["published"]), zone, language),
        extent=f"{west:.5f}, {south:.5f} – {east:.5f}, {north:.5f}",
        systems=[(_code(address), address) for address in described["crs"]],
        formats={form.media_type: form.title for form in ITEMS},
        address_of_preview=path(base, "catalogue", described["id"]) + "/preview.svg",
    )  # fmt: skip


def _code(address: str) -> str:
    """Return the short name of a reference system: EPSG:9210, CRS84."""
    authority, _, code = address.removeprefix("http://www.opengis.net/def/crs/").split("/")
    return f"EPSG:{code}" if authority == "EPSG" else code


def schema(
    request: Request, chosen: Permit, document: Mapping[str, Any], language: Language, headers: Mapping[str, str]
) -> Response:
    """Return the properties of a layer's features."""
    title = WORDS["schema"].in_language(language)
    return _page(
        request, "schema", title, _trail(request, language, chosen), [], language, headers,
        properties=document["properties"],
    )  # fmt: skip


def _shown(chosen: Permit, columns: Sequence[Column], row: Sequence[Any], language: Language) -> list[str]:
    of = theme_of(chosen.layer)
    return [
        display.value(value, of.by_name.get(column.name), language) if value is not None else ""
        for column, value in zip(columns, row, strict=True)
    ]


def _headings(columns: Sequence[Column], language: Language) -> list[str]:
    return [
        f"{c.title.in_language(language)} ({sign})" if (sign := display.unit(c.unit, language))
        else c.title.in_language(language)
        for c in columns
    ]  # fmt: skip


def items(
    request: Request, chosen: Permit, columns: Sequence[Column], rows: Sequence[Sequence[Any]], matched: int | None,
    links: Sequence[Link], language: Language, headers: Mapping[str, str],
) -> Response:  # fmt: skip
    """Return a page of features as a table; rows have the id first."""
    address = path(base_of(request), "collections", chosen.layer.id, "items")
    at = f"?f=html&version={chosen.version.number}"
    found = [(row[0], f"{path(address, row[0])}{at}", _shown(chosen, columns, row[1:], language)) for row in rows]
    by_rel = {link["rel"]: link["href"] for link in links}
    return _page(
        request, "items", WORDS["features"].in_language(language), _trail(request, language, chosen), links, language,
        headers, headings=_headings(columns, language), rows=found, layer=chosen.layer, by_rel=by_rel,
        matched=None if matched is None else display.number(matched, language),
    )  # fmt: skip


def item(
    request: Request, chosen: Permit, columns: Sequence[Column], row: Sequence[Any], links: Sequence[Link],
    language: Language, headers: Mapping[str, str],
) -> Response:  # fmt: skip
    """One feature."""
    of = theme_of(chosen.layer)
    named = display.title(of, dict(zip((c.name for c in columns), row[1:], strict=True)))
    values = zip(_headings(columns, language), _shown(chosen, columns, row[1:], language), strict=True)
    return _page(
        request, "item", named or row[0], _trail(request, language, chosen), links, language, headers,
        id=row[0], values=list(values), layer=chosen.layer,
    )  # fmt: skip
