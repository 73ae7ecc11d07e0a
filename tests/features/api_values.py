"""Values that mean something, for schemathesis: what formats in the OpenAPI document stand for, and ids that exist.

Positive cases that a JSON Schema cannot express are put right here: the corners of a box in their order, a filter in
the language that the case names. Negative cases are left as they are.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

LAYER = "construction.buildings"
NAMES = ("name", "height", "levels", "use", "address", "year_built", "floor_area_m2")
TEXTS = (
    "height > 20", "use IN ('office', 'house') OR levels IS NULL", "NOT (name LIKE '%a%')",
    "CASEI(ACCENTI(name)) = 'cho'", "S_INTERSECTS(geometry, POINT(106.73 10.77))", "height / 3 BETWEEN levels AND 90",
)  # fmt: skip
TREES = (
    {"op": "<=", "args": [{"property": "levels"}, 3]},
    {"op": "s_within", "args": [{"property": "geometry"}, {"bbox": [106.7, 10.7, 106.8, 10.8]}]},
)
# The greatest limit that the document names (TWIN_STREAM_LIMIT).
MOST = 2_000_000
CRS = ("OGC/1.3/CRS84", "EPSG/0/4326", "EPSG/0/3857", "EPSG/0/9210", "EPSG/0/3405")
BOXES = ("106.6,10.7,106.8,10.9", "-180,-90,180,90")
METADATA = ["layer Y29uc3RydWN0aW9uLmhvdXNlcw==", "filename YS5jc3Y=,layer Y29uc3RydWN0aW9uLmhvdXNlcw=="]
MOMENTS = ("2026-01-01", "2026-01-01T00:00:00Z/..", "../2030-12-31T23:59:59+07:00", "2099-01-01T00:00:00Z")


def _token(fid: int, forward: bool) -> str:
    return base64.urlsafe_b64encode(json.dumps([1, forward, fid, ""]).encode()).decode().rstrip("=")


for name, strategy in {
    "crs": st.sampled_from([f"http://www.opengis.net/def/crs/{crs}" for crs in CRS]),
    "box-in-degrees": st.sampled_from(BOXES),
    "stream-ids": st.sampled_from(["1", "1,2,999999999"]),
    "severities": st.sampled_from(["warning", "serious,emergency"]),
    "incident-token": st.just("MjAyNi0wMS0wMVQwMDowMDowMCswMDowMCA3"),
    "past": st.sampled_from(["2020-01-01T00:00:00Z", "2026-01-01T07:00:00+07:00"]),
    "first-moment": st.sampled_from(["2026-01-01T00:00:00Z"]),
    "last-moment": st.sampled_from(["2026-01-02T00:00:00Z", "2026-01-01T12:30:00+07:00"]),
    "duration-of-bucket": st.sampled_from(["15m", "1h", "1d"]),
    "as-of": st.sampled_from(["2020-01-01", "2090-01-01T00:00:00Z"]),
    "queryable": st.sampled_from(NAMES),
    "sort-key": st.builds(str.__add__, st.sampled_from(["", "-"]), st.sampled_from(NAMES)),
    "cql2": st.sampled_from(TEXTS),
    "moment-or-interval": st.sampled_from(MOMENTS),
    "page-token": st.builds(_token, st.integers(-(2**62), 2**62), st.booleans()),
    "rolled": st.sampled_from(("height", "levels", "use", "floor_area_m2")),
    "cell-token": st.builds(_token, st.integers(2**59, 2**60), st.just(True)),
    "h3": st.sampled_from(["8b65b56628cafff", "8965b566293ffff", "8665b5667ffffff"]),
    "grid": st.sampled_from(["WebMercatorQuad", "VN2000Zone10545Quad"]),
    "wkt-points": st.sampled_from(["POINT(106.7 10.77)", "MULTIPOINT((106.7 10.77),(0 0))"]),
    "sensorthings-path": st.sampled_from(["Observations", "Datastreams(1)/Observations"]),
    "sensorthings-filter": st.sampled_from(["result gt 5", "Datastream/name eq 'PM' or phenomenonTime lt now()"]),
    "sensorthings-expand": st.sampled_from(["Datastream", "Datastream($expand=Thing($select=name)),FeatureOfInterest"]),
    "sensorthings-select": st.sampled_from(["result", "phenomenonTime,result,id"]),
    "sensorthings-order": st.sampled_from(["id", "id desc"]),
    "sensorthings-token": st.just("WyIxIiwiMjAyNC0wMS0wMSAwMDowMDowMCswMCJd"),
    "longitude-latitude": st.sampled_from(["106.7,10.77", "-180,90"]),
}.items():
    schemathesis.openapi.format(name, strategy)


@schemathesis.hook
def before_load_schema(_context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Give the header of an upload by values: texts for its pattern take minutes to be made, and it has a test of its own."""
    for parameter in raw_schema["paths"]["/uploads"]["post"]["parameters"]:
        if parameter["name"] == "upload-metadata":
            parameter["schema"] = {"type": "string", "enum": METADATA}


