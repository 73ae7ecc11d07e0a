"""Layers of the ground: water surfaces, centre lines, zoning and land use."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ingest.sample.blocks import RULES
from ingest.sample.fabric import Fabric, distance_to_core
from ingest.sample.names import BIRDS, TREES, VIRTUES, pick
from ingest.sample.plane import Geometries
from ingest.sample.shapes import parts

STOREY = 3.6

LAND = {
    "center": "commercial", "mixed": "commercial", "market": "commercial", "museum": "commercial",
    "office": "commercial", "terminal": "commercial", "industry": "industrial", "wharf": "industrial",
    "park": "park", "sport": "sport", "cemetery": "cemetery", "farm": "farm", "wetland": "forest",
    "vacant": "construction",
}  # fmt: skip


def _frame(fabric: Fabric, letter: str, geometry: Geometries, columns: dict[str, object]) -> gpd.GeoDataFrame:
    ids = [f"{letter}{fabric.tile.index}-{i}" for i in range(len(geometry))]
    return gpd.GeoDataFrame({"id": ids, **columns}, geometry=fabric.tile.degrees(geometry), crs="EPSG:4326")


def water_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Surfaces of river, canals, creeks and ponds."""
    water = fabric.water
    canals = fabric.canal_names
    groups = [(water.river, f"Sông {fabric.river_name}", "river")]
    groups += [(s, f"Kênh {n}", "canal") for s, n in zip(water.canal_surfaces, canals, strict=False)]
    groups += [(s, f"Rạch {n}", "stream") for s, n in
               zip(water.creek_surfaces, canals[len(water.canals):], strict=True)]  # fmt: skip
    lakes = pick(BIRDS, len(fabric.ponds), fabric.tile.rng("lakes"))
    groups += [(p, f"Hồ {n}", "lake" if p.area > 6_000 else "pond") for p, n in zip(fabric.ponds, lakes, strict=True)]
    geometry, source = parts(np.array([g for g, _, _ in groups], dtype=object), 3, 40.0)
    return _frame(fabric, "water", geometry, {
        "name": pd.array([groups[i][1] for i in source], dtype="str"),
        "kind": pd.array([groups[i][2] for i in source], dtype="str"),
    })  # fmt: skip


def waterway_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Centre lines of river, canals and creeks."""
    water, square = fabric.water, fabric.tile.square
    names = fabric.canal_names
    groups = [(water.river_line, f"Sông {fabric.river_name}", "river")]
    groups += [(c, f"Kênh {n}", "canal") for c, n in zip(water.canals, names, strict=False)]
    groups += [(c, f"Rạch {n}", "stream") for c, n in zip(water.creeks, names[len(water.canals) :], strict=True)]
    clipped = np.array([shapely.intersection(g, square) for g, _, _ in groups], dtype=object)
    geometry, source = parts(clipped, 1, 20.0)
    return _frame(fabric, "way", geometry, {
        "name": pd.array([groups[i][1] for i in source], dtype="str"),
        "kind": pd.array([groups[i][2] for i in source], dtype="str"),
    })  # fmt: skip


def zoning_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Planned use of every block, with storeys, floor area ratio and coverage that follow from the use."""
    blocks = fabric.blocks
    rng = fabric.tile.rng("zoning")
    count = len(blocks.area)
    rules = [RULES[k] for k in blocks.kind]
    use = np.array([r[0] for r in rules], dtype=object)
    floors = np.array([r[1] for r in rules])
    far, cover = (np.array([r[k] for r in rules]) for k in (2, 3))
    # The plan allows less the further a block lies from the core, and for undeveloped land foresees more than stands.
    core = distance_to_core(fabric, blocks.area) / fabric.tile.side
    tall = np.isin(blocks.kind, ("center", "mixed", "towers", "vacant"))
    ease = np.where(tall, np.clip(1.12 - 1.1 * core, 0.5, 1.0) * rng.uniform(0.8, 1.0, count), 1.0)
    planned = (blocks.kind == "farm") & (rng.uniform(size=count) < 0.4)
    use[planned] = rng.choice(["residential_high", "mixed", "green"], int(planned.sum()))
    floors, far = (
        np.maximum(np.rint(floors * ease), np.minimum(floors, 1)).astype(np.int64),
        np.round(far * ease, 1),
    )
    floors[planned & (use == "green")], far[planned & (use == "green")], cover[planned & (use == "green")] = (
        1,
        0.1,
        5.0,
    )
    floors[planned & (use != "green")], far[planned & (use != "green")] = 18, 4.5
    banks = len(fabric.banks)
    geometry = np.concatenate([blocks.area, fabric.banks])
    use = np.concatenate([use, np.full(banks, "green", dtype=object)])
    floors = np.concatenate([floors, np.zeros(banks, dtype=np.int64)])
    names = [f"Ô phố {fabric.tile.index + 1}.{q + 1}" for q in blocks.quarter] + ["Hành lang bờ sông, kênh"] * banks
    return _frame(fabric, "z", geometry, {
        "name": pd.array(names, dtype="str"),
        "code": pd.array([f"{u[:2].upper()}-{fabric.tile.index}{i:05d}" for i, u in enumerate(use)], dtype="str"),
        "use": pd.array(use, dtype="str"),
        "max_floors": pd.array(floors, dtype="Int64"),
        "max_height": np.round(floors * STOREY + (floors > 0) * 2.0, 1),
        "max_far": np.concatenate([far, np.zeros(banks)]),
        "max_coverage": np.concatenate([cover, np.zeros(banks)]),
    })  # fmt: skip


def land_use_frame(fabric: Fabric) -> gpd.GeoDataFrame:
    """Return what each block is used for today, with names of parks, sport grounds and cemeteries."""
    blocks = fabric.blocks
    rng = fabric.tile.rng("land use")
    use = np.array([LAND.get(k, "residential") for k in blocks.kind], dtype=object)
    small_green = (blocks.kind == "park") & (shapely.area(blocks.area) < 1_400)
    use[small_green] = "green"
    name = np.full(len(use), None, dtype=object)
    for mask, form, words in (
        (use == "park", "Công viên {}", TREES),
        (use == "sport", "Sân vận động {}", VIRTUES),
        (use == "cemetery", "Nghĩa trang {}", VIRTUES),
        (use == "forest", "Rừng dừa nước {}", BIRDS),
    ):
        name[mask] = [form.format(n) for n in pick(words, int(mask.sum()), rng)]
    # The banks before the centre are promenades; elsewhere grass.
    near = distance_to_core(fabric, fabric.banks) < 0.22 * fabric.tile.side
    geometry = np.concatenate([blocks.area, fabric.banks])
    return _frame(fabric, "land", geometry, {
        "name": pd.array([*name, *("Công viên bờ sông" if n else None for n in near)], dtype="str"),
        "use": pd.array([*use, *np.where(near, "park", "green")], dtype="str"),
    })  # fmt: skip
