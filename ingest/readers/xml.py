"""XML read as a stream, without DTD, without entities of its own, and without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from ingest.readers.limits import Limits, exceeded
from ingest.readers.source import cannot_read
from twin.errors import BadInput
from twin.text import Text

Element = ElementTree.Element
CHUNK = 1 << 18
# A declaration, comments and the start tag of the root with its schema locations fit easily.
PROLOG = 1 << 20


class _RootFoundError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


class _DoctypeError(Exception):
    pass


def refuse_doctype(path: Path, file: BinaryIO | IO[bytes]) -> None:
    """Look at the beginning of an XML file, up to its root; refuse one with a document type."""
    _root(path, file)


def root_of(path: Path) -> str:
    """Name the root element as "namespace name" or "name"; refuse a file with a document type.

    A document type may only stand before the root, so a file that passes has none anywhere.
    """
    with path.open("rb") as file:
        return _root(path, file)


def _root(path: Path, file: BinaryIO | IO[bytes]) -> str:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    parser.StartElementHandler = _found
    try:
        for _ in range(PROLOG // CHUNK):
            chunk = file.read(CHUNK)
            parser.Parse(chunk, not chunk)
            if not chunk:
                break
    except _RootFoundError as found:
        return found.name
    except _DoctypeError:
        raise BadInput(
            Text(
                en="{file} is refused: it has a document type (DOCTYPE), which could make it read other files or "
                "addresses. Export it again without one.",
                vi="{file} bị từ chối: tệp có khai báo DOCTYPE, có thể khiến đọc tệp hoặc địa chỉ khác. "
                "Hãy xuất lại tệp không có khai báo này.",
            ).format(file=path.name)
        ) from None
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise cannot_read(path, error) from None
    raise cannot_read(path, Text(en="it has no root element", vi="không có phần tử gốc"))


def _refuse_doctype(*_: object) -> None:
    raise _DoctypeError


def _found(name: str, _attributes: object) -> None:
    raise _RootFoundError(name)


class Walk:
    """A file's elements as they begin and end, with `above`, the elements around the present one, from the root.

    Whoever walks calls `forget` for each element that it is done with. What is not forgotten stays in memory, and
    more of that than `object_bytes` ends the walk.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self.above: list[Element] = []
        self._held = 0

    def __iter__(self) -> Iterator[tuple[str, Element]]:
        with self.path.open("rb") as file:
            # The same open file is looked at and read, so that nobody can exchange it in between.
            _root(self.path, file)
            file.seek(0)
            parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(("start", "end"))
            try:
                while chunk := file.read(CHUNK):
                    parser.feed(chunk)
                    self._held += len(chunk)
                    yield from self._events(parser)
                    if self._held > self.limits.object_bytes:
                        raise exceeded(self.path.name, self.limits, "object_bytes")
                parser.close()
                yield from self._events(parser)
            except ElementTree.ParseError as error:
                raise cannot_read(self.path, error) from None

    def _events(self, parser: ElementTree.XMLPullParser[Any]) -> Iterator[tuple[str, Element]]:
        events: Iterator[tuple[str, Element]] = parser.read_events()  # type: ignore[assignment]
        for event, element in events:
            if event == "start":
                yield "start", element
                self.above.append(element)
                if len(self.above) > self.limits.depth:
                    raise exceeded(self.path.name, self.limits, "depth")
            else:
                self.above.pop()
                yield "end", element

    def forget(self, element: Element) -> None:
        """Free an element that ended, in itself and in the one around it."""
        element.clear()
        if self.above:
            self.above[-1].remove(element)
        self._held = 0


def local(element: Element) -> str:
    """Return the name of an element without its namespace."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def text_of(element: Element | None) -> str | None:
    """Return the text of an element without outer blanks, or None."""
    if element is None or element.text is None:
        return None
    return element.text.strip() or None
