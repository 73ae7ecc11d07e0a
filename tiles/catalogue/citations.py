"""How a layer's version is cited: a sentence, an entry for BibTeX, and the words that travel inside its files."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from twin.catalogue.catalogue import Layer, Version
from twin.city import City
from twin.text import Language, Text

SENTENCE = Text(
    en="{agency} ({year}). {title} ({layer}), version {number} of {day} [data set]. {city}.{licence}{address}",
    vi="{agency} ({year}). {title} ({layer}), phiên bản {number} ngày {day} [bộ dữ liệu]. {city}.{licence}{address}",
)
LICENCE = Text(en=" Licence: {licence}.", vi=" Giấy phép: {licence}.")
NOTE = Text(en="Version {number} of {day}", vi="Phiên bản {number} ngày {day}")

# What TeX takes for something else.
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
        "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    }
)  # fmt: skip


def day_of(version: Version, zone: ZoneInfo, language: Language) -> str:
    """Return the day of a publish by the city's clock, as its readers write days."""
    day = version.published.astimezone(zone)
    return f"{day:%d/%m/%Y}" if language == "vi" else f"{day:%Y-%m-%d}"


def citation(layer: Layer, version: Version, city: City, language: Language, address: str = "") -> str:
    """One sentence that names whose data it is, of which day, under which licence and, if known, at which address."""
    licence = LICENCE.in_language(language).format(licence=layer.licence) if layer.licence else ""
    return SENTENCE.in_language(language).format(
        agency=layer.agency.title.in_language(language), year=version.published.astimezone(city.time_zone).year,
        title=layer.title.in_language(language), layer=layer.id, number=version.number,
        day=day_of(version, city.time_zone, language), city=city.title.in_language(language), licence=licence,
        address=f" {address}" if address else "",
    )  # fmt: skip


def bibtex(layer: Layer, version: Version, city: City, language: Language, address: str) -> str:
    """Return the same as an entry for BibTeX."""
    note = NOTE.in_language(language).format(number=version.number, day=day_of(version, city.time_zone, language))
    fields = {
        "author": f"{{{_tex(layer.agency.title.in_language(language))}}}",
        "title": f"{{{_tex(layer.title.in_language(language))}}}",
        "year": str(version.published.astimezone(city.time_zone).year),
        "publisher": _tex(city.title.in_language(language)),
        "version": str(version.number),
        "note": _tex(f"{note}. {layer.licence}".rstrip(". ")),
        "url": address,
    }
    name = re.sub(r"[^a-z0-9]+", "_", layer.id)
    body = "".join(f",\n  {key:<9} = {{{value}}}" for key, value in fields.items())
    return f"@misc{{{name}_v{version.number}{body}\n}}"


def _tex(text: str) -> str:
    return text.translate(SPECIAL)


def words(layer: Layer, version: Version, city: City) -> dict[str, str]:
    """Return what a file says of itself, by name, in both languages: files go on without the server they came from."""
    fields = {
        "layer": layer.id,
        "version": str(version.number),
        "published": version.published.isoformat().replace("+00:00", "Z"),
        "title": layer.title.en,
        "title_vi": layer.title.vi,
        "description": layer.description.en,
        "description_vi": layer.description.vi,
        "publisher": layer.agency.title.en,
        "publisher_vi": layer.agency.title.vi,
        "licence": layer.licence,
        "attribution": layer.attribution,
        "citation": citation(layer, version, city, "en"),
        "citation_vi": citation(layer, version, city, "vi"),
        "sample": "yes" if layer.sample else "",
    }
    return {name: text for name, text in fields.items() if text}
