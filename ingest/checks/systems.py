"""Coordinate systems without a code: which of the city's systems one means, whatever way it is written.

Programs write a system by its parameters and often lose the name of the datum or its shift. Read as written, such a
file lies as far off as the datums differ (226 m for VN-2000), and nothing shows it. So a system whose ellipsoid and
projection are those of one of the city's is held against it, and its datum is taken from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.crs import ProjectedCRS
from pyproj.exceptions import CRSError, ProjError

from twin.crs import transform
from twin.text import Text

# Ellipsoids that differ by less than this are one: the inverse flattenings of GRS 80 and WGS 84 differ by 1.5e-6.
_SAME_AXIS, _SAME_FLATTENING = 0.01, 1e-3
# Shifts of a datum that are this near to each other, in metres, are meant as one. Published sets differ by 1 m.
_SAME_SHIFT = 30.0
# Places that are this near to each other, in metres, are one.
SAME_PLACE = 0.1
_DEGREE = np.pi / 180
_METRES_PER_DEGREE = 111_320.0
_WGS_84 = re.compile(r"wgs84|worldgeodeticsystem1984|itrf|itrs|igs|d_wgs_1984|etrs|grs80")
_NAMELESS = re.compile(r"^$|unknown|undefined|unnamed|notspecified|custom|userdefined|local|mapinfo")

Meant = tuple[CRS, Text | None]


def meant(stated: CRS, known: Sequence[CRS]) -> Meant:
    """Return the system that a stated one means, and what to tell people where that is not certain.

    `known` are the systems of the city, its own first. A system that has a code, or another ellipsoid than theirs,
    is returned as it is.
    """
    plain: CRS = stated.source_crs if stated.is_bound and stated.source_crs is not None else stated
    if plain.is_compound:
        plain = plain.sub_crs_list[0]
    shift = _shift_of(stated)
    name = _folded(plain.datum.name if plain.datum else "") + " " + _folded((plain.geodetic_crs or plain).name)
    # PROJ takes a datum called "unknown" for any other one.
    if not _NAMELESS.search(_folded(plain.datum.name if plain.datum else "")):
        for system in known:
            if plain.equals(system, ignore_axis_order=True) and (shift is None or _near(shift, _known_shift(system))):
                return system, None
    if plain.to_authority(min_confidence=100) is not None and shift is None:
        return plain, None
    bases = list(_bases(known))
    alike = [base for base in bases if _same_ellipsoid(plain, base)]
    if not alike or not _is_usual(plain):
        return stated, None
    for base in alike:
        if _is_named(name, base):
            return _on(plain, base, known), None
    if shift is not None:
        moved = [base for base in alike if _near(shift, _known_shift(base))]
        if not moved:
            return stated, None
        if any(_known_shift(moved[0])):
            return _on(plain, moved[0], known), None
        # A shift of nothing is what programs write when nobody has given one.
        name = "wgs84"
    return _by_projection(plain, alike, known, name)


def _by_projection(plain: CRS, alike: list[CRS], known: Sequence[CRS], name: str) -> Meant:
    """Choose the datum by the projection: the city's systems that have the same one, in the city's order."""
    candidates = [on for base in alike if (on := _of_city(_on(plain, base, known), known)) is not None]
    candidates.sort(key=lambda crs: next(i for i, system in enumerate(known) if crs == system))
    if not candidates and (code := plain.to_epsg()) is not None and plain.is_projected:
        # A zone that the city does not have, but of its datum.
        other = CRS.from_epsg(code)
        candidates = [other] if any(other.geodetic_crs == base for base in alike) else []
    wgs = bool(_WGS_84.search(name)) and not _NAMELESS.search(name)
    if not candidates:
        # No zone of the city. With a datum that has a name this is a system of its own.
        if wgs or not _NAMELESS.search(name):
            return plain, None
        return plain, Text(
            en="the file does not name the datum of {name}; it is read as WGS 84, and with another datum it lies up to "
            "some hundred metres elsewhere",
            vi="tệp không ghi hệ quy chiếu (datum) của {name}; được đọc theo WGS 84, nếu là datum khác thì lệch tới "
            "vài trăm mét",
        ).format(name=plain.name)
    if (
        wgs
        and (same := next((c for c in candidates if _WGS_84.search(_folded(c.datum.name if c.datum else None))), None))
        is not None
    ):
        return same, None
    chosen = candidates[0]
    return chosen, Text(
        en="the file writes the projection of {code} ({name}) with the datum “{datum}”; it is read as {code}, and read "
        "as written it lies {shift} elsewhere",
        vi="tệp ghi phép chiếu của {code} ({name}) với datum “{datum}”; được đọc theo {code}, nếu đọc đúng như ghi thì "
        "lệch {shift}",
    ).format(
        code=_code(chosen), name=chosen.name, datum=plain.datum.name if plain.datum else "–",
        shift=f"{_apart(plain, chosen):,.0f} m",
    )  # fmt: skip


def _is_usual(plain: CRS) -> bool:
    """Return whether a system is a projection or plain degrees, with longitudes from Greenwich."""
    from_greenwich = plain.prime_meridian is None or plain.prime_meridian.longitude == 0
    if plain.is_projected:
        return from_greenwich
    return plain.is_geographic and from_greenwich and abs(plain.axis_info[0].unit_conversion_factor - _DEGREE) < 1e-9


def _bases(known: Sequence[CRS]) -> Iterator[CRS]:
    found: list[str] = []
    for system in known:
        base = system.geodetic_crs or system
        if base.name not in found:
            found.append(base.name)
            yield base


def _on(plain: CRS, base: CRS, known: Sequence[CRS]) -> CRS:
    """Return the same projection on another datum; one of the city's systems, if that is what it comes to."""
    if plain.is_projected:
        try:
            built = ProjectedCRS(plain.coordinate_operation, plain.name, plain.coordinate_system, base)
        except (CRSError, ProjError, ValueError):
            return plain
        crs = CRS.from_wkt(built.to_wkt())
    else:
        crs = base
    return _of_city(crs, known) or crs


