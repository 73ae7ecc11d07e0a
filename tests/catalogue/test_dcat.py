"""The catalogue as DCAT-AP: read with rdflib, checked against shapes, and compared with what the server really has."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import shapely
from pyshacl import validate
from rdflib import Graph, Literal, Namespace, URIRef

from ingest.mapping.rows import columns_of_layer
from layers.contracts import as_theme
from layers.registry import theme
from tests.conftest import LiveServer, serving, text_of
from tests.features.conftest import COLUMNS, CONTRACT, plots
from tiles.catalogue.dcat import dataset
from tiles.catalogue.freshness import FreshnessLevel, ago, freshness
from tiles.catalogue.search import CatalogueQuery, search
from tiles.catalogue.vocabulary import licence_address
from twin.access.keys import new_key
from twin.access.permit import whole_permit
from twin.catalogue.catalogue import LayerEntry, ensure_agency, ensure_layer, read_catalogue
from twin.catalogue.staging import Provenance, Shape, Staging
from twin.db.cluster import PrivateCluster
from twin.db.database import Database
from twin.db.migrate import migrate
from twin.db.tables import PrincipalRole, Sharing
from twin.text import Text

DCAT = Namespace("http://www.w3.org/ns/dcat#")
DCTERMS = Namespace("http://purl.org/dc/terms/")
FOAF = Namespace("http://xmlns.com/foaf/0.1/")
RDF = Namespace("http://www.w3.org/1999/02/22-rdf-syntax-ns#")
ADMS = Namespace("http://www.w3.org/ns/adms#")
SPDX = Namespace("http://spdx.org/rdf/terms#")
HYDRA = Namespace("http://www.w3.org/ns/hydra/core#")
SHAPES = Graph().parse(Path(__file__).with_name("dcat_ap.ttl"))
MANY = 20
AUTHORITY = "http://publications.europa.eu/resource/authority"


@pytest.fixture(scope="module")
def office(cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, str]]:
    """A server with an open, a shared and a restricted layer and many small ones; a key of the agency “lab”."""
    database = Database(cluster.url(f"{os.environ['TWIN_TEST_RUN']}_dcat_{os.getpid()}"), private=True)
    migrate(database)
    with database.session() as session:
        for name in ("lab", "other"):
            ensure_agency(session, name, Text(en=name.title(), vi=f"Đơn vị {name}"))
        for layer, sharing, frequency in (
            ("lab.plots", Sharing.OPEN, "daily"), ("lab.shared", Sharing.SHARED, "irregular"),
            ("lab.secret", Sharing.RESTRICTED, "yearly"), ("other.secret", Sharing.RESTRICTED, "weekly"),
        ):  # fmt: skip
            contract = CONTRACT.model_copy(update={"layer": layer})
            ensure_layer(
                session,
                LayerEntry(
                    layer, layer, Text(en=f"Title of {layer}", vi=f"Tên lớp {layer}"), licence="CC-BY-4.0", sharing=sharing,
                    attribution="a <b>test</b>", contract=contract.model_dump_json(), update_frequency=frequency,
                ),
            )  # fmt: skip
        key = new_key(session, "lab", "desk", PrincipalRole.READER, "test")
        for number in range(MANY):
            ensure_layer(
                session,
                LayerEntry(f"other.places_{number}", "places", Text(en=f"Place {number}", vi=f"Chỗ Đẹp {number}"), sharing=Sharing.OPEN),
            )  # fmt: skip
    for layer, count, reason in (
        ("lab.plots", 30, "first survey"), ("lab.plots", 33, "khảo sát bổ sung"), ("lab.shared", 2, ""),
        ("lab.secret", 2, ""), ("other.secret", 2, ""),
    ):  # fmt: skip
        with Staging(database, layer, Shape(COLUMNS, as_theme(CONTRACT).resolution), Provenance("tester", "survey-7.shp", reason=reason)) as staging:  # fmt: skip
            frame = plots(count, size_shift=count if count == 30 else 0)
            staging.append(frame)
            staging.publish()
    columns = columns_of_layer(theme("places"), {})
    for number in range(MANY):
        frame = plots(1)[["fid", "id", "importance", "geometry"]]
        frame["geometry"] = shapely.centroid(frame.geometry.values)
        for column in columns:
            frame[column.name] = None
        with Staging(database, f"other.places_{number}", Shape(columns, 11), Provenance("tester", "x")) as staging:
            staging.append(frame)
            staging.publish()
    database.writer.dispose()
    with serving(database, tmp_path_factory.mktemp("dcat") / "log") as server:
        yield server, key
    database.writer.dispose()


@pytest.fixture(scope="module")
def http(office: tuple[LiveServer, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=office[0].url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def own(office: tuple[LiveServer, str]) -> Iterator[httpx.Client]:
    """The same, with the key of the agency “lab”."""
    headers = {"Authorization": f"Bearer {office[1]}"}
    with httpx.Client(base_url=office[0].url, timeout=60, headers=headers) as client:
        yield client


def at(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def graph_of(client: httpx.Client, address: str, **given: object) -> Graph:
    answer = client.get(address, params=given or None, headers={"Accept": "application/ld+json"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/ld+json"
    # The context stands inside: nothing is fetched.
    assert isinstance(answer.json()["@context"], dict)
    graph = Graph().parse(data=answer.text, format="json-ld")
    conforms, _, said = validate(graph, shacl_graph=SHAPES)
    assert conforms, said
    return graph


def names(graph: Graph, base: httpx.Client) -> set[str]:
    found = graph.objects(None, DCAT.dataset)
    return {str(node).removeprefix(f"{at(base)}/catalogue/") for node in found}


def test_the_catalogue_keeps_to_dcat_ap(http: httpx.Client) -> None:
    graph = graph_of(http, "/catalogue")
    (catalogue,) = graph.subjects(RDF.type, DCAT.Catalog)
    assert str(catalogue) == f"{at(http)}/catalogue"
    assert names(graph, http) == {"lab.plots", *(f"other.places_{n}" for n in range(MANY))}
    node = URIRef(f"{at(http)}/catalogue/lab.plots")
    assert set(graph.objects(node, DCTERMS["title"])) == {
        Literal("Title of lab.plots", lang="en"), Literal("Tên lớp lab.plots", lang="vi"),
    }  # fmt: skip
    assert graph.value(node, DCTERMS.accessRights) == URIRef(f"{AUTHORITY}/access-right/PUBLIC")
    assert graph.value(node, DCTERMS.accrualPeriodicity) == URIRef(f"{AUTHORITY}/frequency/DAILY")
    publisher = graph.value(node, DCTERMS.publisher)
    assert Literal("Đơn vị lab", lang="vi") in set(graph.objects(publisher, FOAF.name))
    served = set(graph.objects(URIRef(f"{at(http)}/catalogue#service-tiles"), DCAT.servesDataset))
    assert node in served and len(served) == MANY + 1


def test_a_dataset_stands_alone_and_every_address_in_it_answers(http: httpx.Client) -> None:
    graph = graph_of(http, "/catalogue/lab.plots")
    node = URIRef(f"{at(http)}/catalogue/lab.plots")
    assert graph.value(node, DCAT.version) == Literal("2")
    assert {str(v).rpartition("@")[2] for v in graph.objects(node, DCAT.hasVersion)} == {"1", "2"}
    assert graph.value(node, ADMS.versionNotes) == Literal("khảo sát bổ sung")
    assert graph.value(node, DCTERMS.license) == URIRef("https://creativecommons.org/licenses/by/4.0/")
    addresses = {
        str(address)
        for name in (DCAT.downloadURL, DCAT.accessURL, DCAT.landingPage, DCTERMS.conformsTo, DCAT.endpointDescription, DCAT.hasVersion)
        for address in graph.objects(None, name)
        if str(address).startswith(at(http))
    }  # fmt: skip
    assert len(addresses) > 12
    for address in addresses - {f"{at(http)}/cells"}:
        assert http.get(address).status_code == 200, address


def test_size_and_digest_are_told_once_a_file_is_prepared(http: httpx.Client) -> None:
    content = http.get("/downloads/lab.plots.gpkg").content
    graph = graph_of(http, "/catalogue/lab.plots")
    file = URIRef(f"{at(http)}/downloads/lab.plots.gpkg")
    assert int(str(graph.value(file, DCAT.byteSize))) == len(content)
    checksum = graph.value(file, SPDX.checksum)
    assert str(graph.value(checksum, SPDX.checksumValue)) == hashlib.sha256(content).hexdigest()


def test_a_version_is_a_dataset_of_its_own(http: httpx.Client) -> None:
    graph = graph_of(http, "/catalogue/lab.plots@2")
    node = URIRef(f"{at(http)}/catalogue/lab.plots@2")
    assert graph.value(node, DCAT.isVersionOf) == URIRef(f"{at(http)}/catalogue/lab.plots")
    assert graph.value(node, DCAT.previousVersion) == URIRef(f"{at(http)}/catalogue/lab.plots@1")
    assert URIRef(f"{at(http)}/downloads/lab.plots@2.csv") in set(graph.objects(None, DCAT.downloadURL))
    assert http.get("/catalogue/lab.plots@7").status_code == 404


def test_a_hidden_dataset_is_not_there_at_all(http: httpx.Client, own: httpx.Client) -> None:
    seen = graph_of(own, "/catalogue")
    assert names(seen, own) == names(graph_of(http, "/catalogue"), http) | {"lab.shared", "lab.secret"}
    rights = {str(right).rpartition("/")[2] for right in seen.objects(None, DCTERMS.accessRights)}
    assert rights == {"PUBLIC", "RESTRICTED", "NON_PUBLIC"}
    for client, name in ((http, "lab.secret"), (http, "lab.shared"), (own, "other.secret")):
        for tail in ("", "?f=html", "@1", "/preview.svg"):
            hidden = client.get(f"/catalogue/{name}{tail}")
            missing = client.get(f"/catalogue/{name.partition('.')[0]}.absent{tail}")
            assert hidden.status_code == missing.status_code == 404
            assert text_of(hidden).replace(name, "") == text_of(missing).replace(f"{name.partition('.')[0]}.absent", "")
        page = client.get("/catalogue", params={"f": "html", "limit": 1000}).text
        assert name not in page


def test_where_data_came_from_is_for_their_own_agency(http: httpx.Client, own: httpx.Client) -> None:
    for form in ("jsonld", "html"):
        public = http.get("/catalogue/lab.plots", params={"f": form}).text
        assert "survey-7" not in public and "tester" not in public
        known = own.get("/catalogue/lab.plots", params={"f": form})
        assert "survey-7.shp" in known.text and "tester" in known.text
        assert known.headers["cache-control"].startswith("private")
        assert "khảo sát bổ sung" in public


def test_answers_are_kept_only_by_whom_they_are_for(http: httpx.Client, own: httpx.Client) -> None:
    for client, name, scope in (
        (http, "/catalogue/lab.plots", "public"), (own, "/catalogue/lab.plots", "private"),
        (own, "/catalogue/lab.secret", "private"), (http, "/catalogue", "private"),
    ):  # fmt: skip
        answer = client.get(name)
        assert answer.headers["cache-control"] == f"{scope}, no-cache"
        assert "Authorization" in answer.headers["vary"] and "Accept" in answer.headers["vary"]
        again = client.get(name, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert http.get("/catalogue").headers["etag"] != own.get("/catalogue").headers["etag"]


def test_the_form_is_negotiated(http: httpx.Client) -> None:
    for address in ("/catalogue", "/catalogue/lab.plots"):
        for accept, expected in (
            ("application/ld+json", "application/ld+json"), ("*/*", "application/ld+json"),
            ("application/json", "application/ld+json"), ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ):  # fmt: skip
            assert http.get(address, headers={"Accept": accept}).headers["content-type"] == expected
        assert http.get(address, headers={"Accept": "image/png"}).status_code == 406
        assert http.get(address, params={"f": "turtle"}).status_code == 400
        assert http.get(address, params={"nonsense": "1"}).status_code == 400


def test_pages_of_the_catalogue_hold_every_dataset_once(http: httpx.Client) -> None:
    seen: list[str] = []
    address: str | None = "/catalogue?limit=8"
    while address:
        graph = graph_of(http, address)
        page = names(graph, http)
        assert 0 < len(page) <= 8
        seen += page
        following = next(graph.objects(None, HYDRA.next), None)
        answer = http.get(address)
        assert ('rel="next"' in answer.headers["link"]) == (following is not None)
        assert next(graph.objects(None, HYDRA.totalItems)).toPython() == MANY + 1
        address = str(following) if following else None
    assert len(seen) == len(set(seen)) == MANY + 1
    assert names(graph_of(http, "/catalogue", offset=10_000), http) == set()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"q": "title"}, {"lab.plots"}), ({"q": "ten LOP plots"}, {"lab.plots"}), ({"q": "cho dep 17"}, {"other.places_17"}),
        ({"agency": "lab"}, {"lab.plots"}), ({"agency": "lab", "sharing": "restricted"}, set()),
        ({"theme": "lab.plots", "q": ""}, {"lab.plots"}), ({"freshness": "fresh"}, {"lab.plots"}),
        ({"freshness": "late"}, set()), ({"q": "%"}, set()), ({"q": "' OR 1=1"}, set()),
    ],
)  # fmt: skip
def test_filters_find_layers(http: httpx.Client, given: dict[str, str], expected: set[str]) -> None:
    assert names(graph_of(http, "/catalogue", **given), http) == expected


def test_a_thousand_layers_are_searched_and_described_fast(office: tuple[LiveServer, str]) -> None:
    with office[0].database.session() as session:
        (layer, *_) = read_catalogue(session).values()
    assert layer.current is not None
    permits = [
        whole_permit(
            replace(layer, id=f"lab.l{n}", title=Text(en=f"Layer {n}", vi=f"Lớp {n}"), current=layer.current),
            layer.current,
            pinned=False,
        )
        for n in range(1000)
    ]
    search(permits, CatalogueQuery(q="warm"), datetime.now(UTC))
    began = time.perf_counter()
    assert len(search(permits, CatalogueQuery(q="lop 77", freshness=FreshnessLevel.FRESH), datetime.now(UTC))) == 19
    for one in permits:
        dataset("https://city.example", one, {})
    assert time.perf_counter() - began < 1.0


def test_freshness_follows_the_frequency(office: tuple[LiveServer, str]) -> None:
    with office[0].database.session() as session:
        layers = read_catalogue(session)
    layer = layers["lab.plots"]
    assert layer.current is not None
    published = layer.current.published
    day = published.replace(microsecond=0)
    assert freshness(layer, day + timedelta(hours=23)).state is FreshnessLevel.FRESH
    late = freshness(layer, day + timedelta(days=3))
    assert late.state is FreshnessLevel.LATE and late.due == published + timedelta(days=1)
    assert freshness(layers["lab.shared"], datetime(2099, 1, 1, tzinfo=UTC)).state is FreshnessLevel.AS_NEEDED
    assert (ago(timedelta(days=3)).en, ago(timedelta(days=3)).vi) == ("3 days ago", "3 ngày trước")
    assert (ago(timedelta(days=1)).en, ago(timedelta(seconds=3)).en, ago(timedelta(days=800)).vi) == (
        "1 day ago", "just now", "2 năm trước",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("licence", "address"),
    [
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("CC-BY-SA-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
        ("ODbL-1.0", "https://opendatacommons.org/licenses/odbl/1-0/"),
        ("https://example.org/licence", "https://example.org/licence"), ("chưa rõ / not stated", None),
        ("https://example.org/ two", None), ("javascript:alert(1)", None), ("", None),
    ],
)  # fmt: skip
def test_a_licence_is_named_by_its_address_where_it_has_one(licence: str, address: str | None) -> None:
    assert licence_address(licence) == address
