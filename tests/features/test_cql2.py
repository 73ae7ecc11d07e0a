"""CQL2: random expressions computed in Python, the examples of the standard, and texts that mean harm."""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
import unicodedata
from datetime import UTC, date, datetime
from typing import Any

import httpx
import psycopg
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.features.conftest import ITEMS, TABLE, ids, plots
from twin.errors import BadInput
from twin.query import temporal
from twin.query.cql2 import read_text

SAME = settings(max_examples=examples(250), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# An expression computed in plain Python --------------------------------------------------------------
# Three values: True, False, None for unknown, as in SQL and as CQL2 says.


def folded(text: str) -> str:
    return text.lower()


def bare(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    return re.sub("[\u0300-\u036f]", "", apart).replace("đ", "d").replace("Đ", "D")


def liked(text: str, pattern: str) -> bool:
    out, escaped = "", False
    for sign in pattern:
        if escaped or sign not in "\\%_":
            out, escaped = out + re.escape(sign), False
        elif sign == "\\":
            escaped = True
        else:
            out += ".*" if sign == "%" else "."
    return re.fullmatch(out, text, re.DOTALL) is not None


def value(node: Any, row: dict[str, Any]) -> Any:
    if not isinstance(node, dict):
        return node
    if "property" in node:
        return row[node["property"]]
    if "date" in node:
        return date.fromisoformat(node["date"])
    if "timestamp" in node:
        return datetime.fromisoformat(node["timestamp"])
    args = [value(arg, row) for arg in node["args"]]
    if any(arg is None for arg in args):
        return None
    match node["op"]:
        case "casei":
            return folded(args[0])
        case "accenti":
            return bare(args[0])
        case "+":
            return args[0] + args[1]
        case "-":
            return args[0] - args[1]
        case "*":
            return args[0] * args[1]
        case "/":
            return args[0] / args[1] if args[1] else None
        case "div":
            return float(int(args[0] / args[1])) if args[1] else None
        case "%":
            return args[0] - args[1] * int(args[0] / args[1]) if args[1] else None
    raise AssertionError(node)


def holds(node: Any, row: dict[str, Any]) -> bool | None:
    if isinstance(node, bool):
        return node
    if "property" in node:
        return row[node["property"]]
    op, args = node["op"], node["args"]
    if op == "not":
        inner = holds(args[0], row)
        return None if inner is None else not inner
    if op in ("and", "or"):
        parts = [holds(arg, row) for arg in args]
        decisive = op == "or"
        return decisive if decisive in parts else None if None in parts else not decisive
    if op == "isNull":
        return value(args[0], row) is None
    if op == "in":
        one = value(args[0], row)
        listed = [value(arg, row) for arg in args[1]]
        # Not among those that are known; whether among the unknown ones, nobody can tell.
        return None if one is None else True if one in listed else None if None in listed else False
    if op.startswith("s_"):
        shape = lambda a: row["geometry"] if "property" in a else shapely.geometry.shape(a)  # noqa: E731
        relation = {"s_intersects": "intersects", "s_within": "within", "s_contains": "contains",
                    "s_disjoint": "disjoint", "s_touches": "touches", "s_overlaps": "overlaps",
                    "s_crosses": "crosses", "s_equals": "equals"}[op]  # fmt: skip
        return bool(getattr(shapely, relation)(shape(args[0]), shape(args[1])))
    if op.startswith("t_"):
        return in_time(op, span(args[0], row), span(args[1], row))
    found = [value(arg, row) for arg in args]
    if any(one is None for one in found):
        if op == "between":
            low, high = (compare("<=", a, b) for a, b in ((found[1], found[0]), (found[0], found[2])))
            return False if False in (low, high) else None
        return None
    match op:
        case "between":
            return found[1] <= found[0] <= found[2]
        case "like":
            return liked(*found)
    return compare(op, *found)


def compare(op: str, a: Any, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    return {"=": a == b, "<>": a != b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[op]


def span(node: Any, row: dict[str, Any]) -> tuple[Any, Any]:
    if "interval" in node:
        low, high = node["interval"]
        return (
            datetime.min.replace(tzinfo=UTC) if low == ".." else datetime.fromisoformat(low),
            datetime.max.replace(tzinfo=UTC) if high == ".." else datetime.fromisoformat(high),
        )
    moment = value(node, row)
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment, moment


def in_time(op: str, a: tuple[Any, Any], b: tuple[Any, Any]) -> bool | None:
    if None in (*a, *b):
        return None
    (a0, a1), (b0, b1) = a, b
    return {
        "t_after": a0 > b1, "t_before": a1 < b0, "t_contains": a0 < b0 and a1 > b1,
        "t_disjoint": a0 > b1 or a1 < b0, "t_during": a0 > b0 and a1 < b1, "t_equals": a == b,
        "t_finishedby": a0 < b0 and a1 == b1, "t_finishes": a0 > b0 and a1 == b1,
        "t_intersects": a0 <= b1 and a1 >= b0, "t_meets": a1 == b0, "t_metby": a0 == b1,
        "t_overlappedby": b0 < a0 < b1 and a1 > b1, "t_overlaps": a0 < b0 and b0 < a1 < b1,
        "t_startedby": a0 == b0 and a1 > b1, "t_starts": a0 == b0 and a1 < b1,
    }[op]  # fmt: skip


# Random expressions ---------------------------------------------------------------------------------

WORDS = (
    "Bến Nghé",
    "ben nghe",
    "Da Kao",
    "Đa Kao",
    "đa kao",
    "it's",
    "50%",
    "a_b",
    "back\\slash",
    "",
    "-5",
    "zebra",
    "Ω",
)
prop = lambda name: {"property": name}  # noqa: E731
call = lambda op, *args: {"op": op, "args": list(args)}  # noqa: E731
moments = st.datetimes(datetime(2025, 12, 1), datetime(2026, 5, 1)).map(
    lambda m: m.replace(microsecond=0, tzinfo=UTC).isoformat().replace("+00:00", "Z")
)
days = st.dates(date(2019, 12, 1), date(2022, 9, 1)).map(date.isoformat)
numbers = st.recursive(
    st.sampled_from([prop("size"), prop("floors"), *range(-3, 8), 0.5, 2.25]),
    lambda inner: st.builds(call, st.sampled_from(["+", "-", "*", "/", "div", "%"]), inner, inner),
    max_leaves=4,
)
texts = st.recursive(
    st.sampled_from([prop("label"), prop("label"), prop("use"), *WORDS]),
    lambda inner: st.builds(call, st.sampled_from(["casei", "accenti"]), inner),
    max_leaves=3,
)
times = st.one_of(st.just(prop("seen_at")), moments.map(lambda m: {"timestamp": m}))
dates = st.one_of(st.just(prop("since")), days.map(lambda d: {"date": d}))
patterns = st.lists(st.sampled_from(["%", "_", "a", "B", "ế", "đ", "\\%", "\\_", "\\\\", "ao", "k"]), max_size=5).map(
    "".join
)
comparisons = st.sampled_from(["=", "<>", "<", ">", "<=", ">="])
intervals = (
    st.tuples(moments, moments)
    .map(sorted)
    .flatmap(
        lambda ends: st.sampled_from([ends, ["..", ends[1]], [ends[0], ".."]]).map(
            lambda pair: {"interval": list(pair)}
        )
    )
)
corner = st.tuples(st.integers(0, 24), st.integers(0, 14))
boxes = st.tuples(corner, st.integers(1, 12), st.integers(1, 8)).map(
    lambda b: shapely.geometry.mapping(
        shapely.box(106.6987 + b[0][0] * 1e-3, 10.7691 + b[0][1] * 1e-3,
                    106.6987 + (b[0][0] + b[1]) * 1e-3, 10.7691 + (b[0][1] + b[2]) * 1e-3)
    )
)  # fmt: skip
lines = (
    st.tuples(corner, corner)
    .filter(lambda c: c[0] != c[1])
    .map(lambda c: {"type": "LineString", "coordinates": [[106.69 + x * 1.7e-3, 10.76 + y * 1.9e-3] for x, y in c]})
)
points = corner.map(lambda c: {"type": "Point", "coordinates": [106.7001 + c[0] * 1e-3, 10.7701 + c[1] * 1e-3]})
spatial = st.builds(
    call,
    st.sampled_from(["s_intersects", "s_within", "s_contains", "s_disjoint", "s_touches", "s_overlaps", "s_crosses",
                     "s_equals"]),
    st.just(prop("geometry")), st.one_of(boxes, lines, points),
)  # fmt: skip
in_times = st.one_of(
    st.builds(call, st.sampled_from(sorted(temporal.FUNCTIONS)), st.one_of(times, dates), intervals),
    st.builds(call, st.sampled_from(sorted(temporal.FUNCTIONS)), intervals, st.one_of(times, intervals)),
    st.builds(call, st.sampled_from(temporal.OF_MOMENTS), times, times),
)
predicates = st.one_of(
    *(st.builds(call, comparisons, kind, kind) for kind in (numbers, texts, times, dates)),
    *(st.builds(call, st.just("between"), kind, kind, kind) for kind in (numbers, times, dates)),
    st.builds(call, st.just("like"), texts, patterns),
    st.builds(lambda v, vs: call("in", v, vs), texts, st.lists(texts, min_size=1, max_size=4)),
    st.builds(lambda v, vs: call("in", v, vs), numbers, st.lists(st.integers(-3, 9), min_size=1, max_size=5)),
    st.builds(call, st.just("isNull"), st.one_of(numbers, texts, times, dates)),
    st.sampled_from([prop("built"), call("=", prop("built"), True), call("<>", prop("built"), False), True, False]),
    spatial, in_times,
)  # fmt: skip
expressions = st.recursive(
    predicates,
    lambda inner: st.one_of(
        st.builds(lambda op, parts: call(op, *parts), st.sampled_from(["and", "or"]),
                  st.lists(inner, min_size=2, max_size=3)),
        st.builds(call, st.just("not"), inner),
    ),
    max_leaves=6,
)  # fmt: skip


def table() -> list[dict[str, Any]]:
    """The published rows as plain values."""
    rows = []
    for row in plots().to_dict("records"):
        plain = {k: None if v is None or v != v else v for k, v in row.items() if k != "geometry"}
        for name in ("size", "floors"):
            plain[name] = None if plain[name] is None or str(plain[name]) == "<NA>" else float(plain[name])
        plain["built"] = None if str(plain["built"]) == "<NA>" else plain["built"] and True
        seen = plain["seen_at"]
        plain["seen_at"] = None if seen is None or str(seen) == "NaT" else seen.to_pydatetime()
        rows.append({**plain, "geometry": row["geometry"]})
    return rows


@pytest.fixture(scope="module")
def rows(sql: psycopg.Connection) -> list[dict[str, Any]]:
    found = table()
    assert len(found) == sql.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]
    missing = sql.execute(f"SELECT count(*) FROM {TABLE} WHERE size IS NULL OR built IS NULL").fetchone()[0]
    assert missing == sum(row["size"] is None or row["built"] is None for row in found) > 0
    return found


@SAME
@given(expression=expressions)
def test_any_expression_filters_as_plain_python_does(
    http: httpx.Client, rows: list[dict[str, Any]], expression: Any
) -> None:
    asked = {"filter": json.dumps(expression), "filter-lang": "cql2-json", "limit": 1000}
    expected = [row["id"] for row in rows if holds(expression, row)]
    assert ids(http.get(ITEMS, params=asked)) == expected, json.dumps(expression)


# The standard's own forms ---------------------------------------------------------------------------

FORMS = [
    ("label = 'it''s'", "label = 'it''s'"),
    ("size > 3 AND size <= 9.5", "size > 3 AND size <= 9.5"),
    ("size<>5", "size <> 5"),
    ("'Da Kao' = label", "label = 'Da Kao'"),
    ("built", "built"), ("built = true", "built"), ("NOT built", "NOT built"), ("true", "true"), ("false", "false"),
    ("label IS NULL OR label LIKE 'B%'", "label IS NULL OR label LIKE 'B%'"),
    ("label is not null", "label IS NOT NULL"),
    ("label NOT LIKE '%a%'", "label NOT LIKE '%a%'"),
    ("size BETWEEN 1 AND 5", "size BETWEEN 1 AND 5"), ("size NOT BETWEEN 1 AND 5", "size NOT BETWEEN 1 AND 5"),
    ("floors IN (1, 3, 5)", "floors IN (1, 3, 5)"), ("use NOT IN ('home')", "use NOT IN ('home')"),
    ("CASEI(label) = CASEI('BẾN NGHÉ')", "label IN ('Bến Nghé', 'bến nghé')"),
    ("ACCENTI(label) = ACCENTI('Đa Kao')", "label IN ('Đa Kao', 'Da Kao')"),
    ("CASEI(ACCENTI(label)) LIKE 'ben%'", "label IN ('Bến Nghé', 'bến nghé', 'Ben Nghe')"),
    ("casei(accenti(label)) IN (casei(accenti('ĐA KAO')), 'zebra')", "label IN ('Đa Kao', 'đa kao', 'Da Kao', 'zebra')"),
    ("floors > size", "floors > size"), ("1 = 1", "true"),
    ("size + 2 * floors - 1 > 10 / 4", "size + 2 * floors - 1 > 2.5"),
    ("(size + 2) * floors = 12", "(size + 2) * floors = 12"),
    ("floors % 2 = 1", "floors % 2 = 1"), ("floors div 2 = 1", "floors IN (2, 3)"), ("floors ^ 2 = 9", "floors = 3"),
    ("-size > 0", "size < 0"), ("size / floors > 3", "floors <> 0 AND size / floors > 3"),
    ("seen_at >= TIMESTAMP('2026-02-01T00:00:00Z')", "seen_at >= '2026-02-01Z'"),
    ("since < DATE('2021-01-01')", "since < '2021-01-01'"),
    ("T_AFTER(seen_at, TIMESTAMP('2026-02-01T07:00:00+07:00'))", "seen_at > '2026-02-01Z'"),
    ("T_BEFORE(since, DATE('2021-01-01'))", "since < '2021-01-01'"),
    ("T_DURING(seen_at, INTERVAL('2026-01-10', '2026-01-20'))",
     "seen_at > '2026-01-10Z' AND seen_at < '2026-01-20T23:59:59.999999Z'"),
    ("T_INTERSECTS(seen_at, INTERVAL('..', '2026-01-20T00:00:00Z'))", "seen_at <= '2026-01-20Z'"),
    ("T_CONTAINS(INTERVAL(since, seen_at), INTERVAL('2023-01-01', '2025-01-01'))",
     "since < '2023-01-01' AND seen_at > '2025-01-02Z'"),
    ("T_DISJOINT(seen_at, INTERVAL('2026-01-10', '..'))", "seen_at < '2026-01-10Z'"),
    ("T_FINISHEDBY(INTERVAL(since, seen_at), INTERVAL('2021-01-01', '2030-01-01'))", "false"),
    ("S_INTERSECTS(geometry, POINT(106.7001 10.7701))", "ST_Intersects(geom, 'SRID=4326;POINT(106.7001 10.7701)')"),
    ("S_WITHIN(geom, BBOX(106.70, 10.77, 106.71, 10.775))",
     "ST_Within(geom, ST_MakeEnvelope(106.70, 10.77, 106.71, 10.775, 4326))"),
    ("S_CROSSES(geometry, LINESTRING(106.69 10.7703, 106.71 10.7703))",
     "ST_Crosses(geom, 'SRID=4326;LINESTRING(106.69 10.7703, 106.71 10.7703)')"),
    ("S_CROSSES(LINESTRING(106.69 10.7703, 106.71 10.7703), geometry)",
     "ST_Crosses('SRID=4326;LINESTRING(106.69 10.7703, 106.71 10.7703)'::geometry, geom)"),
    ("S_DISJOINT(geometry, POLYGON((106.70 10.77, 106.71 10.77, 106.71 10.78, 106.70 10.77)))",
     "ST_Disjoint(geom, 'SRID=4326;POLYGON((106.70 10.77, 106.71 10.77, 106.71 10.78, 106.70 10.77))')"),
    ("S_TOUCHES(geometry, LINESTRING(106.70 10.5, 106.70 11))", "ST_Touches(geom, 'SRID=4326;LINESTRING(106.70 10.5, 106.70 11)')"),
    ("S_EQUALS(geometry, geometry)", "true"),
    ("S_OVERLAPS(geometry, MULTIPOLYGON(((106.70005 10.77005, 106.7203 10.77005, 106.7203 10.7706, 106.70005 10.77005))))",
     "ST_Overlaps(geom, 'SRID=4326;POLYGON((106.70005 10.77005, 106.7203 10.77005, 106.7203 10.7706, 106.70005 10.77005))')"),
    ("S_CONTAINS(geometry, MULTIPOINT((106.7001 10.7701), (106.70011 10.77011)))",
     "ST_Contains(geom, 'SRID=4326;MULTIPOINT((106.7001 10.7701), (106.70011 10.77011))')"),
    ("S_INTERSECTS(geometry, GEOMETRYCOLLECTION(POINT(106.7001 10.7701), LINESTRING(106.705 10.5, 106.705 11)))",
     "ST_Intersects(geom, 'SRID=4326;GEOMETRYCOLLECTION(POINT(106.7001 10.7701), LINESTRING(106.705 10.5, 106.705 11))')"),
    ('"use" = \'shop\' AND NOT (floors = 1 OR floors = 2)', "use = 'shop' AND NOT (floors = 1 OR floors = 2)"),
    ("floors = 1 OR floors = 2 AND use = 'home'", "floors = 1 OR (floors = 2 AND use = 'home')"),
    ("id = 'p7'", "id = 'p7'"),
    # A backslash at the end stands for nothing; two stand for one.
    ("label LIKE 'it''s\\'", "label = 'it''s'"), ("label LIKE 'back\\\\%'", "label = 'back\\slash'"),
    ("label LIKE '50\\%'", "label = '50%'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where"), FORMS)
def test_the_standard_s_forms_filter_as_sql_does(
    http: httpx.Client, sql: psycopg.Connection, text: str, where: str
) -> None:
    expected = [i for (i,) in sql.execute(f"SELECT id FROM {TABLE} f WHERE {where} ORDER BY fid").fetchall()]
    assert ids(http.get(ITEMS, params={"filter": text, "limit": 1000})) == expected
    tree = json.dumps(read_text(text))
    assert ids(http.get(ITEMS, params={"filter": tree, "filter-lang": "cql2-json", "limit": 1000})) == expected


REFUSED = [
    "size = 'x'", "label > 5", "label LIKE 5", "size", "label", "not size", "nothing = 1", "foo(size) = 1", "built > true",
    "size = null", "A_CONTAINS(label, ('a','b'))", "geometry = geometry", "S_INTERSECTS(size, POINT(1 2))",
    "S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 1 0, 0 1, 0 0)))", "S_TOUCHES(geometry, GEOMETRYCOLLECTION(POINT(1 2)))",
    "T_DURING(seen_at, since)", "seen_at > DATE('2020-01-01')", "since = DATE('2020-02-30')", "size = 1e400",
    "label = 'a\x00b'", "size = 1; DROP TABLE x", "size = 1 -- x", "sizе = 1", "size in ()", "1 + 1", "casei(size) = 'x'",
    "T_AFTER(seen_at, TIMESTAMP('2026-01-01'))AND", "S_INTERSECTS(geometry, BBOX(5,5,1,1))", "'unclosed",
    "(" * 4000 + "size=1" + ")" * 4000, "(" * 40 + "size=1", "((size " * 40 + "=1", "size=" + "-" * 9000 + "1",
    "size=" + "- " * 40 + "floors", "size=1" + "+1" * 3000, " AND ".join(["size=1"] * 30000), "not " * 5000 + "built",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_used_is_refused_at_once(http: httpx.Client, text: str) -> None:
    start = time.monotonic()
    if len(text) > 20_000:
        with pytest.raises(BadInput):
            read_text(text)
    else:
        answer = http.get(ITEMS, params={"filter": text, "lang": "en"})
        assert answer.status_code == 400, answer.text[:300]
        assert answer.json()["detail"].startswith("filter")
    assert time.monotonic() - start < 2


TREES = [
    "", "[]", "1", "null", '"x"', "{}", '{"op": "="}', '{"op": 1, "args": []}', '{"op": "=", "args": [1]}',
    '{"op": "and", "args": [true]}', '{"op": "=", "args": [{"property": 1}, 1]}', '{"op": "in", "args": [1, 2]}',
    '{"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": ["a", 1]}]}',
    '{"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": []}]}',
    '{"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Polygon", "coordinates": [[[0,0],[1,1]]]}]}',
    '{"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [1, 2]}]}',
    '{"op": "t_after", "args": [{"property": "seen_at"}, {"interval": ["2020-01-01"]}]}',
    '{"op": "=", "args": [{"date": 5}, {"date": "2020-01-01"}]}', '{"op": "=", "args": [{"x": 5}, 5]}',
    '{"op": "not", "args": [' * 300 + "true" + "]}" * 300, "[" * 100_000, '{"op": "=", "args": ["\\ud800", "x"]}',
    '{"op": "=", "args": [1' + "0" * 400 + ", 1]}",
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_json_that_is_not_a_filter_is_refused(http: httpx.Client, tree: str) -> None:
    if len(tree) > 20_000:
        return
    answer = http.get(ITEMS, params={"filter": tree, "filter-lang": "cql2-json", "lang": "en"})
    assert answer.status_code == 400, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"


def test_no_text_keeps_the_parser_busy_or_kills_it() -> None:
    """Words put together by chance, over and over, in the process of the test itself: a crash would end it."""
    words = [
        "a",
        "not",
        "and",
        "or",
        "=",
        "<",
        "-",
        "*",
        "/",
        "%",
        "^",
        "div",
        "1",
        "'x'",
        "in",
        "like",
        "between",
        "is",
        "null",
        "casei(",
        "s_intersects(",
        "POINT(",
        "POLYGON((",
        ",",
        ")",
        "(",
        "(",
        "DATE('2020-01-01')",
        "INTERVAL(",
        "BBOX(",
        "'",
        '"',
        "true",
        "..",
        "::",
    ]
    chance = random.Random(5)  # noqa: S311
    for _ in range(1500):
        unit = " ".join(chance.choice(words) for _ in range(chance.randint(1, 5)))
        text = f"{chance.choice(words)} {' '.join([unit] * chance.choice([1, 5, 40, 400]))} {chance.choice(words)}"
        if chance.random() < 0.7:
            text += " )" * max(0, text.count("(") - text.count(")"))
        start = time.monotonic()
        with contextlib.suppress(BadInput):
            read_text.__wrapped__(text)
        assert time.monotonic() - start < 1.5, text[:200]


def test_coordinates_of_a_filter_are_read_in_its_own_system(http: httpx.Client) -> None:
    box = "106.70,10.77,106.705,10.775"
    expected = ids(http.get(ITEMS, params={"bbox": box, "limit": 1000}))
    swapped = (
        "S_INTERSECTS(geometry, POLYGON((10.77 106.70, 10.77 106.705, 10.775 106.705, 10.775 106.70, 10.77 106.70)))"
    )
    asked = {"filter": swapped, "filter-crs": "http://www.opengis.net/def/crs/EPSG/0/4326", "limit": 1000}
    assert ids(http.get(ITEMS, params=asked)) == expected
