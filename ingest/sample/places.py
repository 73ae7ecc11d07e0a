"""Places with names: quarters, offices, markets, pagodas, stations; schools; hospitals and clinics."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ingest.sample.fabric import Fabric, distance_to_core
from ingest.sample.names import BIRDS, HOUSES, OLD_WORDS, PLACES, TREES, VIRTUES, pick
from ingest.sample.plane import Floats
from ingest.sample.shapes import Integers, centers, spaced
from ingest.sample.transit import Transit
from ingest.sample.wards import Wards

HOMES = ("dense", "rows", "villas")


class PlaceList:
    """Collects places of one layer and tile; points in the tile's metres."""

    def __init__(self, fabric: Fabric, letter: str) -> None:
        self.fabric, self.letter = fabric, letter
        self.xy: list[Floats] = []
        self.names: list[str] = []
        self.kinds: list[str] = []

    def add(self, kind: str, xy: Floats, names: list[str]) -> None:
        """Add places of one kind."""
        self.xy.append(np.asarray(xy, dtype=np.float64).reshape(-1, 2))
        self.names += names
        self.kinds += [kind] * len(names)

    def frame(self) -> gpd.GeoDataFrame:
        """Return the layer of this tile, EPSG:4326, each place with the street it lies on."""
        fabric, tile = self.fabric, self.fabric.tile
        points = shapely.points(np.vstack(self.xy))
        named = np.flatnonzero(np.isin(fabric.streets.road_class, ("primary", "secondary", "tertiary", "residential")))
        matched, near = shapely.STRtree(fabric.streets.geometry[named]).query_nearest(points, all_matches=False)
        street = np.zeros(len(points), dtype=np.int64)
        street[matched] = named[near]
        number = (shapely.line_locate_point(fabric.streets.geometry[street], points) / 4.2).astype(np.int64) + 1
        address = [f"{n} {fabric.street_names[s]}" for n, s in zip(number, street, strict=True)]
        return gpd.GeoDataFrame(
            {
                "id": [f"{self.letter}{tile.index}-{i}" for i in range(len(points))],
                "name": pd.array(self.names, dtype="str"),
                "kind": pd.array(self.kinds, dtype="str"),
                "address": pd.array(address, dtype="str"),
            },
            geometry=tile.degrees(points),
            crs="EPSG:4326",
        )


def _at(fabric: Fabric, index: Integers) -> Floats:
    points = shapely.point_on_surface(fabric.blocks.area[index])
    return np.column_stack([shapely.get_x(points), shapely.get_y(points)])


def _of(fabric: Fabric, kind: str) -> Integers:
    return np.flatnonzero(fabric.blocks.kind == kind)


