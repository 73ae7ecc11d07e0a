"""Content encodings: which one a client accepts, and the bytes in it."""

from __future__ import annotations

import gzip
from functools import lru_cache
from typing import Literal

import brotli
import deflate
import zstandard

Encoding = Literal["identity", "gzip", "br", "zstd"]

# The best first. Tiles are compressed once and sent often, so that a better ratio is worth some time.
OFFERED: tuple[Encoding, ...] = ("br", "zstd", "gzip", "identity")
# Shorter bodies gain nothing.
WORTH_COMPRESSING = 200


@lru_cache(maxsize=1024)
def chosen(accept: str, offered: tuple[Encoding, ...] = OFFERED) -> Encoding:
    """Choose the encoding by an Accept-Encoding header (RFC 9110, 12.5.3): the client's best, of equals the first."""
    wishes: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, _, parameters = part.partition(";")
        key, _, weight = parameters.strip().partition("=")
        try:
            wishes[name.strip()] = float(weight) if key.strip() == "q" else 1.0
        except ValueError:
            wishes[name.strip()] = 0.0
    anything = wishes.get("*")

    def wish(encoding: Encoding) -> float:
        if encoding in wishes:
            return wishes[encoding]
        if anything is not None:
            return anything
        # Plain bytes are accepted unless they are ruled out; what is named is wanted more.
        return 0.0001 if encoding == "identity" else 0.0

    best = max(offered, key=wish)
    return best if wish(best) > 0 else "identity"


def encode(body: bytes, encoding: Encoding) -> bytes:
    """Compress a body."""
    match encoding:
        case "br":
            return bytes(brotli.compress(body, quality=5))
        case "zstd":
            return zstandard.compress(body, 9)
        case "gzip":
            # A third of zlib's time for no more bytes; and no time in the header: equal tiles have equal bytes.
            return bytes(deflate.gzip_compress(body, 6))
        case "identity":
            return body


def decode(body: bytes, encoding: Encoding) -> bytes:
    """Undo `encode`."""
    match encoding:
        case "br":
            return bytes(brotli.decompress(body))
        case "zstd":
            return zstandard.decompress(body)
        case "gzip":
            return gzip.decompress(body)
        case "identity":
            return body
