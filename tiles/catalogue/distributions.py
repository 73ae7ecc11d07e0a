"""What a dataset can be had as: files to download, and the services that answer questions about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tiles.catalogue.nodes import Node, address_of, licence_of, texts, typed
from tiles.catalogue.vocabulary import AUTHORITY
from tiles.downloads.formats import FORMS, DownloadFormat
from tiles.ogc.formats import GEOJSON
from tiles.ogc.links import path
from tiles.vector.routes import MEDIA_TYPE as MVT
from twin.access.permit import Permit
from twin.catalogue.download_folder import Prepared
from twin.text import Text

IANA = "https://www.iana.org/assignments/media-types/"
# The file types of the European table; a format that it does not know is named in words.
FILE_TYPES: Mapping[str, str] = {"geojson": "GEOJSON", "gpkg": "GPKG", "csv": "CSV", "parquet": "PARQUET"}
# Media types that are not in IANA's register, so that there is no address for them.
UNREGISTERED = frozenset({"application/vnd.flatgeobuf"})

ITEMS = Text(en="Features (OGC API — Features)", vi="Đối tượng (OGC API — Features)")
TILES = Text(en="Vector tiles (MVT, TileJSON)", vi="Ô bản đồ vectơ (MVT, TileJSON)")
CELLS = Text(en="H3 cells", vi="Ô H3")


def services(base: str, datasets: Sequence[str]) -> list[Node]:
    """Return the services, with the datasets, by address, that they serve among these."""
    served = [{"@id": address} for address in datasets]
    kept: list[tuple[str, Text, str, list[str]]] = [
        ("items", ITEMS, f"{base}/collections", ["http://www.opengis.net/spec/ogcapi-features-1/1.0/req/core"]),
        ("tiles", TILES, f"{base}/tiles", ["https://github.com/mapbox/tilejson-spec/tree/master/3.0.0"]),
        ("cells", CELLS, f"{base}/cells", ["https://h3geo.org/"]),
    ]
    return [
        {
            "@id": _service(base, name),
            "@type": "dcat:DataService",
            "dct:title": texts(title),
            "dcat:endpointURL": {"@id": address},
            "dcat:endpointDescription": {"@id": f"{base}/api"},
            "dct:conformsTo": [{"@id": standard, "@type": "dct:Standard"} for standard in standards],
            "dcat:servesDataset": served,
        }
        for name, title, address, standards in kept
    ]


def _service(base: str, name: str) -> str:
    return f"{base}/catalogue#service-{name}"


def download_address(base: str, chosen: Permit, form: DownloadFormat) -> str:
    """Where a layer, or the version that is pinned, can be downloaded."""
    name = path(base, "downloads", chosen.layer.id)
    return f"{name}{f'@{chosen.version.number}' if chosen.pinned else ''}.{form.suffix}"


def distributions(base: str, chosen: Permit, prepared: Mapping[str, Prepared]) -> list[Node]:
    """Return the files, with size and digest where they are prepared, and the services of a dataset."""
    return [
        *(_file(base, chosen, form, prepared.get(form.suffix)) for form in FORMS.values()),
        _access(base, chosen, "items", ITEMS, path(base, "collections", chosen.layer.id, "items"), GEOJSON.media_type),
        _access(base, chosen, "tiles", TILES, path(base, "tiles", chosen.layer.id, "tilejson.json"), MVT),
        _access(base, chosen, "cells", CELLS, f"{base}/cells", "application/json"),
    ]


def _file(base: str, chosen: Permit, form: DownloadFormat, prepared: Prepared | None) -> Node:
    address = download_address(base, chosen, form)
    node: Node = {
        "@id": address,
        "@type": "dcat:Distribution",
        "dct:title": form.title,
        "dct:description": texts(form.use),
        "dcat:accessURL": {"@id": f"{address_of(base, chosen)}?f=html"},
        "dcat:downloadURL": {"@id": address},
        "dct:format": _format(form),
        **_terms(chosen),
    }
    if form.media_type not in UNREGISTERED:
        node["dcat:mediaType"] = {"@id": f"{IANA}{form.media_type}", "@type": "dct:MediaType"}
    if prepared is not None:
        node["dcat:byteSize"] = typed("xsd:nonNegativeInteger", prepared.size)
        node["spdx:checksum"] = {
            "@type": "spdx:Checksum",
            "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256", "@type": "spdx:ChecksumAlgorithm"},
            "spdx:checksumValue": typed("xsd:hexBinary", prepared.sha256),
        }
    return node


def _format(form: DownloadFormat) -> Node:
    if form.suffix in FILE_TYPES:
        return {"@id": f"{AUTHORITY}file-type/{FILE_TYPES[form.suffix]}", "@type": "dct:MediaTypeOrExtent"}
    return {"@type": "dct:MediaTypeOrExtent", "rdfs:label": form.title}


def _access(base: str, chosen: Permit, service: str, title: Text, address: str, media_type: str) -> Node:
    return {
        "@id": f"{address_of(base, chosen)}#{service}",
        "@type": "dcat:Distribution",
        "dct:title": texts(title),
        "dcat:accessURL": {"@id": address},
        "dcat:accessService": {"@id": _service(base, service)},
        "dcat:mediaType": {"@id": f"{IANA}{media_type}", "@type": "dct:MediaType"},
        **_terms(chosen),
    }


def _terms(chosen: Permit) -> Node:
    """Under which terms it may be used."""
    layer = chosen.layer
    node: Node = {}
    if licence := licence_of(layer.licence):
        node["dct:license"] = licence
    if layer.attribution:
        node["dct:rights"] = {"@type": "dct:RightsStatement", "rdfs:label": layer.attribution}
    return node
