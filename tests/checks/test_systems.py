"""A system of the city, whatever way it is written, puts a place where it lies, or the report tells."""

from __future__ import annotations

import re
import warnings
from functools import cache

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from pyproj.enums import WktVersion

from ingest.checks.faults import Faults
from ingest.checks.reference import decide_reference
from ingest.checks.shapes import area_of, check_shapes
from tests.examples import examples
from twin.config import load_settings
from twin.crs import transform, usable_crs
from twin.text import Text

CITY = load_settings().profile
CODES = [system.code for system in CITY.crs]
ZONE = "+proj=tmerc +lat_0=0 +lon_0=105.75 +k=0.9999 +x_0=500000 +y_0=0"
SHIFTS = ["", "+towgs84=-191.90441429,-39.30318279,-111.45032835,0.00928836,-0.01975479,0.00427372,0.252906278",
          "+towgs84=-192.873,-39.382,-111.202,-0.00205,-0.0005,0.00335,0.0188"]  # fmt: skip
NAMES = re.compile(r"VN[-_ ]?2000|Vietnam[_ ]?2000")
WGS = re.compile(r"WGS[ _]84|D_WGS_1984|WGS_1984|World Geodetic System 1984( ensemble)?")
OUR_PLACE = np.array([[106.6936, 10.7684]])


@cache
def forms(code: int) -> tuple[str, ...]:
    """Ways in which programs write a system: each version of WKT, PROJ, JSON; then without codes, shifts, names."""
    crs = CRS.from_epsg(code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            crs.to_json(),
            *(f"{crs.to_proj4()} {shift}" for shift in SHIFTS if shift == "" or "VN-2000" in crs.name),
        ]
        written = [crs.to_wkt(version) for version in WktVersion]
    for wkt in written:
        bare = re.sub(r',\s*(AUTHORITY|ID)\["EPSG",\s*"?\d+"?\]', "", wkt)
        no_shift = re.sub(r",\s*TOWGS84\[[^\]]*\]", "", bare)
        found += [wkt, bare, no_shift]
        for name in ("VN2000 / TP HCM", "local", "unknown", "Custom"):
            found += [NAMES.sub(name, bare), NAMES.sub(name, no_shift)]
            if not name.startswith("VN"):
                found.append(NAMES.sub(name, WGS.sub(name, no_shift)))
    return tuple(dict.fromkeys(found))


@settings(max_examples=examples(180), deadline=None)
@given(data=st.data(), code=st.sampled_from(CODES))
def test_a_system_lands_within_a_decimetre_or_is_told(data: st.DataObject, code: int) -> None:
    written = data.draw(st.sampled_from(forms(code)))
    numbers = transform(OUR_PLACE, 4326, code)
    stated = usable_crs(written)
    reference = decide_reference(np.repeat(numbers, 30, axis=0), stated, Text("", ""), CITY)
    place = reference.reading.place(numbers)
    gap = float(np.hypot(*(place - OUR_PLACE)[0])) * 111_320
    assert gap < 0.1 or reference.problems, (gap, written)


@pytest.mark.parametrize(
    "more", ["+datum=WGS84", "+ellps=WGS84", "+ellps=WGS84 +towgs84=0,0,0,0,0,0,0", "+ellps=GRS80"]
)
def test_a_zone_of_the_city_on_no_datum_or_another_is_told(more: str) -> None:
    numbers = transform(OUR_PLACE, 4326, 9210)
    reference = decide_reference(np.repeat(numbers, 30, axis=0), usable_crs(f"{ZONE} {more}"), Text("", ""), CITY)
    assert reference.reading.code == "EPSG:9210" and [code for code, _ in reference.problems] == ["crs.doubtful"]


def test_what_is_well_stated_is_taken_without_a_word() -> None:
    for stated, code in (("+proj=utm +zone=48 +datum=WGS84", 32648), ("+proj=longlat +datum=WGS84", 4326),
                         ("EPSG:9210+5773", 9210), (f"{ZONE} +ellps=WGS84 {SHIFTS[1]}", 9210)):  # fmt: skip
        numbers = transform(OUR_PLACE, 4326, code)
        reference = decide_reference(np.repeat(numbers, 30, axis=0), usable_crs(stated), Text("", ""), CITY)
        assert (reference.reading.code, reference.problems) == (f"EPSG:{code}", ())


@pytest.mark.parametrize(
    "stated",
    ['LOCAL_CS["Undefined Cartesian SRS",UNIT["metre",1]]', 'ENGCRS["x",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],'
     'AXIS["y",north],LENGTHUNIT["metre",1]]', "EPSG:4978", "+proj=longlat +a=3396190 +b=3376200", "EPSG:5773", "nonsense"],
)  # fmt: skip
def test_a_system_of_no_place_on_the_earth_says_nothing(stated: str) -> None:
    assert usable_crs(stated) is None


def test_what_is_taken_out_of_collections_is_valid_or_set_aside() -> None:
    def box(x: float) -> shapely.Polygon:
        return shapely.box(x, 10.77, x + 0.01, 10.78)

    near = area_of(CITY.outline)
    for kind, shape in (
        ("polygon", shapely.GeometryCollection([box(106.70), box(106.705), shapely.Point(106.7, 10.7)])),
        ("polygon", shapely.MultiPolygon([box(106.7), box(106.7)])),
        ("line", shapely.MultiLineString([[(106.7, 10.7), (106.7, 10.7)], [(106.7, 10.7), (106.8, 10.7)]])),
    ):
        faults = Faults(1)
        checked = check_shapes(np.array([shape], dtype=object), kind, 4326, near, faults)  # type: ignore[arg-type]
        assert faults.none.all() and shapely.is_valid(checked.shapes).all() and checked.mended == 1