def _of_city(crs: CRS, known: Sequence[CRS]) -> CRS | None:
    """Return the city's system that puts every number where this one puts it, if there is one."""
    for system in known:
        if crs == system or crs.equals(system, ignore_axis_order=True):
            return system
    for system in known:
        same_kind = system.is_projected == crs.is_projected
        if same_kind and (system.datum == crs.datum) and _apart(crs, system) < SAME_PLACE:
            return system
    return None


def _apart(one: CRS, other: CRS) -> float:
    """Return how far from each other two systems put the same numbers, in metres: the most of some places."""
    if one.is_projected:
        numbers = np.array([[300e3, 900e3], [500e3, 1200e3], [700e3, 1300e3], [48e6, 1200e3]])
    else:
        numbers = np.array([[105.0, 9.0], [107.0, 11.5]])
    try:
        a, b = transform(numbers, one), transform(numbers, other)
    except ProjError:
        return np.inf
    sound = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    if not sound.any():
        return np.inf
    gap = np.abs(a[sound] - b[sound]) * _METRES_PER_DEGREE
    return float(np.hypot(gap[:, 0] * np.cos(np.radians(np.clip(b[sound, 1], -89, 89))), gap[:, 1]).max())


def _code(crs: CRS) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.name)


def _folded(name: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", "", (name or "").lower())


def _is_named(name: str, base: CRS) -> bool:
    """Return whether a datum's name is that of a city's datum, as GDAL, ESRI and EPSG write it."""
    words = {_folded(base.name), _folded(base.datum.name if base.datum else None)}
    if _WGS_84.search(" ".join(words)):
        return False
    # "Vietnam 2000", "D_Vietnam_2000", "VN_2000", "GCS_VN_2000", "VN2000".
    return any(word and word in name for word in words)


def _same_ellipsoid(crs: CRS, base: CRS) -> bool:
    one, other = crs.ellipsoid, base.ellipsoid
    if one is None or other is None:
        return False
    return (
        abs(one.semi_major_metre - other.semi_major_metre) < _SAME_AXIS
        and abs(one.inverse_flattening - other.inverse_flattening) < _SAME_FLATTENING
    )


def _shift_of(stated: CRS) -> tuple[float, ...] | None:
    """Return the shift to WGS 84 that a system carries (TOWGS84), in metres, if it carries one."""
    if not stated.is_bound or stated.coordinate_operation is None:
        return None
    shift = list(stated.coordinate_operation.towgs84)
    return tuple(shift[:3]) if len(shift) >= 3 else None


def _known_shift(system: CRS) -> tuple[float, ...]:
    """Return the shift of a city's datum to WGS 84, in metres, as far as its operation says."""
    base = system.geodetic_crs or system
    name = _folded(base.name)
    if _WGS_84.search(name):
        return (0.0, 0.0, 0.0)
    place = transform(np.array([[106.7, 10.77]]), base)
    return tuple(_geocentric(place[0]) - _geocentric(np.array([106.7, 10.77])))


def _geocentric(place: Any) -> Any:
    longitude, latitude = np.radians(place)
    square = 0.00669437999014
    normal = 6378137.0 / np.sqrt(1 - square * np.sin(latitude) ** 2)
    return np.array([
        normal * np.cos(latitude) * np.cos(longitude), normal * np.cos(latitude) * np.sin(longitude),
        normal * (1 - square) * np.sin(latitude),
    ])  # fmt: skip


def _near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether two shifts move a place in the same way, height left aside: it is lost in two dimensions."""
    up = _geocentric(np.array([106.7, 10.77])) / 6378137.0
    gap = np.array(one) - np.array(other)
    return bool(np.linalg.norm(gap - gap.dot(up) * up / up.dot(up)) < _SAME_SHIFT)
