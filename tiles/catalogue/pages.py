"""The catalogue as pages for people: the list with its search, and a page for each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

from fastapi import Request, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from layers.contracts import theme_of
from tiles.catalogue import citations as citing
from tiles.catalogue import freshness as fresh
from tiles.catalogue.distributions import download_address
from tiles.catalogue.history import Step
from tiles.catalogue.nodes import address_of
from tiles.catalogue.search import CatalogueQuery
from tiles.catalogue.vocabulary import licence_address
from tiles.catalogue.words import GEOMETRIES, SHARING, SHARING_MEANINGS, TYPES, WORDS
from tiles.downloads.formats import FORMS
from tiles.http.principal import city_context
from tiles.ogc import display
from tiles.ogc import pages as plain
from tiles.ogc.links import Link, base_of, path
from twin.access.permit import Permit
from twin.catalogue.catalogue import Layer
from twin.catalogue.download_folder import Prepared
from twin.city import City
from twin.db.tables import Sharing
from twin.text import LANGUAGES, Language, Text

STYLE = "catalogue.css"
# As the other pages', with a form that asks this server.
SECURITY = plain.SECURITY | {
    "Content-Security-Policy": plain.SECURITY["Content-Security-Policy"].replace(
        "form-action 'none'", "form-action 'self'"
    )
}


@cache
def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader("tiles.catalogue"), PackageLoader("tiles.ogc")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def _page(
    request: Request, template: str, title: str, trail: Sequence[tuple[str, str]], links: Sequence[Link],
    language: Language, headers: Mapping[str, str], **facts: Any,
) -> Response:  # fmt: skip
    base = base_of(request)
    # By attribute, so that no word hides behind a method of dictionaries.
    words = SimpleNamespace(**{name: text.in_language(language) for name, text in {**plain.WORDS, **WORDS}.items()})
    languages = {other: str(request.url.include_query_params(lang=other)) for other in LANGUAGES if other != language}
    html = _environment().get_template(f"{template}.html").render(
        title=title, trail=[(words.home, f"{base}/landing?f=html&lang={language}"), *trail], links=links,
        language=language, languages=languages, w=words, base=base, style=f"{base}/{plain.STYLE}",
        own_style=f"{base}/catalogue/{STYLE}", **facts,
    )  # fmt: skip
    return Response(html, media_type="text/html; charset=utf-8", headers=SECURITY | dict(headers))


def _aged(layer: Layer, now: datetime, city: City, language: Language) -> dict[str, Any]:
    """Return how fresh a layer is, in words."""
    found = fresh.freshness(layer, now)
    due = found.due.astimezone(city.time_zone) if found.due else None
    return {
        "state": found.state.value,
        "label": fresh.STATES[found.state].in_language(language),
        "ago": fresh.ago(found.age).in_language(language),
        "frequency": fresh.FREQUENCIES.get(
            layer.update_frequency, Text(layer.update_frequency, layer.update_frequency)
        ).in_language(language),
        "day": display.day(found.updated, city.time_zone, language),
        "due": display.day(due, city.time_zone, language) if due else "",
    }


def listing(
    request: Request, shown: Sequence[Permit], visible: Sequence[Permit], total: int, wanted: CatalogueQuery,
    around: Mapping[str, str], links: Sequence[Link], now: datetime, language: Language, headers: Mapping[str, str],
) -> Response:  # fmt: skip
    """Return the list: some layers out of those that fit, and the filters that the visible layers allow."""
    city, base = city_context(request).settings.profile, base_of(request)
    entries = [
        {
            "title": layer.title.in_language(language),
            "href": f"{path(base, 'catalogue', layer.id)}?f=html&lang={language}",
            "id": layer.id,
            "description": layer.description.in_language(language) or theme_of(layer).description.in_language(language),
            "agency": layer.agency.title.in_language(language),
            "theme": theme_of(layer).title.in_language(language),
            "sharing": layer.sharing.value,
            "sharing_title": SHARING[layer.sharing].in_language(language),
            "features": display.count(permit, permit.version.features, language),
            "licence": layer.licence,
            "sample": layer.sample,
            "fresh": _aged(layer, now, city, language),
        }
        for permit in shown
        for layer in (permit.layer,)
    ]  # fmt: skip
    filters = _filters([permit.layer for permit in visible], wanted, language)
    title = WORDS["catalogue"].in_language(language)
    return _page(
        request, "catalogue", title, [], links, language, headers, entries=entries, filters=filters, wanted=wanted,
        around=around, total=display.number(total, language), about=_about(city, language), action=f"{base}/catalogue",
        narrowed=any((wanted.q, wanted.agency, wanted.theme, wanted.sharing, wanted.freshness)),
    )  # fmt: skip


def _about(city: City, language: Language) -> str:
    return (
        Text(
            en="What the agencies of {city} publish on the shared map.",
            vi="Dữ liệu mà các đơn vị của {city} công bố trên bản đồ dùng chung.",
        )
        .format(city=city.name)
        .in_language(language)
    )


def _filters(visible: Sequence[Layer], wanted: CatalogueQuery, language: Language) -> list[dict[str, Any]]:
    """Each filter with its choices, by title; only what some layer has is offered."""
    agencies = {layer.agency.name: layer.agency.title.in_language(language) for layer in visible}
    themes = {theme_of(layer).name: theme_of(layer).title.in_language(language) for layer in visible}
    levels = {level.value: SHARING[level].in_language(language) for level in Sharing if _has(visible, level)}
    states = {state.value: label.in_language(language) for state, label in fresh.STATES.items()}
    by_title = [sorted(found.items(), key=lambda pair: pair[1].casefold()) for found in (agencies, themes)]
    return [
        {"name": name, "title": WORDS[name].in_language(language), "options": options, "chosen": getattr(wanted, name)}
        for name, options in zip(
            ("agency", "theme", "sharing", "freshness"), (*by_title, [*levels.items()], [*states.items()]), strict=True
        )
    ]


def _has(visible: Sequence[Layer], level: Sharing) -> bool:
    return any(layer.sharing is level for layer in visible)


def dataset(
    request: Request, chosen: Permit, steps: Sequence[Step], prepared: Mapping[str, Prepared], links: Sequence[Link],
    now: datetime, language: Language, headers: Mapping[str, str],
) -> Response:  # fmt: skip
    """Return the page of one layer, or of one version of it."""
    city, base = city_context(request).settings.profile, base_of(request)
    layer, version = chosen.layer, chosen.version
    assert layer.current is not None  # noqa: S101
    title, of = layer.title.in_language(language), theme_of(layer)
    address = address_of(base, chosen)
    trail = [(WORDS["catalogue"].in_language(language), f"{base}/catalogue?f=html&lang={language}")]
    preview = f"{path(base, 'catalogue', layer.id)}@{version.number}/preview.svg"
    return _page(
        request, "dataset", title, trail, links, language, headers,
        layer=layer, version=version, theme=of.title.in_language(language),
        description=layer.description.in_language(language) or of.description.in_language(language),
        agency=layer.agency.title.in_language(language),
        geometry=GEOMETRIES[of.geometry].in_language(language),
        count=display.count(chosen, version.features, language),
        sharing_title=SHARING[layer.sharing].in_language(language),
        sharing_means=SHARING_MEANINGS[layer.sharing].in_language(language),
        fresh=_aged(layer, now, city, language),
        licence_href=licence_address(layer.licence),
        pinned=chosen.pinned and version.number != layer.current.number,
        current_href=f"{path(base, 'catalogue', layer.id)}?f=html&lang={language}",
        map_href=_on_map(base, chosen, city, language), preview=preview,
        downloads=[
            {
                "title": form.title, "use": form.use.in_language(language), "suffix": form.suffix,
                "href": download_address(base, chosen, form),
                "size": _size(prepared[form.suffix].size, language) if form.suffix in prepared else "",
            }
            for form in FORMS.values()
        ],
        fields=_fields(chosen, language),
        steps=[_step(base, layer, step, city, language) for step in steps],
        known=any(step.record for step in steps),
        counted=any(step.counts for step in steps), reasons=any(step.reason for step in steps),
        citation=citing.citation(layer, version, city, language, address),
        bibtex=citing.bibtex(layer, version, city, language, address),
        items=path(base, "collections", layer.id, "items"), address=address,
        tiles=f"{path(base, 'tiles', layer.id)}/{{z}}/{{x}}/{{y}}.mvt",
        number=lambda value: display.number(value, language),
    )  # fmt: skip


def _on_map(base: str, chosen: Permit, city: City, language: Language) -> str:
    """Return the map's address at a layer, with the layer switched on."""
    bounds = chosen.bounds or city.outline.bounds
    span = max(bounds[2] - bounds[0], bounds[3] - bounds[1], 0.002)
    zoom = min(max(math.log2(360 / span), 8.0), 16.0)
    longitude, latitude = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    return f"{base}/?lang={language}#{longitude:.5f},{latitude:.5f},{zoom:.2f},0,0;+{chosen.layer.id}"