@schemathesis.serializer("application/offset+octet-stream")
def piece(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def map_case(_: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    if case.path == "/live":
        _let_it_end(case)
    _limit_at_most(case)
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return case
    path, query = case.path_parameters or {}, case.query or {}
    _settle_path(path)
    _settle_query(query, path)
    if "filter" in query and "layers" in path:
        # Every layer must have the names that a filter uses.
        path["layers"] = LAYER
    return case


def _let_it_end(case: schemathesis.Case) -> None:
    """Ask for the first event alone: without that the answer goes on until its reader leaves. A wrong value stays."""
    once = str((case.query or {}).get("once", "")).lower()
    if once in ("", "false", "0", "no", "off", "f", "n"):
        case.query = {**(case.query or {}), "once": "true"}


def _limit_at_most(case: schemathesis.Case) -> None:
    """Leave out a limit beyond the greatest: OGC API — Features wants it taken for the greatest, and not refused."""
    text = str((case.query or {}).get("limit", ""))
    if text.isdigit() and int(text) > MOST:
        case.query = {name: value for name, value in case.query.items() if name != "limit"}


def _settle_path(path: dict[str, Any]) -> None:
    # One layer in three stays as it was made up.
    if "layer" in path and len(path["layer"]) % 3:
        path["layer"] = LAYER
    if "layers" in path and len(path["layers"]) % 3:
        path["layers"] = f"{LAYER},planning.wards@1"
    for name in {"x", "y"} & set(path):
        path[name] = int(path[name]) % 2 ** int(path["z"])
    for name in {"row", "column"} & set(path):
        path["matrix"] = int(path["matrix"]) % 15
        path[name] = int(path[name]) % 2 ** path["matrix"]


def _settle_query(query: dict[str, Any], path: dict[str, Any]) -> None:
    if "resolution" in query:
        # As fine as the layer's cells; a tile of a low zoom may have coarse ones only.
        query["resolution"] = int(query["resolution"]) % (
            12 if "matrix" not in path else min(12, path["matrix"] // 2 + 1)
        )
    if "bbox" in query and query["bbox"] not in ("", *BOXES):
        box = [_near(number) for number in _listed(query["bbox"])]
        # A box has four numbers or six, which 3.0 and many clients cannot read from the schema.
        box = box[: len(box) // 2 * 2]
        pairs = list(zip(box[: len(box) // 2], box[len(box) // 2 :], strict=True))
        query["bbox"] = ",".join(str(side(pair)) for side in (min, max) for pair in pairs)
    if query.get("filter-lang") == "cql2-json" and "filter" in query:
        query["filter"] = json.dumps(TREES[len(query["filter"]) % 2])
    if "sortby" in query:
        names = {key.lstrip("-"): key for key in _listed(query["sortby"])}
        query["sortby"] = ",".join(list(names.values())[:5]) or "name"
        query.pop("token", None)
    if "token" in query or "version" in query:
        query.pop("asOf", None)
        query.pop("at", None)
    if "token" in query:
        query.pop("version", None)


def _listed(value: Any) -> list[str]:
    """The parts of a list, whether it was written with commas already or not."""
    return value.split(",") if isinstance(value, str) else [str(part) for part in value]


def _near(number: str) -> float:
    """A coordinate that every system can express."""
    return max(-80.0, min(80.0, float(number)))
