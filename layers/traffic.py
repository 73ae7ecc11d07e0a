"""Traffic segments: the stretches of road with speeds and levels of service."""

from __future__ import annotations

from layers.common import NAME
from layers.theme import Detail, Field, Rollup, Theme, by_rank, term
from twin.text import Text

LEVEL_OF_SERVICE = Field(
    "los", "text", Text(en="Level of service", vi="Mức phục vụ"), rollup=Rollup.MODE,
    vocabulary={
        "A": term("A — free flow", "A — thông thoáng", "#1a9850"),
        "B": term("B — steady", "B — ổn định", "#91cf60"),
        "C": term("C — busy", "C — đông", "#fee08b"),
        "D": term("D — dense", "D — rất đông", "#fdae61"),
        "E": term("E — at capacity", "E — sắp ùn tắc", "#f46d43"),
        "F": term("F — jam", "F — ùn tắc", "#d73027"),
    },
    aliases=("muc_phuc_vu",),
)  # fmt: skip

TRAFFIC_SEGMENTS = Theme(
    name="traffic_segments",
    title=Text(en="Traffic", vi="Giao thông"),
    description=Text(
        en="Stretches of road with their usual speed and level of service.",
        vi="Các đoạn đường, tốc độ thường gặp và mức phục vụ.",
    ),
    geometry="line",
    resolution=11,
    fields=(
        NAME,
        LEVEL_OF_SERVICE,
        Field("speed_kmh", "number", Text(en="Usual speed", vi="Tốc độ thường gặp"), unit="km/h",
              minimum=0, maximum=130, rollup=Rollup.MEAN, weight="length_m", aliases=("van_toc", "velocity")),
        Field("free_speed_kmh", "number", Text(en="Free-flow speed", vi="Tốc độ tự do"), unit="km/h",
              minimum=5, maximum=130),
        Field("capacity_pcu_h", "number", Text(en="Capacity", vi="Năng lực thông hành"), unit="{pcu}/h",
              minimum=0, maximum=30_000),
        Field("length_m", "number", Text(en="Length", vi="Chiều dài"), unit="m", minimum=0, rollup=Rollup.SUM),
        Field("observations", "integer", Text(en="Half-hours observed", vi="Số nửa giờ quan trắc"), minimum=0),
    ),
    importance=by_rank({"A": 1.0, "B": 1.0, "C": 2.0, "D": 3.0, "E": 4.0, "F": 5.0}, of="los", other=1.0),
    details=(Detail(10, 0, 3000), Detail(13, 0, 6000)),
    tile_fields=("name", "los", "speed_kmh"),
    visible=False,
    style={
        "order": 40,
        "line": {
            "color": {"field": "los", "other": "#9aa0a6",
                      "categories": {k: t.color for k, t in (LEVEL_OF_SERVICE.vocabulary or {}).items()}},
            "width": 9,
            "min_pixels": 1.8,
        },
    },
)  # fmt: skip
