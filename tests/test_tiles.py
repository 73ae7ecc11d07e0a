"""Tiles, TileJSON, collections, cells and health over HTTP, asked of the running program."""

from __future__ import annotations

import math

import h3
import httpx
import mapbox_vector_tile
import mercantile
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layers.registry import theme
from tests.conftest import LiveServer
from tests.examples import examples

CENTER = (106.7335, 10.7765)


def decoded(answer: httpx.Response) -> dict:
    assert answer.status_code == 200, answer.text
    return mapbox_vector_tile.decode(answer.content, default_options={"y_coord_down": True})


def tile_at(zoom: int, lng: float = CENTER[0], lat: float = CENTER[1]) -> mercantile.Tile:
    return mercantile.tile(lng, lat, zoom)


def test_all_seventeen_sample_layers_are_listed_with_their_mark(collections: dict) -> None:
    assert len(collections) == 17
    assert all(c["sample"] for c in collections.values())
    assert {c["theme"] for c in collections.values()} >= {
        "boundaries",
        "roads",
        "water",
        "buildings",
        "zoning",
        "sensors",
    }


def test_a_layer_is_described_in_the_language_that_was_asked(http: httpx.Client) -> None:
    by_language = {
        lang: http.get("/collections/construction.buildings", params={"lang": lang}).json() for lang in ("vi", "en")
    }
    assert by_language["vi"]["title"] != by_language["en"]["title"]
    assert by_language["vi"]["themeTitle"] == "Công trình xây dựng"
    assert (
        http.get("/collections/construction.buildings", headers={"Accept-Language": "en"}).json()["themeTitle"]
        == "Buildings"
    )


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tile_holds_exactly_the_features_of_its_area(
    data: st.DataObject, http: httpx.Client, collections: dict, sql: psycopg.Connection
) -> None:
    """Compared with a plain query of the same box, at zooms where the theme shows all its features."""
    layer = data.draw(st.sampled_from(sorted(collections)))
    of = theme(collections[layer]["theme"])
    zoom = data.draw(st.integers(max(of.details[-1].zoom, 13), 18))
    west, south, east, north = collections[layer]["bounds"]
    lng, lat = data.draw(st.floats(west, east)), data.draw(st.floats(south, north))
    tile = tile_at(zoom, lng, lat)
    answer = http.get(f"/tiles/{layer}/{tile.z}/{tile.x}/{tile.y}.mvt")
    found = {f["id"] for f in decoded(answer).get(layer, {"features": []})["features"]}

    table = sql.execute(
        "SELECT v.table_name FROM twin.layer l JOIN twin.agency a ON a.id = l.agency_id "
        "JOIN twin.layer_version v ON v.id = l.current_version_id WHERE a.name || '.' || l.name = %s", [layer],
    ).fetchone()[0]  # fmt: skip
    box = mercantile.xy_bounds(tile)
    margin = (box.right - box.left) * 64 / 4096

    def inside(grow: float) -> set[int]:
        rows = sql.execute(
            f"SELECT fid FROM layer_data.{table} WHERE ST_Intersects(ST_Transform(geom, 3857), "
            "ST_MakeEnvelope(%s, %s, %s, %s, 3857))",
            [
                box.left - margin + grow,
                box.bottom - margin + grow,
                box.right + margin - grow,
                box.top + margin - grow,
            ],
        )
        return {fid for (fid,) in rows}

    pixel = (box.right - box.left) / 4096
    # What only grazes the buffer's edge, or is smaller than the tile's grid, may round away.
    certain = inside(2 * pixel)
    assert found <= inside(-2 * pixel)
    missing = certain - found
    if missing:
        sizes = sql.execute(
            f"SELECT max(greatest(ST_XMax(g) - ST_XMin(g), ST_YMax(g) - ST_YMin(g))) FROM "
            f"(SELECT ST_Transform(geom, 3857) g FROM layer_data.{table} WHERE fid = ANY(%s)) q", [list(missing)],
        ).fetchone()  # fmt: skip
        assert sizes[0] < 2 * pixel, missing


