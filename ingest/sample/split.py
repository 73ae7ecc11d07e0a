"""Recursive splitting of land into cells with streets between them: quarters, blocks, strips of lots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from ingest.sample.plane import Floats, Geometries, settled
from ingest.sample.shapes import Integers, extents, long_axis, parts

FAR = 20_000.0
# A cell is cut while it is this much longer or deeper than wanted.
SLACK = (1.36, 1.62)


@dataclass(frozen=True)
class SplitRules:
    """How the cells of each owner are to be split; one value an owner.

    `length` and `depth` are the wanted sides in metres. `angle` (radians) fixes a grid whose lines run through from
    cell to cell; where it is NaN, each cell is cut across its own long axis, with `skew` (radians) and `bend` (share).
    """

    length: Floats
    depth: Floats
    angle: Floats
    skew: Floats
    bend: Floats
    width: Floats


@dataclass(frozen=True)
class Cells:
    """Land between street axes (`gross`), what is left beside the streets (`net`), and whose they are."""

    gross: Geometries
    net: Geometries
    owner: Integers


@dataclass(frozen=True)
class Cuts:
    """The streets that the splitting drew: axis, width in metres, owner, size of the cell cut, key of the grid line."""

    geometry: Geometries
    width: Floats
    owner: Integers
    size: Floats
    key: Integers


def _half_planes(points: Floats, along_: Floats, normal: Floats, offset: Floats, side: int) -> Geometries:
    """Return everything to one side of each polyline, moved `offset` metres towards that side."""
    moved = points + (normal * (side * offset)[:, None])[:, None, :]
    far_end = moved[:, -1] + side * FAR * normal
    far_start = moved[:, 0] + side * FAR * normal
    halves: Geometries = shapely.polygons(
        settled(np.concatenate([moved, far_end[:, None], far_start[:, None]], axis=1))
    )
    return halves


def _cut_places(low: Floats, high: Floats, wanted: Floats, is_grid: npt.NDArray[np.bool_], pitch: Floats,
                rng: np.random.Generator) -> tuple[Floats, Integers]:  # fmt: skip
    """Return where to cut along an axis, and the number of the grid line (-1 for none)."""
    span = high - low
    pieces = np.maximum(2, np.rint(span / wanted))
    share = np.floor(pieces / 2) / pieces + rng.normal(0, 0.05, len(span))
    place = low + span * np.clip(share, 0.3, 0.7)
    line = np.rint(place / pitch)
    # Grid lines are not quite evenly spaced, or the city would look like a chess board.
    snapped = (line + 0.16 * np.sin(line * 12.9898)) * pitch
    fits = is_grid & (snapped > low + 0.28 * span) & (snapped < high - 0.28 * span)
    return np.where(fits, snapped, place), np.where(fits, line, -1).astype(np.int64)


def about(gross: Geometries, net: Geometries, source: Integers, reach: float) -> Geometries:
    """Return the gross land about each net piece: where one cell fell in pieces, what lies near a piece and not on
    another.
    """
    gross = gross[source]
    for cell in np.flatnonzero(np.bincount(source, minlength=1) > 1):
        pieces = np.flatnonzero(source == cell)
        for i in pieces:
            others = shapely.union_all(net[pieces[pieces != i]]).buffer(1.0)
            gross[i] = shapely.difference(shapely.intersection(gross[i], net[i].buffer(reach, quad_segs=2)), others)
    return gross


def _pair(gross: Geometries, net: Geometries) -> tuple[Geometries, Geometries, Integers]:
    """Part cells that fell in pieces, so that each net piece has the gross land about it."""
    net, source = parts(net, 3, 60.0)
    return about(gross, net, source, 9.0), net, source


def split(cells: Cells, plan: SplitRules, rng: np.random.Generator) -> tuple[Cells, Cuts]:
    """Cut cells until each has about the wanted size; `plan` is looked up by the cells' owner."""
    gross, net, owner = cells.gross, cells.net, cells.owner
    done: list[Cells] = []
    cuts: list[Cuts] = []
    while len(net):
        fixed = plan.angle[owner]
        is_grid = ~np.isnan(fixed)
        angle = np.where(is_grid, fixed, long_axis(net))
        bounds = extents(net, angle)
        spans = bounds[:, 2:] - bounds[:, :2]
        wanted = np.column_stack([plan.length[owner], plan.depth[owner]])
        ratio = spans / wanted
        axis = np.argmax(ratio, axis=1)
        rows = np.arange(len(net))
        is_done = ratio[rows, axis] < rng.uniform(*SLACK, len(net))
        done.append(Cells(gross[is_done], net[is_done], owner[is_done]))
        go = ~is_done
        if not go.any():
            break
        gross, net, owner, angle, is_grid, axis = (v[go] for v in (gross, net, owner, angle, is_grid, axis))
        bounds, spans, wanted = bounds[go], spans[go], wanted[go]
        rows = np.arange(len(net))
        width = plan.width[owner] * rng.choice([0.9, 1.0, 1.0, 1.15], len(net))
        pitch = wanted[rows, axis] + plan.width[owner]
        place, key = _cut_places(bounds[rows, axis], bounds[rows, 2 + axis], wanted[rows, axis], is_grid, pitch, rng)
        other = 1 - axis
        middle = (bounds[rows, other] + bounds[rows, 2 + other]) / 2
        half = 0.55 * spans[rows, other]

        u = np.where(axis == 0, place, middle)
        v = np.where(axis == 0, middle, place)
        cos, sin = np.cos(angle), np.sin(angle)
        center = np.column_stack([u * cos - v * sin, u * sin + v * cos])
        skew = np.where(is_grid, 0.0, rng.normal(0, 1, len(net)) * plan.skew[owner])
        heading = angle + np.where(axis == 0, np.pi / 2, 0.0) + skew
        way = np.column_stack([np.cos(heading), np.sin(heading)])
        normal = np.column_stack([-way[:, 1], way[:, 0]])
        sag = np.where(is_grid, 0.0, rng.normal(0, 1, len(net)) * plan.bend[owner] * half)
        t = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        reach = np.column_stack([np.full(len(net), -FAR), half[:, None] * t, np.full(len(net), FAR)])
        lift = np.column_stack([np.zeros(len(net)), sag[:, None] * (1 - t**2), np.zeros(len(net))])
        points = settled(center[:, None] + reach[:, :, None] * way[:, None] + lift[:, :, None] * normal[:, None])

        street, source = parts(shapely.intersection(gross, shapely.linestrings(points)), 1, 6.0)
        cuts.append(Cuts(street, width[source], owner[source], spans.max(axis=1)[source],
                         np.where(key < 0, -1, key * 2 + axis + 100_000)[source]))  # fmt: skip
        new_gross, new_net, new_owner = [], [], []
        zero = np.zeros(len(net))
        for side in (1, -1):
            whole = shapely.intersection(gross, _half_planes(points, way, normal, zero, side))
            rest = shapely.intersection(net, _half_planes(points, way, normal, width / 2, side))
            whole, rest, source = _pair(whole, rest)
            new_gross.append(whole)
            new_net.append(rest)
            new_owner.append(owner[source])
        gross, net, owner = (np.concatenate(v) for v in (new_gross, new_net, new_owner))
    done.append(Cells(gross[:0], net[:0], owner[:0]))
    none = np.zeros(0, dtype=np.int64)
    cuts.append(Cuts(np.zeros(0, dtype=object), np.zeros(0), none, np.zeros(0), none))
    return (
        Cells(*(np.concatenate([getattr(c, f) for c in done]) for f in ("gross", "net", "owner"))),
        Cuts(*(np.concatenate([getattr(c, f) for c in cuts]) for f in ("geometry", "width", "owner", "size", "key"))),
    )
