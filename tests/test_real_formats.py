"""City models and timetables of other cities go in whole, where a profile says that they are at home."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ingest.publish.engine import PublishRequest, publish_file
from tests.conftest import HOME, ROOT
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.config import Settings
from twin.db.database import Database
from twin.text import Text

# file, theme, layer of the file, CRS that the profile knows, features, of them set aside, where (west, south, east,
# north). The heights of 38 buildings of Potsdam are written in millimetres above the sea, as metres.
FILES = [
    ("formats/delft.city.json", "buildings", None, 28992, 160, 0, (4.3, 51.9, 4.5, 52.1)),
    ("formats/Potsdam_LoD1.gml", "buildings", None, 25833, 97, 38, (12.9, 52.3, 13.2, 52.5)),
    ("formats/lod2_buildings_v3.gml", "buildings", None, 3068, 100, 0, (13.0, 52.3, 13.8, 52.7)),
    ("formats/PLATEAU_53394517_bldg_6697_CityGML2.gml", "buildings", None, 6668, None, 0, (139.0, 35.0, 140.5, 36.5)),
    ("formats/cairns_gtfs.zip", "transit_stops", "stops", 4326, None, 0, (145.0, -18.0, 146.5, -16.0)),
]


def profile(folder: Path, crs: int, home: tuple[float, float, float, float]) -> str:
    """The city's profile, moved to another place."""
    west, south, east, north = home
    outline = f"POLYGON(({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}))"
    lines = (ROOT / "twin/cities/hcmc.toml").read_text().splitlines()
    text = "\n".join(f'wkt = "{outline}"' if line.startswith("wkt = ") else line for line in lines)
    path = folder / "elsewhere.toml"
    path.write_text(f'{text}\n[[crs]]\ncode = {crs}\ntitle = {{ vi = "nơi khác", en = "elsewhere" }}\n')
    return str(path)


@pytest.mark.city
@pytest.mark.parametrize(("file", "theme", "source_layer", "crs", "count", "set_aside", "home"), FILES)
def test_a_file_of_another_city_goes_in_with_its_count_and_place(
    database: Database, city_data: Path, tmp_path: Path, file: str, theme: str, source_layer: str | None,
    crs: int, count: int | None, set_aside: int, home: tuple[float, float, float, float],
) -> None:  # fmt: skip
    with database.session() as session:
        ensure_agency(session, "elsewhere", Text(en="Elsewhere", vi="Nơi khác"))
        ensure_layer(session, LayerEntry("elsewhere.things", theme, Text(en="Things", vi="Vật")))
    settings = Settings(home=HOME, database=database.url.database, city=profile(tmp_path, crs, home))
    mapping = None
    if theme == "transit_stops":
        mapping = tmp_path / "mapping.toml"
        mapping.write_text('id = "stop_id"\n[fields]\nname = "stop_name"\nmode = { constant = "bus" }\n')
    request = PublishRequest("elsewhere.things", source_layer=source_layer, mapping=mapping)
    path = city_data / file
    result = publish_file(database, settings, path, request, "a test", path.name, None, lambda *_: None)
    assert result.outcome is not None, result.report.to_dict()["problems"]
    features, quarantined = result.outcome.features, result.outcome.quarantined
    assert features + quarantined + result.report.left_out == result.report.features
    if count is not None:
        assert (features + quarantined, quarantined) == (count, set_aside)
    with database.session() as session:
        version = read_catalogue(session)["elsewhere.things"].current
        outside = session.scalar(
            sa.text(
                f"SELECT count(*) FROM layer_data.{version.table} "
                "WHERE NOT ST_Within(geom, ST_MakeEnvelope(:w, :s, :e, :n, 4326))"
            ),
            dict(zip("wsen", home, strict=True)),
        )
    assert outside == 0
