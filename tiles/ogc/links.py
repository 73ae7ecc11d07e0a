"""Links between the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request

from tiles.ogc.formats import Format
from twin.text import Language, Text

Link = dict[str, Any]

# Bytes of an address from which on it is not repeated more often than needed.
LONG_ADDRESS = 2_000
# What may stand in a query as it is (RFC 3986): three bytes for each comma of a list would be many.
PLAIN = "',:/()"
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"


def link(href: str, rel: str, media_type: str, title: Text | str, language: Language) -> Link:
    """One link; its title is in the reader's language."""
    text = title.in_language(language) if isinstance(title, Text) else title
    return {"href": href, "rel": rel, "type": media_type, "title": text}


def base_of(request: Request) -> str:
    """Return the address of the server as the reader wrote it, without a slash at its end."""
    return str(request.base_url).rstrip("/")


def path(base: str, *steps: str) -> str:
    """Return an address below the base; each step is written so that no character of it means something else."""
    return "/".join([base, *(quote(step, safe="") for step in steps)])


def with_query(address: str, given: dict[str, str]) -> str:
    """Return an address with parameters."""
    return f"{address}?{urlencode(given, safe=PLAIN)}" if given else address


def self_and_alternates(
    address: str, given: dict[str, str], own: Format, offered: Sequence[Format], language: Language
) -> list[Link]:
    """Return a document's link to itself, and to its other formats.

    Who writes a very long question knows how it was written: it is not repeated for each format.
    """
    this = Text(en="This document", vi="Tài liệu này")
    itself = with_query(address, given)
    links = [link(itself, "self", own.media_type, this, language)]
    if len(itself) > LONG_ADDRESS:
        return links
    # Written once: there are many of these, in every answer.
    plain = with_query(address, {k: v for k, v in given.items() if k != "f"})
    start = f"{plain}{'&' if '?' in plain else '?'}f="
    links += [
        link(f"{start}{other.name}", "alternate", other.media_type, other.title, language)
        for other in offered
        if other is not own
    ]
    return links


def as_header(links: Sequence[Link]) -> dict[str, str]:
    """Return links as the header Link has them, without titles, since headers are ASCII.

    Long addresses are left out: proxies and clients refuse an answer with kilobytes of headers.
    """
    short = [link for link in links if len(link["href"]) <= LONG_ADDRESS]
    written = ", ".join(f'<{link["href"]}>; rel="{link["rel"]}"; type="{link["type"]}"' for link in short)
    return {"Link": written} if written else {}
