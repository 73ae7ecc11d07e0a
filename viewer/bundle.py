"""The deck.gl bundle that the installed pydeck carries, ready to be sent to a browser."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

# Where pydeck keeps it now, and where its next release will (visgl/deck.gl#10667).
PLACES = ("nbextension/static/index.js", "static/standalone.js")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The script as it is and compressed, with the pydeck version that it belongs to."""

    script: bytes
    gzipped: bytes
    version: str


@cache
def deck_bundle() -> Bundle:
    """Read and compress the bundle once; FileNotFoundError says which pydeck lacks it."""
    release = version("pydeck")
    root = files("pydeck")
    for place in PLACES:
        if (file := root / place).is_file():
            script = file.read_bytes()
            return Bundle(script, gzip.compress(script, mtime=0), release)
    raise FileNotFoundError(f"pydeck {release} carries no browser bundle at {' or '.join(PLACES)}; install pydeck 0.9")