def test_tile_features_carry_their_ids_and_the_theme_s_fields(http: httpx.Client) -> None:
    tile = tile_at(16)
    features = decoded(http.get(f"/tiles/construction.buildings/{tile.z}/{tile.x}/{tile.y}.mvt"))[
        "construction.buildings"
    ]["features"]
    assert features
    for feature in features:
        assert feature["id"] > 0
        assert set(feature["properties"]) <= set(theme("buildings").tile_fields)
        assert feature["properties"]["height"] > 0


def test_one_tile_may_hold_several_layers(http: httpx.Client) -> None:
    tile = tile_at(15)
    path = f"/{tile.z}/{tile.x}/{tile.y}.mvt"
    both = decoded(http.get(f"/tiles/transport.roads,planning.zoning{path}"))
    for name in ("transport.roads", "planning.zoning"):
        alone = decoded(http.get(f"/tiles/{name}{path}"))
        assert {f["id"] for f in both[name]["features"]} == {f["id"] for f in alone[name]["features"]}


def test_each_ward_has_its_label_in_exactly_one_tile(http: httpx.Client, collections: dict) -> None:
    west, south, east, north = collections["planning.wards"]["bounds"]
    labels: list[str] = []
    for tile in mercantile.tiles(west, south, east, north, 14):
        layer = decoded(http.get(f"/tiles/planning.wards/{tile.z}/{tile.x}/{tile.y}.mvt")).get("planning.wards:label")
        labels += [f["properties"]["name"] for f in layer["features"]] if layer else []
    assert len(labels) == len(set(labels)) == 12


def test_a_pinned_version_may_be_kept_for_ever_and_the_current_one_is_asked_again(http: httpx.Client) -> None:
    pinned = http.get("/tiles/transport.roads@1/15/26100/15396.mvt")
    current = http.get("/tiles/transport.roads/15/26100/15396.mvt")
    assert "immutable" in pinned.headers["cache-control"] and "max-age=31536000" in pinned.headers["cache-control"]
    assert "immutable" not in current.headers["cache-control"]
    tag = current.headers["etag"]
    for known in (tag, f'"another", {tag}', tag.removeprefix("W/"), "*"):
        for query in ("", "?filter-lang=cql2-text"):
            path = f"/tiles/transport.roads/15/26100/15396.mvt{query}"
            again = http.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b""), (known, query)
    assert http.get("/tiles/transport.roads/15/26100/15396.mvt", headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_tile_far_from_the_city_and_one_below_the_first_zoom_are_empty(http: httpx.Client) -> None:
    for path in ("15/0/0", "0/0/0", "22/1/1"):
        answer = http.get(f"/tiles/construction.buildings/{path}.mvt")
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["23/0/0", "-1/0/0", "3/-1/0", "1/1e3/0", "x/0/0", "1/99999999999999999999999999/0", "22/4194304/0"],
)
def test_an_address_that_no_grid_can_have_is_refused(http: httpx.Client, path: str) -> None:
    answer = http.get(f"/tiles/transport.roads/{path}.mvt")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize("path", ["3/8/0", "3/0/8", "0/1/1", "21/4194303/0"])
def test_a_tile_beyond_the_grid_of_its_zoom_is_not_there(http: httpx.Client, path: str) -> None:
    answer = http.get(f"/tiles/transport.roads/{path}.mvt")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "2^z" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ("nobody.nothing", 404), ("transport.roads@7", 404), ("transport.roads@x", 400), ("transport.roads@-1", 400),
        ("transport.roads@99999999999", 400), ("transport.roads,transport.roads", 400), (",", 400),
        ("transport.roads,nobody.nothing", 404), ("'; DROP TABLE twin.layer; --", 404), ("%00", 404), ("..%2f..", 404),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_are_refused(http: httpx.Client, names: str, status: int) -> None:
    for path in (f"/tiles/{names}/15/26100/15396.mvt", f"/tiles/{names}/tilejson.json"):
        answer = http.get(path)
        assert answer.status_code == status, answer.text


