"""Colours of a raster's pixels: a table of at most 255, made of the style that the theme's cells are drawn with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from layers.theme import Theme

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# One byte a pixel, of which the first value is kept for pixels that show nothing.
MOST = 255


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """A table of colours, and which of them a value has: `find` gives the rows of values, counted from 0."""

    colors: Bytes
    find: Callable[[Values], npt.NDArray[np.int64]]
    shown: Callable[[Values], Mask]

    def index(self, values: Values, known: Mask) -> Bytes:
        """Return the place of each pixel's colour in the table, counted from 1; 0 where nothing is known or shown."""
        drawn = known & self.shown(values)
        found = np.zeros(values.shape, np.uint8)
        found[drawn] = (self.find(values[drawn]) + 1).astype(np.uint8)
        return found


def known_pixels(theme: Theme, values: Values, known: Mask) -> Mask:
    """Return which pixels count: with data, a number, and believable, as for the cells."""
    assert theme.raster is not None  # noqa: S101  # callers have a raster
    field = theme.by_name[theme.raster.field]
    good = known & np.isfinite(values)
    if field.minimum is not None:
        good &= np.greater_equal(values, field.minimum, where=good, out=np.zeros(values.shape, bool))
    if field.maximum is not None:
        good &= np.less_equal(values, field.maximum, where=good, out=np.zeros(values.shape, bool))
    return good


def palette_of(theme: Theme, codes: Mapping[int, str] | None) -> Palette:
    """Return the colours of a theme's rasters; `codes` are the terms that the pixels of a raster of classes stand
    for.
    """
    fill = theme.style["fill"]
    return _of_ramp(theme, fill["stops"]) if codes is None else _of_classes(fill, codes)


def parse_color(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of `#rrggbb`."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _of_classes(fill: Mapping[str, Any], codes: Mapping[int, str]) -> Palette:
    terms = sorted(set(codes.values()))
    colors = np.array([parse_color(fill["categories"].get(t, fill["other"])) for t in terms], np.uint8).reshape(-1, 3)
    numbers = np.array(sorted(codes), dtype=np.int64)
    rows = np.array([terms.index(codes[int(n)]) for n in numbers], dtype=np.int64)
    return Palette(
        colors, lambda values: rows[np.searchsorted(numbers, values)], lambda values: np.isin(values, numbers)
    )


def _of_ramp(theme: Theme, stops: list[tuple[float, str]]) -> Palette:
    """Split the ramp into steps that no eye tells apart: as many between two stops as their colours differ."""
    assert theme.raster is not None  # noqa: S101
    at = np.array([stop for stop, _ in stops], dtype=np.float64)
    colors = np.array([parse_color(color) for _, color in stops], dtype=np.float64)
    apart = np.abs(np.diff(colors, axis=0)).max(axis=1)
    # The two ends have a colour of their own: beyond them nothing changes.
    steps = np.maximum(1, np.minimum(apart, apart / max(apart.sum(), 1) * (MOST - 2 - len(apart)))).astype(int)
    limits, shades = [at[:1]], [colors[:1]]
    for i, count in enumerate(steps):
        edges = np.linspace(at[i], at[i + 1], count + 1)
        middle = ((np.arange(count) + 0.5) / count)[:, None]
        limits.append(edges[1:])
        shades.append(colors[i] + middle * (colors[i + 1] - colors[i]))
    shades.append(colors[-1:])
    borders = np.concatenate(limits)
    least = -np.inf if theme.raster.shown_from is None else theme.raster.shown_from
    return Palette(
        np.round(np.concatenate(shades)).astype(np.uint8),
        lambda values: np.searchsorted(borders, values, side="right"),
        lambda values: np.greater_equal(values, least, where=np.isfinite(values), out=np.zeros(values.shape, bool)),
    )
