"""The catalogue as DCAT-AP 3: JSON-LD with its context inside, so that nothing has to be fetched to read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import shapely

from layers.contracts import theme_of
from tiles.catalogue.distributions import distributions, services
from tiles.catalogue.history import Step
from tiles.catalogue.nodes import Node, address_of, licence_of, texts, typed
from tiles.catalogue.vocabulary import ACCESS, AUTHORITY, FREQUENCIES, data_theme
from tiles.ogc.links import path
from twin.access.permit import Permit
from twin.catalogue.catalogue import Agency, Bounds, Layer, Version, outwards
from twin.catalogue.download_folder import Prepared
from twin.city import City
from twin.text import LANGUAGES, Language, Text

CONTEXT: Mapping[str, str] = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "adms": "http://www.w3.org/ns/adms#",
    "spdx": "http://spdx.org/rdf/terms#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "geo": "http://www.opengis.net/ont/geosparql#",
    "hydra": "http://www.w3.org/ns/hydra/core#",
}
LANGUAGE_ADDRESS: Mapping[Language, str] = {"vi": f"{AUTHORITY}language/VIE", "en": f"{AUTHORITY}language/ENG"}
ABOUT = Text(
    en="The layers that the agencies of {city} publish on the shared map.",
    vi="Các lớp dữ liệu do các đơn vị của {city} công bố trên bản đồ dùng chung.",
)
SAMPLE = Text(en="sample data", vi="dữ liệu mẫu")


def _moment(version: Version) -> Node:
    return typed("xsd:dateTime", version.published.isoformat().replace("+00:00", "Z"))


def catalogue(
    base: str, city: City, datasets: Sequence[Node], shown: Iterable[Permit], own: str, others: Mapping[str, str],
    total: int,
) -> Node:  # fmt: skip
    """The catalogue with some of its datasets; `own` is this page's address, `others` those of the pages around it."""
    kept = list(shown)
    newest = max((permit.version.published for permit in kept), default=None)
    node: Node = {
        "@context": dict(CONTEXT),
        "@id": path(base, "catalogue"),
        "@type": "dcat:Catalog",
        "dct:title": texts(city.title),
        "dct:description": texts(ABOUT.format(city=city.name)),
        "dct:publisher": {"@id": f"{base}/catalogue#city", "@type": "foaf:Agent", "foaf:name": texts(city.name)},
        "dct:language": [_linguistic(language) for language in LANGUAGES],
        "dct:spatial": _location(city.outline.bounds),
        "foaf:homepage": {"@id": f"{base}/", "@type": "foaf:Document"},
        "dcat:themeTaxonomy": {
            "@id": f"{AUTHORITY}data-theme", "@type": "skos:ConceptScheme",
            "dct:title": texts(Text(en="Data theme", vi="Chủ đề dữ liệu")),
        },
        "dcat:dataset": list(datasets),
        "dcat:service": services(base, [path(base, "catalogue", permit.layer.id) for permit in kept]),
        "hydra:totalItems": total,
        "hydra:view": {
            "@id": own, "@type": "hydra:PartialCollectionView",
            **{f"hydra:{name}": {"@id": address} for name, address in others.items()},
        },
    }  # fmt: skip
    if newest is not None:
        node["dct:modified"] = typed("xsd:dateTime", newest.isoformat().replace("+00:00", "Z"))
    return node