def test_tilejson_leads_to_tiles_that_never_change(http: httpx.Client, live_server: LiveServer) -> None:
    document = http.get("/tiles/transport.roads,environment.water/tilejson.json", params={"lang": "en"}).json()
    assert document["tilejson"] == "3.0.0"
    assert document["tiles"] == [f"{live_server.url}/tiles/transport.roads@1,environment.water@1/{{z}}/{{x}}/{{y}}.mvt"]
    assert [layer["id"] for layer in document["vector_layers"]] == ["transport.roads", "environment.water"]
    assert "Sample" in document["description"]
    west, south, east, north = document["bounds"]
    assert west < CENTER[0] < east and south < CENTER[1] < north


def test_a_cell_tells_what_every_agency_says_there(http: httpx.Client) -> None:
    answer = http.get("/cells/at", params={"lng": CENTER[0], "lat": CENTER[1], "lang": "en"}).json()
    agencies = {entry["agency"]["name"] for entry in answer["agencies"]}
    assert {"planning", "statistics"} <= agencies
    by_name = http.get(f"/cells/{answer['cell']}", params={"at": f"{CENTER[0]},{CENTER[1]}", "lang": "en"}).json()
    assert by_name == answer


def cell_features(answer: dict) -> dict[str, dict[str, dict]]:
    return {
        layer["layer"]: {f["id"]: f for f in layer["features"]}
        for agency in answer["agencies"] for layer in agency["layers"]
    }  # fmt: skip


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cell_s_answer_equals_a_plain_query_of_its_polygon(
    data: st.DataObject, http: httpx.Client, collections: dict, sql: psycopg.Connection
) -> None:
    west, south, east, north = collections["planning.wards"]["bounds"]
    lng, lat = data.draw(st.floats(west, east)), data.draw(st.floats(south, north))
    cell = h3.latlng_to_cell(lat, lng, 12)
    found = cell_features(http.get(f"/cells/{cell}").json())
    outline = (
        "POLYGON((" + ",".join(f"{x} {y}" for y, x in (*h3.cell_to_boundary(cell), h3.cell_to_boundary(cell)[0])) + "))"
    )
    for layer in (
        "planning.wards",
        "construction.buildings",
        "planning.zoning",
        "transport.roads",
        "environment.water",
    ):
        table = layer.replace(".", "_") + "_v1"
        rows = sql.execute(
            f"SELECT id FROM layer_data.{table} WHERE ST_Intersects(geom, ST_GeomFromText(%s, 4326))",
            [outline],
        )
        expected = {i for (i,) in rows}
        if len(expected) <= 20:
            assert set(found.get(layer, {})) == expected


def test_here_marks_the_features_at_the_point_and_only_those(http: httpx.Client, sql: psycopg.Connection) -> None:
    id_, lng, lat = sql.execute(
        "SELECT id, ST_X(p), ST_Y(p) FROM (SELECT id, ST_PointOnSurface(geom) p FROM layer_data.construction_buildings_v1 LIMIT 1) q"
    ).fetchone()
    found = cell_features(http.get("/cells/at", params={"lng": lng, "lat": lat}).json())["construction.buildings"]
    assert [i for i, f in found.items() if f["here"]] == [id_]


def test_a_coarse_cell_counts_all_it_holds_and_shows_the_most_important(http: httpx.Client) -> None:
    cell = h3.latlng_to_cell(CENTER[1], CENTER[0], 6)
    answer = http.get(f"/cells/{cell}").json()
    layers = {layer["layer"]: layer for agency in answer["agencies"] for layer in agency["layers"]}
    assert layers["construction.buildings"]["total"] > 20
    assert len(layers["construction.buildings"]["features"]) == 20