def _size(size: int, language: Language) -> str:
    for limit, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")):
        if size >= limit:
            value = size / limit
            return f"{display.number(round(value, 1 if value < 10 else 0), language)} {unit}"
    return f"{size} B"


def _fields(chosen: Permit, language: Language) -> list[dict[str, Any]]:
    by_name = theme_of(chosen.layer).by_name
    found = []
    for column in chosen.columns:
        field = by_name.get(column.name)
        terms = field.vocabulary if field is not None and field.vocabulary else {}
        found.append(
            {
                "name": column.name,
                "title": column.title.in_language(language),
                "type": TYPES[column.type].in_language(language),
                "unit": display.unit(column.unit, language),
                "source": column.source if column.source and column.source != column.name else "",
                "terms": [(key, term.title.in_language(language)) for key, term in terms.items()],
                "range": _range(field, language),
            }
        )
    return found


def _range(field: Any, language: Language) -> str:
    if field is None or field.vocabulary:
        return ""
    least, most = (
        None if end is None else display.value(end, field, language) for end in (field.minimum, field.maximum)
    )
    if least is not None and most is not None:
        return f"{least} – {most}"
    return f"≥ {least}" if least is not None else f"≤ {most}" if most is not None else ""


def _step(base: str, layer: Layer, step: Step, city: City, language: Language) -> dict[str, Any]:
    version, counts = step.version, step.counts
    parts = []
    if counts is not None:
        for value, sign, name in (
            (counts.added, "+", "added"), (counts.removed, "−", "removed"), (counts.changed, "", "changed"),
        ):  # fmt: skip
            if value:
                parts.append(f"{sign}{display.number(value, language)} {WORDS[name].in_language(language)}")
        parts = parts or [WORDS["no_changes"].in_language(language)]
    return {
        "number": version.number,
        "href": f"{path(base, 'catalogue', layer.id)}@{version.number}?f=html&lang={language}",
        "is_current": layer.current is not None and version.number == layer.current.number,
        "day": display.day(version.published, city.time_zone, language),
        "moment": version.published.isoformat(),
        "features": display.count(step.permit, version.features, language),
        "reason": step.reason,
        "changes": ", ".join(parts),
        "record": step.record,
    }
