"""A file as an agency may send it: VN-2000 without a .prj, TCVN3 text, broken shapes, wrong values."""

from __future__ import annotations

import numpy as np
import shapely

from tests.checks.legacy_text import as_tcvn3
from tests.checks.readers import Memory, memory
from twin.crs import transform

NAMES = [
    "Trường mầm non Hoạ Mi",
    "Chung cư Phú Mỹ Thuận",
    "Nhà văn hoá phường",
    "Trạm y tế xã Nhơn Đức",
    "Chợ Bến Thành",
]


def messy(count: int = 60) -> Memory:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(106.66, 106.78, count), rng.uniform(10.70, 10.82, count)
    width = rng.uniform(2e-4, 9e-4, count)
    shapes = list(shapely.box(x, y, x + width, y + width * 0.7))
    west, south, east, north = shapes[3].bounds
    shapes[3] = shapely.Polygon([(west, south), (east, north), (east, south), (west, north), (west, south)])
    shapes[7] = None
    shapes[9] = shapely.Point(106.7, 10.75)
    shapes[11] = shapes[10]
    shapes[13] = shapely.box(105.8, 21.0, 105.801, 21.001)
    shapes[17] = shapely.box(106.7, 10.75, 106.71, 10.7500008)
    moved = shapely.transform(np.array(shapes, dtype=object), lambda c: transform(c, 4326, 9210))
    levels: list[object] = [int(v) for v in rng.integers(1, 20, count)]
    levels[20], levels[21] = 900, 400
    uses = [["Chung cư", "Văn phòng", "house", "Y tế"][i % 4] for i in range(count)]
    uses[25] = "lâu đài"
    names = [f"{NAMES[i % 5]} {i + 1}" for i in range(count)]
    names[30] = "<script>alert(1)</script>"
    names[31] = '=HYPERLINK("http://x")'
    names[32] = "Nhà\x1b[31m\x07 đỏ"
    ids = [f"CT-{i + 1:03}" for i in range(count)]
    ids[41] = ids[40]
    return memory(
        {
            "MaCT": ids, "TenCT": [as_tcvn3(n) for n in names], "SOTANG": levels,
            "CONGNANG": [as_tcvn3(u) for u in uses], "DT_XD": [round(float(w) * 1e6, 1) for w in width],
            "GHICHU": ["" for _ in range(count)],
        },
        list(moved), crs=None, raw_text=True, format="Shapefile", driver="ESRI Shapefile",
    )  # fmt: skip