def test_values_are_written_as_the_reader_s_language_writes_them(http: httpx.Client, sql: psycopg.Connection) -> None:
    lng, lat = sql.execute(
        "SELECT ST_X(label_point), ST_Y(label_point) FROM layer_data.planning_wards_v1 LIMIT 1"
    ).fetchone()
    by_language = {}
    for lang in ("vi", "en"):
        answer = http.get("/cells/at", params={"lng": lng, "lat": lat, "lang": lang}).json()
        population = next(f for f in cell_features(answer)["statistics.population"].values() if f["here"])
        by_language[lang] = {row["title"]: f"{row['value']} {row['unit']}" for row in population["display"]}
    assert "Dân số" in by_language["vi"] and by_language["vi"]["Dân số"].endswith("người")
    assert "Population" in by_language["en"] and by_language["en"]["Population"].endswith("people")


@pytest.mark.parametrize("path", ["/cells/zzz", "/cells/8b65b5664a21fff?at=1", "/cells/8b65b5664a21fff?at=nan,nan", "/cells/8b65b5664a21fff?at=181,0",
    "/cells/at?lng=1", "/cells/at?lng=x&lat=1", "/cells/at?lng=nan&lat=1", "/cells/at?lng=1&lat=91", "/collections?lang=fr"])  # fmt: skip
def test_a_question_that_cannot_be_answered_is_a_400_that_says_why(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) >= {"title", "detail", "status"}


def test_every_valid_cell_has_an_answer_even_where_nothing_is_known(http: httpx.Client) -> None:
    for resolution in range(16):
        answer = http.get(f"/cells/{h3.latlng_to_cell(-54.8, -68.3, resolution)}")
        assert answer.status_code == 200
        assert answer.json()["agencies"] == []
    pentagon = h3.get_pentagons(11)[0]
    assert http.get(f"/cells/{pentagon}").status_code == 200


def test_errors_speak_the_reader_s_language(http: httpx.Client) -> None:
    english = http.get("/collections/no.such", headers={"Accept-Language": "en"}).json()
    vietnamese = http.get("/collections/no.such", headers={"Accept-Language": "vi"}).json()
    assert english["detail"] == "There is no layer “no.such”."
    assert vietnamese["detail"] == "Không có lớp dữ liệu “no.such”."


def test_answers_are_compressed_when_the_client_accepts_it(http: httpx.Client) -> None:
    tile = tile_at(14)
    plain = http.get(f"/tiles/transport.roads/{tile.z}/{tile.x}/{tile.y}.mvt", headers={"Accept-Encoding": "identity"})
    packed = http.get(f"/tiles/transport.roads/{tile.z}/{tile.x}/{tile.y}.mvt", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content


@pytest.mark.parametrize("path", ["/", "/collections", "/health", "/tiles/transport.roads/15/26100/15396.mvt"])
def test_head_gives_the_headers_of_get_and_no_body(http: httpx.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert http.post(path).status_code == 405


def test_health_says_that_the_server_can_answer(http: httpx.Client) -> None:
    assert http.get("/health").json()["status"] == "ok"
    assert http.get("/health/live").status_code == 200


def test_the_api_describes_itself(http: httpx.Client) -> None:
    document = http.get("/api").json()
    assert document["openapi"].startswith("3.1")
    assert {"/collections", "/cells/{cell}", "/tiles/{layers}/{z}/{x}/{y}.mvt"} <= set(document["paths"])


def test_decoded_coordinates_lie_where_the_feature_is(http: httpx.Client, sql: psycopg.Connection) -> None:
    fid, lng, lat = sql.execute(
        "SELECT fid, ST_X(geom), ST_Y(geom) FROM layer_data.environment_sensors_v1 LIMIT 1"
    ).fetchone()
    tile = tile_at(16, lng, lat)
    layer = decoded(http.get(f"/tiles/environment.sensors/{tile.z}/{tile.x}/{tile.y}.mvt"))["environment.sensors"]
    x, y = next(f["geometry"]["coordinates"] for f in layer["features"] if f["id"] == fid)
    box = mercantile.xy_bounds(tile)
    place = mercantile.lnglat(box.left + x / 4096 * (box.right - box.left), box.top - y / 4096 * (box.top - box.bottom))
    assert math.hypot(place.lng - lng, place.lat - lat) < 360 / 2**16 / 4096 * 1.5