def dataset(
    base: str, chosen: Permit, prepared: Mapping[str, Prepared], steps: Sequence[Step] = (), *, whole: bool = False
) -> Node:
    """A layer, or one version of it if that is pinned. The `whole` document stands alone and has the versions too."""
    layer, version = chosen.layer, chosen.version
    assert layer.current is not None  # noqa: S101
    address, of = path(base, "catalogue", layer.id), theme_of(layer)
    step = next((step for step in steps if step.version.key == version.key), None)
    title = _titled(layer, version) if chosen.pinned else layer.title
    node: Node = {
        "@id": address_of(base, chosen),
        "@type": "dcat:Dataset",
        "dct:identifier": chosen.name if chosen.pinned else layer.id,
        "dct:title": texts(title),
        "dct:description": texts(_described(layer)),
        "dct:publisher": _agent(base, layer.agency),
        "dct:creator": {"@id": _agent_address(base, layer.agency)},
        "dct:accessRights": {"@id": ACCESS[layer.sharing], "@type": "dct:RightsStatement"},
        "dct:modified": _moment(version),
        "dct:accrualPeriodicity": {
            "@id": FREQUENCIES.get(layer.update_frequency, f"{AUTHORITY}frequency/UNKNOWN"), "@type": "dct:Frequency",
        },
        "dct:conformsTo": {
            "@id": path(base, "collections", layer.id, "schema"), "@type": "dct:Standard", "dct:title": texts(of.title),
        },
        "dcat:theme": [
            {"@id": data_theme(of.name), "@type": "skos:Concept"},
            {"@id": f"{base}/catalogue#theme-{of.name}", "@type": "skos:Concept", "skos:prefLabel": texts(of.title)},
        ],
        "dcat:keyword": [*texts(of.title), *(texts(SAMPLE) if layer.sample else [])],
        "dcat:version": str(version.number),
        "dcat:landingPage": {"@id": f"{address}?f=html", "@type": "foaf:Document"},
        "dcat:distribution": distributions(base, chosen, prepared),
    }  # fmt: skip
    first = version.published if chosen.pinned else layer.created
    if first is not None:
        node["dct:issued"] = typed("xsd:dateTime", first.isoformat().replace("+00:00", "Z"))
    if bounds := chosen.bounds:
        node["dct:spatial"] = _location(bounds)
    if licence := licence_of(layer.licence):
        node["dct:license"] = licence
    if whole:
        node |= _of_versions(address, chosen, steps, step)
        node["@context"] = dict(CONTEXT)
        node["@included"] = services(base, [node["@id"]])
    return node


def _of_versions(address: str, chosen: Permit, steps: Sequence[Step], step: Step | None) -> Node:
    layer, node = chosen.layer, Node()
    if chosen.pinned:
        node["dcat:isVersionOf"] = {"@id": address}
        before = max((n for n in layer.versions if n < chosen.version.number), default=None)
        if before is not None:
            node["dcat:previousVersion"] = {"@id": f"{address}@{before}"}
    else:
        node["dcat:hasVersion"] = [_version(address, layer, s) for s in steps]
    if step is not None and step.reason:
        node["adms:versionNotes"] = step.reason
    if step is not None and step.record is not None:
        record = step.record
        digest = f" (SHA-256 {record.sha256})" if record.sha256 else ""
        node["dct:provenance"] = {
            "@type": "dct:ProvenanceStatement",
            "rdfs:label": texts(
                Text(
                    en="From {source}{digest}, published by {by} with version {tool} of the program.",
                    vi="Từ {source}{digest}, do {by} công bố bằng chương trình phiên bản {tool}.",
                ).format(source=record.source, digest=digest, by=record.by, tool=record.tool)
            ),
        }
    return node


def _version(address: str, layer: Layer, step: Step) -> Node:
    version = step.version
    node: Node = {
        "@id": f"{address}@{version.number}",
        "@type": "dcat:Dataset",
        "dct:title": texts(_titled(layer, version)),
        "dct:description": texts(_described(layer)),
        "dct:issued": _moment(version),
        "dcat:version": str(version.number),
        "dcat:isVersionOf": {"@id": address},
    }
    if step.reason:
        node["adms:versionNotes"] = step.reason
    return node


def _titled(layer: Layer, version: Version) -> Text:
    return Text(en="{title}, version {number}", vi="{title}, phiên bản {number}").format(
        title=layer.title, number=version.number
    )


def _described(layer: Layer) -> Text:
    """Return what the agency says of its layer, else its theme, else its title: no dataset goes without."""
    of = theme_of(layer)
    return Text(
        en=layer.description.en or of.description.en or layer.title.en,
        vi=layer.description.vi or of.description.vi or layer.title.vi,
    )


def _agent_address(base: str, agency: Agency) -> str:
    return f"{base}/catalogue#agency-{agency.name}"


def _agent(base: str, agency: Agency) -> Node:
    return {"@id": _agent_address(base, agency), "@type": "foaf:Agent", "foaf:name": texts(agency.title)}


def _linguistic(language: Language) -> Node:
    return {"@id": LANGUAGE_ADDRESS[language], "@type": "dct:LinguisticSystem"}


def _location(bounds: Bounds) -> Node:
    box = shapely.box(*outwards(bounds))
    return {
        "@type": "dct:Location",
        "dcat:bbox": typed("geo:wktLiteral", shapely.to_wkt(box, rounding_precision=7)),
        "dcat:centroid": typed("geo:wktLiteral", shapely.to_wkt(box.centroid, rounding_precision=6)),
    }
