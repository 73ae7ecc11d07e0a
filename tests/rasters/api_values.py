"""Values that mean something to the addresses of rasters, for schemathesis."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

RASTERS = ("environment.cover", "environment.ground", "environment.ground@1", "environment.levelled")
NO_VERSION_HERE = ("/collections/{layer}/position",)

schemathesis.openapi.format("wkt-points", st.sampled_from(["POINT(106.66 10.767)", "MULTIPOINT((106.7 10.77),(0 0))"]))
schemathesis.openapi.format("as-of", st.sampled_from(["2020-01-01", "2090-01-01T00:00:00Z"]))


@schemathesis.hook
def map_case(_: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return case
    path, query = case.path_parameters or {}, case.query or {}
    if "layer" in path and len(path["layer"]) % 5:
        path["layer"] = RASTERS[len(path["layer"]) % len(RASTERS)]
        if case.operation.path in NO_VERSION_HERE:
            path["layer"] = path["layer"].partition("@")[0]
    for name in {"x", "y"} & set(path):
        path[name] = int(path[name]) % 2 ** int(path["z"])
    if query.get("style") == "terrain-rgb" and "ground" not in path.get("layer", ""):
        # The document cannot say which layers have heights.
        del query["style"]
    if "version" in query:
        query.pop("asOf", None)
        query.pop("at", None)
    return case
