"""The deck of a city: which tiles are drawn, in what order and how. URLs and styles only, never records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pydeck as pdk

MAX_TILE_ZOOM = 16
MIN_ZOOM, MAX_ZOOM = 8.5, 20.0
# Beyond 60 degrees deck.gl mixes tile zooms in one view, and layers would no longer share their requests.
MAX_PITCH = 60
LAST_IN_ORDER = 1000

# A pydeck Deck also serialises API keys that it finds in the environment; only these parts leave the server.
PARTS = ("layers", "views", "initialViewState", "effects")

# A high morning sun from the south-east and a soft sky: walls differ by side, roofs keep their legend colour.
LIGHTING = {
    "@@type": "LightingEffect",
    "sky": {"@@type": "AmbientLight", "color": [255, 252, 246], "intensity": 1.25},
    "sun": {
        "@@type": "DirectionalLight",
        "color": [255, 250, 240],
        "intensity": 1.15,
        "direction": [-3, 4, -8],
    },
    "fill": {
        "@@type": "DirectionalLight",
        "color": [226, 236, 255],
        "intensity": 0.35,
        "direction": [5, -2, -4],
    },
}


def build(city: Mapping[str, Any], collections: Sequence[Mapping[str, Any]]) -> str:
    """Give the deck's JSON for the collections that the reader may see."""
    longitude, latitude = city["center"]
    deck = pdk.Deck(
        layers=layers(collections),
        views=[
            pdk.View(
                "MapView",
                controller={"touchRotate": True, "keyboard": True, "inertia": 250, "maxPitch": MAX_PITCH},
            )
        ],
        initial_view_state=pdk.ViewState(
            longitude=longitude,
            latitude=latitude,
            zoom=city["zoom"],
            pitch=city["pitch"],
            bearing=city["bearing"],
            min_zoom=MIN_ZOOM,
            max_zoom=MAX_ZOOM,
            maxPitch=MAX_PITCH,
        ),
        effects=[LIGHTING],
        map_provider=None,
        map_style=None,
        tooltip=False,
    )
    parts = json.loads(deck.to_json())
    return json.dumps({name: parts[name] for name in PARTS}, ensure_ascii=False, separators=(",", ":"))


def layers(collections: Sequence[Mapping[str, Any]]) -> list[pdk.Layer]:
    """One layer a collection, lowest first; those of the base map draw from one shared tile."""
    base = base_map_url(collections)
    ordered = sorted(collections, key=lambda c: (c["style"].get("order", LAST_IN_ORDER), c["id"]))
    return [_layer(c, base if c["baseMap"] else c["tiles"]) for c in ordered]


def base_map_url(collections: Sequence[Mapping[str, Any]]) -> str:
    """Return the tile URL that holds every base-map collection: one request a tile instead of one a collection."""
    names = sorted(c["tiles"].split("/")[2] for c in collections if c["baseMap"])
    return f"/tiles/{','.join(names)}/{{z}}/{{x}}/{{y}}.mvt"


def first_zoom(collection: Mapping[str, Any]) -> float:
    """The first zoom at which a collection shows: with cells that stand for its features, if its style draws them."""
    rollup = collection.get("rollup")
    first: float = rollup["minzoom"] if rollup and "cells" in collection["style"] else collection["minzoom"]
    return first


def _layer(collection: Mapping[str, Any], url: str) -> pdk.Layer:
    # pydeck turns bare strings into accessor expressions; String keeps them literal.
    return pdk.Layer(
        "TwinTileLayer",
        url,
        id=collection["id"],
        collection=pdk.types.String(collection["id"]),
        # A raster is drawn from its own pixels, as pictures; its cells answer the clicks.
        pixels=pdk.types.String(collection["pixels"] or ""),
        style=dict(collection["style"]),
        # Tiles change at half zooms, so a collection begins half a zoom before its first tile.
        visible_min_zoom=max(0.0, first_zoom(collection) - 0.5),
        max_zoom=min(MAX_TILE_ZOOM, collection.get("maxzoom") or MAX_TILE_ZOOM),
        visible=collection["visible"],
        # A click is answered from the tiles in memory, so no GPU picking pass runs under the pointer.
        pickable=False,
    )
