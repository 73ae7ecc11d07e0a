"""OpenAPI 3.0 beside 3.1: valid, with the same addresses and the same answers allowed."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from tests.features.conftest import ITEMS, LAYER
from tiles.http.openapi30 import to_openapi_30, to_schema_30

OLDER = "application/vnd.oai.openapi+json;version=3.0"


@pytest.fixture(scope="module")
def both(http: httpx.Client) -> tuple[dict[str, Any], dict[str, Any]]:
    newer, older = http.get("/api"), http.get("/api/3.0")
    assert newer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.1"
    assert older.headers["content-type"] == OLDER
    return newer.json(), older.json()


def test_both_documents_are_valid(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    newer, older = both
    assert newer["openapi"].startswith("3.1.") and older["openapi"].startswith("3.0.")
    assert list(OpenAPIV31SpecValidator(newer).iter_errors()) == []
    assert list(OpenAPIV30SpecValidator(older).iter_errors()) == []


def test_both_documents_say_the_same(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    newer, older = both
    assert newer["paths"].keys() == older["paths"].keys()
    for path, operations in newer["paths"].items():
        assert operations.keys() == older["paths"][path].keys(), path
        for method, operation in operations.items():
            other = older["paths"][path][method]
            assert operation["responses"].keys() == other["responses"].keys()
            named = [(p["name"], p["in"], p.get("required")) for p in operation.get("parameters", [])]
            assert named == [(p["name"], p["in"], p.get("required")) for p in other.get("parameters", [])]
            for status, response in operation["responses"].items():
                assert response.get("content", {}).keys() == other["responses"][status].get("content", {}).keys()
    assert newer["components"].keys() == older["components"].keys()


def test_the_server_answers_as_the_older_document_says(
    http: httpx.Client, both: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    older = both[1]
    for path, media_type in (
        ("/collections", "application/json"), ("/collections/{layer}", "application/json"), ("/landing", "application/json"),
        ("/collections/{layer}/items", "application/geo+json"), ("/conformance", "application/json"),
        ("/collections/{layer}/queryables", "application/schema+json"), ("/collections/{layer}/cells", "application/json"),
    ):  # fmt: skip
        schema = older["paths"][path]["get"]["responses"]["200"]["content"][media_type]["schema"]
        answer = http.get(path.format(layer=LAYER), headers={"Accept": media_type})
        assert answer.status_code == 200
        OAS30Validator({**schema, "components": older["components"]}).validate(answer.json())


def test_the_landing_page_leads_to_both_and_the_class_is_claimed(http: httpx.Client) -> None:
    links = [link for link in http.get("/landing").json()["links"] if link["rel"] == "service-desc"]
    assert [link["type"] for link in links] == [OLDER, "application/vnd.oai.openapi+json;version=3.1"]
    for link in links:
        answer = httpx.get(link["href"])
        assert answer.status_code == 200 and answer.headers["content-type"] == link["type"]
    assert (
        "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30" in http.get("/conformance").json()["conformsTo"]
    )


def test_who_names_the_older_version_gets_it_at_the_same_address(http: httpx.Client) -> None:
    assert http.get("/api", headers={"Accept": OLDER}).json()["openapi"].startswith("3.0.")
    assert http.get("/api", headers={"Accept": "*/*"}).json()["openapi"].startswith("3.1.")


def test_the_parameters_of_items_are_written_as_the_standard_has_them(
    http: httpx.Client, both: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    for document in both:
        assert document["servers"] == [{"url": str(http.base_url).rstrip("/")}]
        listed = document["paths"]["/collections/{layer}/items"]["get"]["parameters"]
        found = {p["name"]: p for p in listed}
        for name in ("limit", "bbox", "datetime"):
            assert (found[name]["in"], found[name]["required"]) == ("query", False)
            assert (found[name]["style"], found[name]["explode"]) == ("form", False)
        limit, bbox = found["limit"]["schema"], found["bbox"]["schema"]
        assert limit["type"] == "integer" and limit["minimum"] == 1 and limit["maximum"] >= 10_000
        assert limit["default"] <= limit["maximum"]
        assert (bbox["type"], bbox["minItems"], bbox["maxItems"], bbox["items"]) == ("array", 4, 6, {"type": "number"})
        assert found["datetime"]["schema"]["type"] == "string"
    most = limit["maximum"]
    assert http.get(ITEMS, params={"limit": most}).status_code == 200


# The converter ----------------------------------------------------------------------------------------------------


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "b", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
plain = st.fixed_dictionaries(
    {},
    optional={
        "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
        "const": values, "enum": st.lists(values, min_size=1, max_size=3),
        "minimum": st.integers(-3, 3), "maximum": st.integers(-3, 3), "exclusiveMinimum": st.integers(-3, 3),
        "exclusiveMaximum": st.integers(-3, 3), "minLength": st.integers(0, 2), "minItems": st.integers(0, 2),
    },
)  # fmt: skip
schemas = st.recursive(
    plain,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": kinds, "items": inner, "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=3), "allOf": st.lists(inner, min_size=1, max_size=2),
            "additionalProperties": st.booleans() | inner, "prefixItems": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=5,
)  # fmt: skip


@given(schemas, values)
def test_whatever_the_original_allows_the_older_dialect_allows(schema: dict[str, Any], value: Any) -> None:
    if jsonschema.Draft202012Validator(schema).is_valid(value):
        converted = to_schema_30(schema)
        assert OAS30Validator(converted).is_valid(value), converted


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"const": "Feature"}, {"enum": ["Feature"]}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"exclusiveMinimum": 0, "minimum": 3}, {"minimum": 3}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "integer", "nullable": True}),
        ({"$ref": "#/x", "description": "d"}, {"description": "d", "allOf": [{"$ref": "#/x"}]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": "string", "examples": ["a"], "contentMediaType": "text/html"}, {"type": "string", "example": "a"}),
        (True, {}),
        (False, {"not": {}}),
    ],
)
def test_each_difference_of_the_dialects_is_written_in_the_older_one(newer: Any, older: dict[str, Any]) -> None:
    assert to_schema_30(newer) == older


def test_the_original_stays_as_it_is() -> None:
    document = {
        "openapi": "3.1.0", "info": {"title": "t", "version": "1", "summary": "s", "license": {"name": "n", "identifier": "MIT"}},
        "webhooks": {}, "paths": {"/a": {"get": {"responses": {"200": {"description": "d", "content": {"application/json": {
            "schema": {"type": ["integer", "null"]}, "example": {"const": 1}}}}}}}},
    }  # fmt: skip
    before = repr(document)
    made = to_openapi_30(document)
    assert repr(document) == before
    assert made["info"] == {"title": "t", "version": "1", "license": {"name": "n"}, "description": "s"}
    answer = made["paths"]["/a"]["get"]["responses"]["200"]["content"]["application/json"]
    # What stands in an example is a value, whatever it looks like.
    assert answer == {"schema": {"type": "integer", "nullable": True}, "example": {"const": 1}}
    assert list(OpenAPIV30SpecValidator(made).iter_errors()) == []
