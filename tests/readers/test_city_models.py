"""City models: buildings become footprints with heights, and keep their solids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import CRS

from ingest.readers.citymodel import horizontal_crs
from ingest.readers.limits import LimitExceeded, Limits
from ingest.readers.opening import open_file
from ingest.readers.solids import solids_to_wgs84
from ingest.readers.source import ReadOptions
from tests.readers.files import problems, read
from twin.crs import transform

# A house of 10 by 8 metres with eaves at 6 and a ridge at 9; its roof stands out by half a metre.
GROUND = [[0, 0, 0], [0, 8, 0], [10, 8, 0], [10, 0, 0]]
ROOF = [
    [[-0.5, -0.5, 6], [10.5, -0.5, 6], [10.5, 4, 9], [-0.5, 4, 9]],
    [[-0.5, 8.5, 6], [-0.5, 4, 9], [10.5, 4, 9], [10.5, 8.5, 6]],
]
WALLS = [
    [[0, 0, 0], [10, 0, 0], [10, 0, 6], [0, 0, 6]],
    [[10, 0, 0], [10, 8, 0], [10, 8, 6], [10, 4, 9], [10, 0, 6]],
    [[10, 8, 0], [0, 8, 0], [0, 8, 6], [10, 8, 6]],
    [[0, 8, 0], [0, 0, 0], [0, 0, 6], [0, 4, 9], [0, 8, 6]],
]
ORIGIN = np.array([603_000.0, 1_191_000.0, 2.0])
PLAN = shapely.box(603_000, 1_191_000, 603_010, 1_191_008)


def cityjson(path: Path, objects: dict[str, Any], vertices: list[Any], reference: str | None = None) -> Path:
    document = {
        "type": "CityJSON", "version": "2.0", "CityObjects": objects, "vertices": vertices,
        "transform": {"scale": [0.01, 0.01, 0.01], "translate": ORIGIN.tolist()},
    }  # fmt: skip
    if reference:
        document["metadata"] = {"referenceSystem": reference}
    path.write_text(json.dumps(document))
    return path


def house() -> tuple[dict[str, Any], list[list[int]]]:
    """The house as a solid with named surfaces: its geometry and its vertices in hundredths."""
    faces = [GROUND, *ROOF, *WALLS]
    vertices = [[round(c * 100) for c in v] for face in faces for v in face]
    numbers = iter(range(len(vertices)))
    shell = [[[next(numbers) for _ in face]] for face in faces]
    semantics = {
        "surfaces": [{"type": "GroundSurface"}, {"type": "RoofSurface"}, {"type": "WallSurface"}],
        "values": [[0, 1, 1, 2, 2, 2, 2]],
    }
    return {"type": "Solid", "lod": "2", "boundaries": [shell], "semantics": semantics}, vertices


def citygml(path: Path, members: str, version: str = "2.0", reference: str = "EPSG:3405", head: bool = True) -> Path:
    gml = "http://www.opengis.net/gml/3.2" if version == "3.0" else "http://www.opengis.net/gml"
    envelope = f'<gml:boundedBy><gml:Envelope srsName="{reference}" srsDimension="3"/></gml:boundedBy>' if head else ""
    path.write_text(
        f'<?xml version="1.0"?><CityModel xmlns="http://www.opengis.net/citygml/{version}" xmlns:gml="{gml}" '
        f'xmlns:b="http://www.opengis.net/citygml/building/{version}" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'xmlns:con="http://www.opengis.net/citygml/construction/{version}" '
        f'xmlns:gen="http://www.opengis.net/citygml/generics/{version}">{envelope}{members}</CityModel>',
        "utf-8",
    )
    return path


def polygon(face: list[list[float]], name: str = "", origin: np.ndarray = ORIGIN, turned: bool = False) -> str:
    points = np.array([*face, face[0]], dtype=float) + origin
    if turned:
        points = points[:, [1, 0, 2]]
    numbers = " ".join(f"{v:.9f}" for v in points.ravel())
    return (
        f"<gml:surfaceMember><gml:Polygon{f' gml:id={chr(34)}{name}{chr(34)}' if name else ''}><gml:exterior><gml:LinearRing>"
        f"<gml:posList>{numbers}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember>"
    )


def surfaces(kind: str, faces: list[Any], prefix: str) -> str:
    members = "".join(polygon(face, f"{prefix}{i}") for i, face in enumerate(faces))
    return (
        f"<b:boundedBy><b:{kind}><b:lod2MultiSurface><gml:MultiSurface>{members}</gml:MultiSurface></b:lod2MultiSurface>"
        f"</b:{kind}></b:boundedBy>"
    )


HOUSE_2 = (
    '<cityObjectMember><b:Building gml:id="nhà-1"><gml:name>Nhà</gml:name><gen:stringAttribute name="Chủ sở hữu">'
    "<gen:value>Bà Ba</gen:value></gen:stringAttribute><b:roofType>1030</b:roofType><b:measuredHeight uom='m'>9.2"
    "</b:measuredHeight><b:storeysAboveGround>2</b:storeysAboveGround><b:lod2Solid><gml:Solid><gml:exterior>"
    "<gml:CompositeSurface>"
    + "".join(f'<gml:surfaceMember xlink:href="#{n}"/>' for n in ("g0", "r0", "r1", "w0", "w1", "w2", "w3"))
    + "</gml:CompositeSurface></gml:exterior></gml:Solid></b:lod2Solid>"
    + surfaces("GroundSurface", [GROUND], "g") + surfaces("RoofSurface", ROOF, "r") + surfaces("WallSurface", WALLS, "w")
    + "</b:Building></cityObjectMember>"
)  # fmt: skip


def test_a_house_in_cityjson_and_in_citygml_is_the_same_house(tmp_path: Path) -> None:
    geometry, vertices = house()
    attributes = {"measuredHeight": 9.2, "storeysAboveGround": 2, "roofType": "1030", "Chủ sở hữu": "Bà Ba"}
    thing = {"type": "Building", "attributes": attributes, "geometry": [geometry]}
    json_file = cityjson(
        tmp_path / "a.city.json", {"nhà-1": thing}, vertices, "https://www.opengis.net/def/crs/EPSG/0/3405"
    )
    for file in (json_file, citygml(tmp_path / "a.gml", HOUSE_2)):
        reader, rows = read(file)
        row = rows.iloc[0]
        assert (row["id"], row["object_type"], row["height"], row["levels"]) == ("nhà-1", "Building", 9.2, 2)
        assert (row["roof_type"], row["base_height"], row["lod"], row["Chủ sở hữu"]) == ("1030", 2.0, 2.0, "Bà Ba")
        assert CRS.from_user_input(reader.crs).to_epsg() == 3405
        # The footprint is the ground, not the roof that stands out over it.
        assert row.geometry.symmetric_difference(PLAN).area < 1e-6
        solid = shapely.from_wkb(row["solid"])
        assert solid.geom_type == "MultiPolygon"
        assert len(solid.geoms) == 7
        assert solid.has_z
        assert shapely.get_coordinates(solid, include_z=True)[:, 2].max() == pytest.approx(11)
        assert reader.solids == ("solid",)


def test_a_block_without_named_surfaces_stands_on_its_outline(tmp_path: Path) -> None:
    block = [GROUND, [[x, y, 6] for x, y, _ in reversed(GROUND)], *[w[:4] for w in WALLS[::2]]]
    members = "".join(polygon(face) for face in block)
    building = (
        f"<cityObjectMember><b:Building gml:id='a'><b:lod1Solid><gml:Solid><gml:exterior><gml:CompositeSurface>{members}"
        "</gml:CompositeSurface></gml:exterior></gml:Solid></b:lod1Solid></b:Building></cityObjectMember>"
    )
    _, rows = read(citygml(tmp_path / "a.gml", building, "1.0", head=False))
    assert rows.geometry[0].symmetric_difference(PLAN).area < 1e-6
    assert (rows["height"][0], rows["lod"][0]) == (6.0, 1.0)


def test_parts_belong_to_their_building(tmp_path: Path) -> None:
    beside = [[x + 10, y, z] for x, y, z in GROUND]
    part = (
        "<b:consistsOfBuildingPart><b:BuildingPart gml:id='{0}'><b:roofType>1000</b:roofType><b:lod1MultiSurface>"
        "<gml:MultiSurface>{1}</gml:MultiSurface></b:lod1MultiSurface></b:BuildingPart></b:consistsOfBuildingPart>"
    )
    parts = part.format("p1", polygon(GROUND)) + part.format("p2", polygon(beside))
    _, rows = read(
        citygml(tmp_path / "a.gml", f"<cityObjectMember><b:Building gml:id='a'>{parts}</b:Building></cityObjectMember>")
    )
    assert len(rows) == 1
    assert rows.geometry[0].area == pytest.approx(160)
    assert [p["id"] for p in json.loads(rows["parts"][0])] == ["p1", "p2"]

    corners = [[int(c * 100) for c in v] for v in (*GROUND, *beside)]
    objects = {
        "a": {"type": "Building", "children": ["p1", "p2"], "attributes": {"class": "BB01"}},
        "p1": {"type": "BuildingPart", "parents": ["a"], "attributes": {"x": 1},
               "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2, 3]]]}]},
        "p2": {"type": "BuildingPart", "parents": ["a"],
               "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": [[[4, 5, 6, 7]]]}]},
    }  # fmt: skip
    _, rows = read(cityjson(tmp_path / "a.city.json", objects, corners))
    assert (len(rows), rows.geometry[0].area, rows["class"][0]) == (1, pytest.approx(160), "BB01")
    assert json.loads(rows["parts"][0])[0]["attributes"] == {"x": 1}


def test_latitude_first_is_turned_round_for_geographic_systems(tmp_path: Path) -> None:
    small = [[x / 100_000, y / 100_000, z] for x, y, z in GROUND]
    origin = np.array([106.7, 10.77, 0])
    for reference in ("http://www.opengis.net/def/crs/EPSG/0/6697", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326"):
        building = (
            f"<cityObjectMember><b:Building gml:id='a'><b:lod0FootPrint><gml:MultiSurface>{polygon(small, '', origin, True)}"
            "</gml:MultiSurface></b:lod0FootPrint></b:Building></cityObjectMember>"
        )
        reader, rows = read(citygml(tmp_path / "a.gml", building, reference=reference))
        assert rows.total_bounds == pytest.approx([106.7, 10.77, 106.7001, 10.77008])
        assert "turned round" in str(reader.crs_reason)
        assert CRS.from_user_input(reader.crs).is_geographic


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("urn:ogc:def:crs,crs:EPSG:6.12:25833,crs:EPSG:6.12:5783", 25833),
        ("urn:ogc:def:crs,crs:EPSG::25833,crs:EPSG::5783", 25833),
        ("https://www.opengis.net/def/crs/EPSG/0/7415", 28992),
        ("http://www.opengis.net/def/crs/EPSG/6.12/3068", 3068),
        ("http://www.opengis.net/gml/srs/epsg.xml#4326", 4326),
        ("urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH", 25832),
        ("EPSG:9210", 9210),
        ("urn:ogc:def:crs:EPSG::999999", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_the_systems_that_models_refer_to_are_known_by_their_number(reference: str | None, code: int | None) -> None:
    found = horizontal_crs(reference)
    assert (found.to_epsg() if found is not None else None) == code


def test_an_unknown_system_is_named_and_left_open(tmp_path: Path) -> None:
    reader, _ = read(citygml(tmp_path / "a.gml", HOUSE_2, reference="LOCAL_CS"))
    assert reader.crs is None
    assert "LOCAL_CS" in str(reader.crs_reason)


def test_other_objects_are_layers_of_the_same_file(tmp_path: Path) -> None:
    corners = [[int(c * 100) for c in v] for v in GROUND]
    flat = [{"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2, 3]]]}]
    objects = {
        "a": {"type": "Building", "attributes": {"n": 1}, "geometry": flat},
        "b": {"type": "Road", "attributes": {"n": "x"}, "geometry": flat},
        "c": {"type": "SolitaryVegetationObject", "geometry": [{"type": "GeometryInstance", "template": 0, "boundaries": [2]}]},
        "d": {"type": "Road"},
    }  # fmt: skip
    file = cityjson(tmp_path / "a.city.json", objects, corners)
    reader, rows = read(file)
    assert (reader.layer, reader.layers, reader.count) == (None, ("Building", "Road", "SolitaryVegetationObject"), 4)
    assert reader.columns["n"] == "text"
    assert [None if g is None else g.geom_type for g in rows.geometry] == ["Polygon", "Polygon", "Point", None]
    roads, rows = read(file, layer="Road")
    assert (roads.count, rows["id"].tolist()) == (2, ["b", "d"])


def test_one_feature_a_line_is_read_line_by_line(tmp_path: Path) -> None:
    geometry, vertices = house()
    head = {"type": "CityJSON", "version": "2.0", "CityObjects": {}, "vertices": [],
            "transform": {"scale": [0.01] * 3, "translate": ORIGIN.tolist()},
            "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/3405"}}  # fmt: skip
    lines = [json.dumps(head)]
    for name in "ab":
        thing = {"type": "Building", "geometry": [geometry]}
        lines.append(
            json.dumps({"type": "CityJSONFeature", "id": name, "CityObjects": {name: thing}, "vertices": vertices})
        )
    (tmp_path / "a.city.jsonl").write_text("\n".join(lines))
    reader, rows = read(tmp_path / "a.city.jsonl", rows=1)
    assert (reader.count, rows["id"].tolist()) == (2, ["a", "b"])
    assert rows.geometry[1].symmetric_difference(PLAN).area < 1e-6


def test_solids_move_to_longitude_and_latitude_with_their_heights(tmp_path: Path) -> None:
    reader, rows = read(citygml(tmp_path / "a.gml", HOUSE_2))
    moved = shapely.from_wkb(solids_to_wgs84(rows["solid"].tolist(), reader.crs))[0]
    before = shapely.get_coordinates(shapely.from_wkb(rows["solid"][0]), include_z=True)
    after = shapely.get_coordinates(moved, include_z=True)
    assert after[:, :2] == pytest.approx(transform(before[:, :2], 3405))
    assert after[:, 2] == pytest.approx(before[:, 2])
    assert solids_to_wgs84([None], 3405)[0] is None


def test_a_model_too_large_to_be_read_whole_is_refused(tmp_path: Path) -> None:
    file = cityjson(tmp_path / "a.city.json", {"a": {"type": "Building", "attributes": {"x": "y" * 5000}}}, [])
    with pytest.raises(LimitExceeded, match="TWIN_LIMIT_DOCUMENT_BYTES"):
        open_file(file, ReadOptions(limits=Limits(document_bytes=2000)))


def test_memory_does_not_grow_with_the_number_of_buildings(tmp_path: Path) -> None:
    import tracemalloc

    def peak(buildings: int) -> int:
        file = citygml(tmp_path / f"{buildings}.gml", HOUSE_2 * buildings)
        tracemalloc.start()
        reader, count = open_file(file), 0
        for batch in reader.batches(20):
            count += len(batch)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == buildings
        return most

    assert peak(700) < peak(100) * 1.6


def test_circles_of_parts_and_of_links_come_to_an_end(tmp_path: Path) -> None:
    objects = {
        "a": {"type": "Building", "children": ["b"]},
        "b": {"type": "BuildingPart", "parents": ["a"], "children": ["b", "c"]},
        "c": {"type": "BuildingPart", "parents": ["b"], "children": ["a", "b"]},
    }
    assert len(read(cityjson(tmp_path / "a.city.json", objects, []))[1]) == 1
    loop = (
        "<cityObjectMember><b:Building gml:id='a'><b:lod1MultiSurface><gml:MultiSurface gml:id='m'><gml:surfaceMember "
        "xlink:href='#m'/></gml:MultiSurface></b:lod1MultiSurface></b:Building></cityObjectMember>"
    )
    _, rows = read(citygml(tmp_path / "a.gml", loop))
    assert rows.geometry[0] is None
    assert problems(rows) == [None]