def place_frame(fabric: Fabric, wards: Wards, transit: Transit) -> gpd.GeoDataFrame:
    """Quarters, authorities, markets, places of worship, museums, parks, stations, sights, hotels and fuel."""
    rng = fabric.tile.rng("places")
    found = PlaceList(fabric, "p")
    blocks = fabric.blocks

    # Two or three quarters a ward, named with old words as people do.
    inhabited = np.flatnonzero(~np.isin(blocks.kind, ("farm", "wetland", "park", "vacant")))
    quarters = spaced(centers(blocks.area), rng.permutation(inhabited), 0.16 * fabric.tile.side, 30)
    found.add("quarter", _at(fabric, quarters), [f"Khu {n}" for n in pick(OLD_WORDS, len(quarters), rng)])

    offices = _of(fabric, "office")
    ward = wards.of(_at(fabric, offices)) if len(offices) else np.zeros(0, dtype=np.int64)
    _, first = np.unique(ward, return_index=True)
    seats = {int(ward[i]): _at(fabric, offices[[i]])[0] for i in first}
    inside = shapely.point_on_surface(wards.area)
    for w, name in enumerate(wards.names):
        seat = seats.get(w, np.array([inside[w].x, inside[w].y]))
        found.add("government", seat, [f"Ủy ban nhân dân phường {name}"])
    others = np.setdiff1d(np.arange(len(offices)), first)
    found.add("government", _at(fabric, offices[others]),
              [f"Trụ sở khu phố {n}" for n in pick(VIRTUES, len(others), rng)])  # fmt: skip

    for kind, block, form, words in (
        ("market", "market", "Chợ {}", OLD_WORDS),
        ("worship", "pagoda", "Chùa {}", ("Liên Hoa", "Bửu Long", "Phước Viên", "Thiền Lâm", "Linh Sơn", "Từ Quang",
                                          "Pháp Vân", "Huệ Giác", "An Lạc", "Viên Giác", "Kim Liên", "Bảo Tịnh")),
        ("worship", "church", "Nhà thờ {}", ("Bến Sen", "Gò Mai", "Vườn Cau", "Giồng Cát", "Xóm Chiếu")),
        ("museum", "museum", "Bảo tàng {}", ("Sông nước", "Làng nghề", "Đô thị", "Áo dài xưa", "Ghe thuyền")),
        ("station", "terminal", "Bến xe {}", PLACES),
    ):  # fmt: skip
        index = _of(fabric, block)
        found.add(kind, _at(fabric, index), [form.format(n) for n in pick(words, len(index), rng)])

    parks = np.flatnonzero((blocks.kind == "park") & (shapely.area(blocks.area) > 5_000))
    found.add("park", _at(fabric, parks), [f"Công viên {n}" for n in pick(TREES, len(parks), rng)])
    for stop_mode, form in (("metro", "Ga {}"), ("ferry", "Bến tàu {}")):
        mine = transit.stop_mode == stop_mode
        found.add(
            "station",
            transit.stop_xy[mine],
            [form.format(n.split(" ", 1)[1]) for n in transit.stop_names[mine]],
        )

    x, y = fabric.water.bend
    found.add("sight", np.array([[x - 0.03 * fabric.tile.side, y]]), [f"Bến Bạch Vân, sông {fabric.river_name}"])
    center = np.flatnonzero(np.isin(blocks.kind, ("center", "mixed")))
    hotels = spaced(centers(blocks.area), rng.permutation(center), 230.0, 24)
    found.add("hotel", _at(fabric, hotels), [f"Khách sạn {n}" for n in pick(HOUSES, len(hotels), rng)])
    pumps = spaced(centers(blocks.area), rng.permutation(inhabited), 900.0, 22)
    found.add("fuel", _at(fabric, pumps) + 12.0, [f"Trạm xăng dầu số {i + 1}" for i in range(len(pumps))])
    return found.frame()


def school_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Schools, universities and kindergartens."""
    rng = fabric.tile.rng("schools")
    found = PlaceList(fabric, "s")
    schools = _of(fabric, "school")
    grade = rng.choice(["Tiểu học", "Tiểu học", "THCS", "THCS", "THPT"], len(schools))
    names = pick((*TREES, *VIRTUES), len(schools), rng)
    found.add("school", _at(fabric, schools), [f"Trường {g} {n}" for g, n in zip(grade, names, strict=True)])
    universities = _of(fabric, "university")
    found.add("university", _at(fabric, universities),
              [f"Trường Đại học {n}" for n in pick(PLACES, len(universities), rng)])  # fmt: skip
    homes = np.flatnonzero(np.isin(fabric.blocks.kind, (*HOMES, "towers")))
    nurseries = spaced(centers(fabric.blocks.area), rng.permutation(homes), 430.0)
    found.add("kindergarten", _at(fabric, nurseries),
              [f"Trường Mầm non {n}" for n in pick((*BIRDS, *TREES), len(nurseries), rng)])  # fmt: skip
    return found.frame()


def clinic_frame(fabric: Fabric, wards: Wards) -> gpd.GeoDataFrame:
    """Hospitals, a health station in each ward, and clinics."""
    rng = fabric.tile.rng("clinics")
    found = PlaceList(fabric, "h")
    hospitals = _of(fabric, "hospital")
    names = pick(VIRTUES, len(hospitals), rng)
    found.add("hospital", _at(fabric, hospitals), [f"Bệnh viện {n}" for n in names])
    homes = np.flatnonzero(np.isin(fabric.blocks.kind, (*HOMES, "towers", "center", "mixed")))
    at = _at(fabric, homes)
    ward = wards.of(at)
    inside = shapely.point_on_surface(wards.area)
    for w, name in enumerate(wards.names):
        mine = np.flatnonzero(ward == w)
        seat = at[rng.choice(mine)] if len(mine) else np.array([inside[w].x, inside[w].y])
        found.add("clinic", seat, [f"Trạm y tế phường {name}"])
    near = rng.permutation(
        np.argsort(distance_to_core(fabric, fabric.blocks.area[homes]))[: max(1, 2 * len(homes) // 3)]
    )
    clinics = spaced(at, near, 620.0, 36)
    found.add(
        "clinic",
        at[clinics],
        [f"Phòng khám đa khoa {n}" for n in pick((*VIRTUES, *TREES), len(clinics), rng)],
    )
    return found.frame()
