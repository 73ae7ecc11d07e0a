"""An OpenAPI 3.1 document as version 3.0, with the same content as far as 3.0 can say it.

3.1 takes JSON Schema 2020-12 as it is; 3.0 has a dialect of its own. What that cannot express is left out, so that the
result allows all that the original allows, and more only where it must.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Schema = dict[str, Any]

VERSION = "3.0.3"
# What only JSON Schema 2020-12 knows. Each narrows or annotates, so that a schema stays true without it.
UNKNOWN = frozenset(
    {
        "$schema", "$id", "$anchor", "$comment", "$defs", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "contains",
        "contentEncoding", "contentMediaType", "contentSchema", "dependentRequired", "dependentSchemas", "else", "if",
        "maxContains", "minContains", "patternProperties", "prefixItems", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
LISTS = ("allOf", "anyOf", "oneOf")
BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
# Places of a document that hold examples, which are values and no schemas.
VALUES = frozenset({"example", "examples", "default", "value"})


def to_openapi_30(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as OpenAPI 3.0; the original stays as it is."""
    made: dict[str, Any] = {
        key: _walk(value) for key, value in document.items() if key not in ("webhooks", "jsonSchemaDialect")
    }
    made["openapi"] = VERSION
    made.setdefault("paths", {})
    info = dict(made.get("info", {}))
    # 3.0 has no summary of a document: it begins the description.
    if summary := info.pop("summary", None):
        info["description"] = "\n\n".join(part for part in (summary, info.get("description")) if part)
    if "license" in info:
        info["license"] = {key: value for key, value in info["license"].items() if key != "identifier"}
    made["info"] = info
    components = made.get("components", {})
    components.pop("pathItems", None)
    if schemas := document.get("components", {}).get("schemas"):
        components["schemas"] = {name: to_schema_30(schema) for name, schema in schemas.items()}
    return made


def _walk(part: Any) -> Any:
    """Copy a part of a document with its schemas converted."""
    if isinstance(part, list):
        return [_walk(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {key: _member(key, value) for key, value in part.items()}


def _member(key: str, value: Any) -> Any:
    if key == "schema":
        return to_schema_30(value)
    return value if key in VALUES else _walk(value)


def to_schema_30(schema: Any) -> Schema:
    """Return a JSON Schema 2020-12 in the dialect of OpenAPI 3.0."""
    if schema is True:
        return {}
    if schema is False:
        return {"not": {}}
    if "$ref" in schema:
        return _reference(schema)
    made: Schema = {}
    for key, value in schema.items():
        if key in UNKNOWN or key in ("type", "const", "examples"):
            continue
        made[key] = _keyword(key, value)
    if "const" in schema:
        made["enum"] = [schema["const"]]
    if "examples" in schema and "example" not in schema and schema["examples"]:
        made["example"] = schema["examples"][0]
    for exclusive, bound in BOUNDS.items():
        _settle_bound(made, exclusive, bound)
    made = _with_type(made, schema.get("type"))
    if made.get("type") == "array" and "items" not in made:
        # 3.0 demands it.
        made["items"] = {}
    return _without_null(made)


def _keyword(key: str, value: Any) -> Any:
    convert: Callable[[Any], Any] | None = {
        "items": to_schema_30, "not": to_schema_30,
        "additionalProperties": lambda inner: inner if isinstance(inner, bool) else to_schema_30(inner),
        "properties": lambda inner: {name: to_schema_30(schema) for name, schema in inner.items()},
        **dict.fromkeys(LISTS, lambda inner: [to_schema_30(schema) for schema in inner]),
    }.get(key)  # fmt: skip
    return value if convert is None else convert(value)


def _reference(schema: Mapping[str, Any]) -> Schema:
    """Return a reference; what stands beside one is not read in 3.0, so that it goes around it."""
    reference = {"$ref": schema["$ref"]}
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    if not beside:
        return reference
    around = to_schema_30(beside)
    return around | {"allOf": [reference, *around.get("allOf", [])]}


def _settle_bound(made: Schema, exclusive: str, bound: str) -> None:
    """Write an exclusive bound as 3.0 does: a bound, and that it is exclusive."""
    value = made.get(exclusive)
    if value is None or isinstance(value, bool):
        return
    inclusive = made.get(bound)
    lower = bound == "minimum"
    # Of two bounds, the one that allows less counts.
    if inclusive is not None and (inclusive > value if lower else inclusive < value):
        del made[exclusive]
        return
    made[bound], made[exclusive] = value, True


def _with_type(made: Schema, kinds: Any) -> Schema:
    """Write a list of types as 3.0 does: one type, perhaps nullable, or a choice."""
    if kinds is None:
        return made
    if kinds in ("null", ["null"]):
        return made | {"nullable": True, "enum": [None]}
    if isinstance(kinds, str):
        return made | {"type": kinds}
    plain = [kind for kind in kinds if kind != "null"]
    if len(plain) == 1:
        made = made | {"type": plain[0]}
        return made | {"nullable": True} if "null" in kinds else made
    choice: list[Schema] = [{"type": kind, **({"items": {}} if kind == "array" else {})} for kind in plain]
    if "null" in kinds:
        choice = [{**one, "nullable": True} for one in choice]
    return made | {"allOf": [*made.get("allOf", []), {"anyOf": choice}]}


def _without_null(made: Schema) -> Schema:
    """Write “or null” of a choice as `nullable` of each of the others, and of an enumeration as of the whole."""
    for key in ("anyOf", "oneOf"):
        parts = made.get(key)
        if parts is None or not any(_is_null(part) for part in parts):
            continue
        others = [part for part in parts if not _is_null(part)]
        if len(others) == 1 and "$ref" not in others[0] and not (made.keys() & others[0].keys()):
            made = {k: v for k, v in made.items() if k != key} | others[0] | {"nullable": True}
        else:
            made = made | {key: [*others, {"nullable": True, "enum": [None]}]}
    if "type" in made and None in made.get("enum", ()):
        made = made | {"nullable": True}
    return made


def _is_null(part: Mapping[str, Any]) -> bool:
    return part.get("enum") == [None] and part.get("nullable") is True and "type" not in part
