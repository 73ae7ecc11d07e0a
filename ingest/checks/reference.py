"""Coordinate system of a file: its own statement, compared with where the city lies.

A number pair has a place in every system. The one that puts the features inside the city's outline is most likely
meant; so a missing system is found, and a wrong one, swapped axes, a wrong zone or a wrong unit are noticed.
Systems that differ by the datum alone (some 200 m) cannot be distinguished in this way, and the answer mentions it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS

from ingest.checks.systems import meant
from layers.theme import METRES_PER_DEGREE
from twin.city import City
from twin.crs import parse_crs, transform, usable_crs
from twin.text import Text

Floats = npt.NDArray[np.float64]

WEB_MERCATOR = 3857
# A system fits when this share of the features lies in the city.
FITS = 0.8
# Below this share inside, a stated system is doubted if another fits.
DOUBTED = 0.5
# A stated system is also doubted when another one puts so many more features inside.
CLEARLY_BETTER = 0.05
# Systems whose readings lie nearer to each other than this, in metres, cannot be distinguished by the outline.
SAME_PLACE = 400.0
SAMPLE = 2000


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the file's numbers: a system, the order of the axes, and how they are scaled and moved."""

    crs: Any
    title: Text
    swapped: bool = False
    unit: str = ""

    @property
    def code(self) -> str:
        """The system's code, or its name if it has none."""
        code = self.crs.to_epsg()
        return f"EPSG:{code}" if code else str(self.crs.name)

    @property
    def treatment(self) -> Text | None:
        """What is done to the numbers first, if anything."""
        wording = [Text(en="axes swapped", vi="đảo trục")] if self.swapped else []
        wording += [UNITS[self.unit]] if self.unit else []
        return Text(en=", ".join(t.en for t in wording), vi=", ".join(t.vi for t in wording)) if wording else None

    @property
    def name(self) -> Text:
        """The system's code and what is done to the numbers first."""
        more = self.treatment
        return Text(en=f"{self.code}, {more.en}", vi=f"{self.code}, {more.vi}") if more else Text(self.code, self.code)

    @property
    def is_plain(self) -> bool:
        """Whether the numbers are taken as they are."""
        return not self.swapped and not self.unit

    def numbers(self, coordinates: Floats) -> Floats:
        """Bring the file's numbers to x, y of the system."""
        xy = coordinates[:, ::-1] if self.swapped else coordinates
        if self.unit == "km":
            return xy * 1000.0
        if self.unit == "prefix":
            return np.column_stack([np.mod(xy[:, 0], 1e6), xy[:, 1]])
        if self.unit == "easting":
            shifted: npt.NDArray[np.float64] = xy + np.array([500_000.0, 0.0])
            return shifted
        return xy

    def place(self, coordinates: Floats) -> Floats:
        """Return longitudes and latitudes of the file's numbers."""
        return transform(self.numbers(coordinates), self.crs)

    def straighten(self, shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
        """Bring geometries of the file to x, y of the system."""
        if self.is_plain:
            return shapes
        flat: npt.NDArray[np.object_] = shapely.transform(shapely.force_2d(shapes), self.numbers)
        return flat


UNITS = {
    "km": Text(en="kilometres taken for metres", vi="ki-lô-mét thay vì mét"),
    "prefix": Text(en="zone number before the easting", vi="số múi đứng trước hoành độ"),
    "easting": Text(en="false easting of 500 km left out", vi="thiếu 500 km dịch hoành độ"),
}


@dataclass(frozen=True, slots=True)
class Fit:
    """Fit of a reading: the share of the features that it puts inside the city, and how far from the reading
    that the file states (or that is chosen) it puts them, in metres.
    """

    reading: Reading
    inside: float
    shift: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The decision: how the numbers are read, why, what else would fit, and what is the matter, if anything."""

    reading: Reading
    reason: Text
    fits: tuple[Fit, ...] = ()
    problems: tuple[tuple[str, Text], ...] = ()


@np.errstate(all="ignore")
def decide(coordinates: Floats, stated: Any, reason: Text, city: City, confirmed: bool = False) -> Reference:
    """Decide from some of the file's places (n, 2) and the system that it states, if it does.

    `confirmed`: a person has named the system, so another one is suggested but not insisted on.
    """
    own, doubt = _stated(stated, city) if stated is not None else (None, None)
    decided = _decide(_sample(coordinates), own, reason, city, confirmed)
    if doubt is None or decided.reading.crs != getattr(own, "crs", None):
        return decided
    return replace(decided, problems=(*decided.problems, ("crs.doubtful", doubt)))


def _decide(coordinates: Floats, own: Reading | None, reason: Text, city: City, confirmed: bool) -> Reference:
    if not len(coordinates):
        return Reference(own or _known(city)[0], reason)
    if own is not None and (inside := _inside(_place(own, coordinates), city)) >= 1 - CLEARLY_BETTER:
        # None of the others could be clearly better: they need not be tried.
        return Reference(own, reason, (Fit(own, inside, 0.0),))
    fits = _fits(coordinates, own, city)
    if own is None:
        return _missing(fits, city)
    best, mine = fits[0], next(fit for fit in fits if fit.reading == own)
    fits_reported, detail = _reported(fits), _compared(mine, best)
    better = best.inside - mine.inside >= CLEARLY_BETTER and best.inside >= FITS
    if not better:
        return Reference(own, reason, fits_reported)
    known = any(reading.crs == own.crs for reading in _known(city))
    if known and mine.inside == 0 and best.reading.crs == own.crs:
        # The system is the one stated: only the order or the size of its numbers is not.
        return Reference(best.reading, _position(best), fits_reported, ((_treated(best.reading), detail),))
    if known and _impossible(own, coordinates):
        code = _treated(best.reading) if best.reading.crs == own.crs else "crs.impossible"
        return Reference(best.reading, _position(best), fits_reported, ((code, detail),))
    if mine.inside < DOUBTED and not confirmed:
        return Reference(best.reading, _position(best), fits_reported, (("crs.wrong", detail),))
    return Reference(own, reason, fits_reported, (("crs.doubtful", detail),))


def _missing(fits: list[Fit], city: City) -> Reference:
    best = fits[0]
    if best.inside < DOUBTED:
        nearest = Text(
            en="the best of those tried, {name}, puts {share:.0%} inside",
            vi="hệ khá nhất đã thử, {name}, chỉ đưa {share:.0%} vào trong",
        ).format(name=best.reading.name, share=best.inside)
        return Reference(_known(city)[0], nearest, _reported(fits), (("crs.unknown", nearest),))
    rivals = [fit for fit in fits[1:] if fit.inside >= max(FITS, best.inside - 0.02) and _alike(fit, best)]
    reason = _position(best)
    problems = [("crs.missing", reason)]
    if not best.reading.is_plain:
        problems.append((_treated(best.reading), reason))
    if rivals:
        named = [(fit.reading.code, distance(fit.shift)) for fit in rivals[:3]]
        others = Text(
            en=", ".join(f"{code} ({shift.en})" for code, shift in named),
            vi=", ".join(f"{code} ({shift.vi})" for code, shift in named),
        )
        wording = Text(
            en="{best} is taken; as many features lie in the city by {others}",
            vi="đã chọn {best}; các hệ sau cũng đưa số đối tượng như vậy vào thành phố: {others}",
        ).format(best=best.reading.code, others=others)
        if any(fit.shift > SAME_PLACE for fit in rivals):
            problems.append(("crs.doubtful", wording))
        else:
            problems[0] = ("crs.missing", wording)
    return Reference(best.reading, reason, _reported(fits), tuple(problems))


def distance(metres: float) -> Text:
    """Write a distance as people do."""
    written = Text("{m:,.0f} m", "{m:,.0f} m") if metres < 2000 else Text("{km:,.0f} km", "{km:,.0f} km")
    return written.format(m=metres, km=metres / 1000)


def _alike(one: Fit, other: Fit) -> bool:
    return (one.reading.swapped, one.reading.unit) == (other.reading.swapped, other.reading.unit)


def _treated(reading: Reading) -> str:
    return "crs.swapped" if reading.swapped else "crs.units"


def _position(fit: Fit) -> Text:
    return Text(
        en="by position: {name} puts {share:.0%} of the features inside the city",
        vi="theo vị trí: {name} đưa {share:.0%} đối tượng vào trong thành phố",
    ).format(name=fit.reading.name, share=fit.inside)


def _compared(mine: Fit, best: Fit) -> Text:
    wording = Text(
        en="read as {mine}, {a:.0%} lie in the city; as {best}, {b:.0%}",
        vi="đọc theo {mine}: {a:.0%} nằm trong thành phố; theo {best}: {b:.0%}",
    ).format(mine=mine.reading.name, best=best.reading.name, a=mine.inside, b=best.inside)
    if not np.isfinite(best.shift):
        return wording
    return Text(en="{wording}; the two are {shift} apart", vi="{wording}; hai cách lệch nhau {shift}").format(
        wording=wording, shift=distance(best.shift)
    )


def _reported(fits: list[Fit]) -> tuple[Fit, ...]:
    return tuple(fit for fit in fits if fit.inside > 0)[:6]


# Candidates ----------------------------------------------------------------------------------------------------------


def _sample(coordinates: Floats) -> Floats:
    sound = coordinates[np.isfinite(coordinates).all(axis=1)]
    return sound[:: max(1, len(sound) // SAMPLE)]


def _known(city: City) -> list[Reading]:
    known = [Reading(parse_crs(c.code), c.title) for c in city.crs]
    return [*known, Reading(parse_crs(WEB_MERCATOR), Text("Web Mercator", "Web Mercator"))]


def _stated(stated: Any, city: City) -> tuple[Reading | None, Text | None]:
    """Return the reading of a stated system, and what is doubtful about it; None of one that no place can be computed
    from.
    """
    known = _known(city)
    usable = usable_crs(parse_crs(stated))
    if usable is None:
        return None, None
    crs, doubt = meant(usable, [reading.crs for reading in known])
    reading = next((reading for reading in known if reading.crs == crs), None)
    return reading or Reading(crs, Text(en=crs.name, vi=crs.name)), doubt


def _readings(own: Reading | None, city: City) -> Iterator[Reading]:
    systems = _known(city)
    if own is not None:
        systems = [own, *(r for r in systems if r != own)]
    yield from systems
    for r in systems:
        yield Reading(r.crs, r.title, swapped=True)
    for r in systems:
        if r.crs.is_projected:
            for unit in UNITS:
                yield Reading(r.crs, r.title, unit=unit)
                yield Reading(r.crs, r.title, swapped=True, unit=unit)


def _fits(coordinates: Floats, own: Reading | None, city: City) -> list[Fit]:
    """Return all readings, the best first: most inside, then plainest, then stated, then the city's own order."""
    readings = list(_readings(own, city))
    places = [_place(reading, coordinates) for reading in readings]
    inside = [_inside(place, city) for place in places]
    order = sorted(range(len(readings)), key=lambda i: (-inside[i], i))
    base = places[0] if own is not None else places[order[0]]
    return [Fit(readings[i], inside[i], _shift(base, places[i])) for i in order]


def _inside(place: Floats, city: City) -> float:
    """Return the share of places that lie in the city."""
    shapely.prepare(city.outline)
    return float(np.mean(shapely.contains_xy(city.outline, place[:, 0], place[:, 1])))


def _place(reading: Reading, coordinates: Floats) -> Floats:
    crs: CRS = reading.crs
    numbers = reading.numbers(coordinates)
    if crs.is_geographic and _beyond_degrees(numbers):
        return np.full_like(coordinates, np.inf)
    return transform(numbers, crs)


def _beyond_degrees(numbers: Floats) -> bool:
    x, y = np.abs(np.median(numbers, axis=0))
    return bool(x > 360 or y > 90)


def _impossible(own: Reading, coordinates: Floats) -> bool:
    return bool(own.crs.is_geographic and _beyond_degrees(coordinates))


def _shift(one: Floats, other: Floats) -> float:
    sound = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if not sound.any():
        return np.inf
    east, north = (one[sound] - other[sound]).T
    gap = np.hypot(east * np.cos(np.radians(other[sound, 1])), north)
    return float(np.median(gap)) * METRES_PER_DEGREE
