"""The values of a raster at points."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from layers.registry import theme
from tests.rasters.conftest import (
    CODES,
    COVER,
    GROUND,
    NORTH,
    SIZE,
    VN_NORTH,
    VN_SIZE,
    VN_WEST,
    WEST,
    slope,
)
from tests.test_raster_publish import classes
from twin.crs import transform


def test_values_at_points_are_those_of_the_pixels_they_lie_in(http: httpx.Client) -> None:
    rng = np.random.default_rng(5)
    rows, columns = rng.integers(0, 90, 60), rng.integers(0, 120, 60)
    places = transform(np.column_stack([WEST + (columns + 0.3) * SIZE, NORTH - (rows + 0.7) * SIZE]), 32648)
    wkt = "MULTIPOINT(" + ",".join(f"({x!r} {y!r})" for x, y in places.tolist()) + ")"
    told = http.get(f"/collections/{COVER}/position", params={"coords": wkt, "lang": "vi"})
    assert told.headers["content-type"] == "application/geo+json"
    features = told.json()["features"]
    for feature, row, column in zip(features, rows, columns, strict=True):
        code, said = int(classes()[row, column]), feature["properties"]
        assert said["value"] == (CODES[code] if code else None)
        assert said["label"] == (
            theme("land_cover").by_name["cover"].vocabulary[CODES[code]].title.vi if code else None
        )
    assert told.json()["version"] == 2 and told.json()["title"] == "Lớp phủ"
    as_coverage = http.get(f"/collections/{COVER}/position", params={"coords": wkt, "f": "covjson"}).json()
    assert as_coverage["domain"]["domainType"] == "MultiPoint"
    assert [v or 0 for v in as_coverage["ranges"]["cover"]["values"]] == [int(v) for v in classes()[rows, columns]]
    assert as_coverage["parameters"]["cover"]["categoryEncoding"]["built"] == [7]


def test_a_height_in_vn2000_is_told_with_its_unit(http: httpx.Client) -> None:
    lng, lat = transform(np.array([[VN_WEST + 50.5 * VN_SIZE, VN_NORTH - 10.5 * VN_SIZE]]), 9210)[0]
    ask = {"coords": f"POINT({lng} {lat})", "lang": "vi"}
    told = http.get(f"/collections/{GROUND}/position", params=ask).json()["features"][0]["properties"]
    assert told["value"] == pytest.approx(float(slope()[10, 50]), rel=1e-6) and told["unit"] == "m"
    assert told["label"] == f"{round(float(slope()[10, 50]), 2)} m".replace(".", ",")
    one = http.get(f"/collections/{GROUND}/position", params=ask | {"f": "covjson"}).json()
    assert one["domain"]["domainType"] == "Point" and one["ranges"]["elevation"]["values"] == [told["value"]]
    assert one["parameters"]["elevation"]["unit"]["symbol"]["value"] == "m"


def test_values_name_their_version_and_where_there_is_nothing_is_null(http: httpx.Client) -> None:
    path, here = f"/collections/{COVER}/position", "POINT(106.6595 10.7675)"
    old = http.get(path, params={"coords": here, "version": 1})
    assert old.json()["version"] == 1 and "immutable" in old.headers["cache-control"]
    assert http.get(path, params={"coords": here, "asOf": "2999-01-01"}).json()["version"] == 2
    assert http.get(path, params={"coords": here, "asOf": "2001-01-01"}).status_code == 404
    nothing = f"MULTIPOINT((0 0),(106.9 10.7),({transform_corner()}),(180 90),(-180 -90))"
    for form in ("json", "covjson"):
        answer = http.get(path, params={"coords": nothing, "f": form})
        assert answer.status_code == 200
        values = (
            [f["properties"]["value"] for f in answer.json()["features"]] if form == "json"
            else answer.json()["ranges"]["cover"]["values"]
        )  # fmt: skip
        assert values == [None] * 5


def transform_corner() -> str:
    """A place in the corner of the raster that has no data."""
    x, y = transform(np.array([[WEST + 3 * SIZE, NORTH - 3 * SIZE]]), 32648)[0]
    return f"{x} {y}"


MANY = "MULTIPOINT(" + ",".join(["(106.7 10.7)"] * 1001) + ")"


@pytest.mark.parametrize(
    "coords",
    ["", "POINT EMPTY", "POINT(nan nan)", "POINT(106.7)", "POINT(inf 0)", "POINT(1e400 0)", "POINT(200 10)", MANY,
     "LINESTRING(0 0,1 1)", "MULTIPOINT EMPTY", "MULTIPOINT((1 1),EMPTY)", "POINT(106.7 10.8", "\x00", "x" * 62_000,
     "GEOMETRYCOLLECTION(POINT(1 1))"],
)  # fmt: skip
def test_points_that_make_no_sense_are_refused(http: httpx.Client, coords: str) -> None:
    answer = http.get(f"/collections/{COVER}/position", params={"coords": coords})
    assert answer.status_code == 400 and "MULTIPOINT" in answer.json()["detail"]
    assert http.get(f"/collections/{COVER}/position").status_code == 400
    assert http.get(f"/collections/{COVER}/position", params={"coords": "POINT(1 1)", "path": "x"}).status_code == 400
