"""Population by administrative unit, from a census or the register."""

from __future__ import annotations

from layers.common import CODE, NAME
from layers.theme import Detail, Field, Rollup, Theme, by_area
from twin.text import Text

POPULATION = Theme(
    name="population",
    title=Text(en="Population", vi="Dân số"),
    description=Text(
        en="Residents of each unit and how densely they live.",
        vi="Số dân của từng đơn vị và mật độ dân số.",
    ),
    geometry="polygon",
    resolution=9,
    fields=(
        NAME,
        CODE,
        Field(
            "population", "integer", Text(en="Population", vi="Dân số"), unit="{person}", required=True,
            minimum=0, maximum=2_000_000, rollup=Rollup.SUM, aliases=("dan_so", "pop", "so_dan"),
        ),
        Field(
            "density", "number", Text(en="Density", vi="Mật độ"), unit="{person}/km2",
            minimum=0, maximum=250_000, rollup=Rollup.MEAN, aliases=("mat_do", "mat_do_dan_so"),
        ),
        Field(
            "year", "integer", Text(en="Year of the figure", vi="Năm của số liệu"),
            minimum=1900, maximum=2100, aliases=("nam",),
        ),
        Field("parent", "text", Text(en="Part of", vi="Thuộc")),
    ),
    importance=by_area,
    details=(Detail(6, limit=2000),),
    tile_fields=("name", "population", "density"),
    coverage=True,
    visible=False,
    style={
        "order": 12,
        "opacity": 0.55,
        "fill": {
            "field": "density",
            "stops": [[0, "#fff7ec"], [2000, "#fee8c8"], [8000, "#fdbb84"],
                      [20000, "#fc8d59"], [40000, "#d7301f"], [70000, "#7f0000"]],
        },
        "line": {"color": "#ffffff", "width": 0, "min_pixels": 0.8},
    },
)  # fmt: skip
