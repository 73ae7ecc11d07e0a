"""Water level and tide: metres above the datum Hòn Dấu, and the alarm levels of each gauge by date."""

from __future__ import annotations

from datetime import date

from layers.observed.kind import Grade, ObservedKind, Scale
from layers.theme import Rollup
from twin.text import Text

# Vietnam's height datum: the mean sea level at Hòn Dấu. Levels of another datum cannot be compared with the alarms.
DATUM = "Hòn Dấu"

# Signed on 31 January 2020, in force from this day.
DECISION_05_2020 = date(2020, 3, 20)

_TITLE = Text(en="Alarm level", vi="Cấp báo động")
_NEW = Text(
    en="Decision 05/2020/QĐ-TTg of 31 January 2020, in force from 20 March 2020; the levels as the Southern Regional "
       "Hydrometeorological Centre's bulletins of 2025 give them",
    vi="Quyết định 05/2020/QĐ-TTg ngày 31/01/2020, hiệu lực từ 20/3/2020; mức theo bản tin của Đài Khí tượng Thủy văn "
       "Nam Bộ năm 2025",
)  # fmt: skip
_OLD = Text(
    en="Levels before Decision 05/2020/QĐ-TTg, as bulletins of 2012 to 2019 give them",
    vi="Mức trước Quyết định 05/2020/QĐ-TTg, theo các bản tin từ 2012 đến 2019",
)
_BELOW = Grade("below", Text(en="Below alarm I", vi="Dưới báo động I"), "#8fc1d9")
_ONE = Grade("alarm_1", Text(en="Alarm I", vi="Báo động I"), "#f2c230")
_TWO = Grade("alarm_2", Text(en="Alarm II", vi="Báo động II"), "#e0662a")
_THREE = Grade("alarm_3", Text(en="Alarm III", vi="Báo động III"), "#8a1030")
_BELOW_THREE = Grade("below_3", Text(en="Below alarm III", vi="Dưới báo động III"), "#8fc1d9")


def _alarm(place: str, since: date | None, *levels: float) -> Scale:
    """Return the alarm levels of a gauge; of a gauge with one level, only alarm III is known."""
    grades = (_BELOW, _ONE, _TWO, _THREE) if len(levels) == 3 else (_BELOW_THREE, _THREE)
    return Scale("alarm", _TITLE, _NEW if since else _OLD, levels, grades, valid_from=since, place=place)


WATER_LEVEL = ObservedKind(
    name="water_level",
    title=Text(en="Water level", vi="Mực nước"),
    unit="m",
    definition="http://vocab.nerc.ac.uk/standard_name/water_surface_height_above_reference_datum/",
    minimum=-4,
    maximum=6,
    fresh_seconds=2 * 3600,
    every_seconds=600,
    # The tide turns slowly, but it does not stand still for so long.
    stuck_seconds=3 * 3600,
    over_time="max",
    over_cells=Rollup.MAX,
    scales=(
        _alarm("Phú An", None, 1.3, 1.4, 1.5),
        _alarm("Phú An", DECISION_05_2020, 1.4, 1.5, 1.6),
        _alarm("Nhà Bè", None, 1.5),
        # Bulletins tell alarms II and III of Nhà Bè; I is taken to be that of Phú An.
        _alarm("Nhà Bè", DECISION_05_2020, 1.4, 1.5, 1.6),
        _alarm("Thủ Dầu Một", None, 1.3),
        _alarm("Thủ Dầu Một", DECISION_05_2020, 1.6),
    ),
    units={"cm": (0.01, 0.0), "mm": (0.001, 0.0), "[ft_i]": (0.3048, 0.0)},
    digits=2,
    note=Text(
        en="Above the datum Hòn Dấu. A level reaches an alarm when it equals it.",
        vi="So với mốc cao độ Hòn Dấu. Mực nước bằng mức báo động được coi là đạt cấp báo động đó.",
    ),
)
