"""Reading a layer: its features and cells as data frames, and what is said of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twin.client.connection import Connection
from twin.errors import BadInput
from twin.text import Text

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

Box = Sequence[float]
# Seconds that one of the server's processes may be behind another.
BEHIND = 3.0
# A version's number, or the time at which it was current.
Moment = int | datetime | date | str


@dataclass(frozen=True, slots=True)
class Description:
    """What an agency says of its layer. `schema` holds a JSON Schema for each property, `versions` the kept ones."""

    layer: str
    title: str
    description: str
    agency: str
    theme: str
    geometry: str
    licence: str
    attribution: str
    sharing: str
    sample: bool
    version: int
    versions: tuple[int, ...]
    published: datetime
    features: int
    bounds: tuple[float, float, float, float] | None
    cell_resolution: int
    schema: Mapping[str, Mapping[str, Any]]

    def columns(self) -> pd.DataFrame:
        """The properties as a table: title, type, unit (UCUM), allowed terms."""
        import pandas as pd

        names = {"title": "title", "type": "type", "unit": "x-ogc-unit", "terms": "enum"}
        rows = [[said.get(key) for key in names.values()] for said in self.schema.values()]
        return pd.DataFrame(rows, columns=list(names), index=pd.Index(self.schema, name="property", dtype="str"))


class Layer:
    """One layer of a city's server. Nothing is kept here: each call asks the server anew."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._path = f"collections/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"Layer({self.name!r})"

    def describe(self) -> Description:
        """Title, theme, licence, versions and schema of the layer as it is now."""
        said = self._connection.document(self._path)
        schema = self._connection.document(f"{self._path}/schema", {"version": said["version"]})["properties"]
        return Description(
            layer=said["id"], title=said["title"], description=said["description"], agency=said["agency"]["title"],
            theme=said["theme"], geometry=said["geometry"], licence=said["licence"], attribution=said["attribution"],
            sharing=said["sharing"], sample=said["sample"], version=said["version"], versions=tuple(said["versions"]),
            published=datetime.fromisoformat(said["published"]), features=said["featureCount"],
            bounds=tuple(said["bounds"]) if said["bounds"] else None, cell_resolution=said["cellResolution"],
            schema={name: about for name, about in schema.items() if name not in ("id", "geometry")},
        )  # fmt: skip

    def watch(self) -> Iterator[Description]:
        """The layer's description as it is now, and again whenever another version is current; until you stop.

        A layer that cannot be read any more ends it with `NotFound`.
        """
        from twin.client.live import Current, follow

        last: int | None = None
        for event in follow(self._connection, [self.name]):
            told = event.layers.get(self.name) if isinstance(event, Current) else event.version
            if told == last and told is not None:
                continue
            about = self._described(told)
            if about.version != last:
                last = about.version
                yield about

    def _described(self, told: int | None) -> Description:
        """The description with the version that was told: another of the server's processes may hear of it later."""
        until = time.monotonic() + BEHIND
        while (about := self.describe()).version != told and time.monotonic() < until:
            time.sleep(0.1)
        return about

    def to_geodataframe(
        self, *, bbox: Box | None = None, where: str | None = None, at: Moment | None = None,
        properties: Sequence[str] | None = None, limit: int | None = None, crs: str | int | None = None,
    ) -> gpd.GeoDataFrame:  # fmt: skip
        """The features, by their ids.

        `bbox` is west, south, east, north in degrees; features that intersect it come. `where` is CQL2 text, such as
        "height > 20 AND use = 'office'". `at` is a version's number, or the time whose version is wanted; a time
        without a zone is this machine's own. `crs` is one of the layer's systems, such as "EPSG:9210"; without it
        coordinates are longitude and latitude. Whole numbers and booleans come as pandas' types that know missing
        values. `attrs` of the frame say layer, version, licence and attribution.
        """
        from twin.client import frames

        about = self._connection.document(self._path)
        answer = self._connection.read(
            f"{self._path}/items",
            {
                "f": "geoparquet", "bbox": _box(bbox), "filter": where, **_moment(at, about["version"]),
                "properties": _listed(properties), "limit": limit, "crs": _system(crs),
            },
        )  # fmt: skip
        frame = frames.features(answer.content)
        frame.attrs = _said(about) | {"version": frames.version_named(answer.headers["content-disposition"])}
        whole = bbox is None and where is None and at is None and limit is None
        if whole and len(frame) < (about["featureCount"] or 0):
            warnings.warn(
                f"{self.name} has {about['featureCount']:,} features; the server gives {len(frame):,} in one answer. "
                "Read the rest by bbox.",
                stacklevel=2,
            )
        return frame

    def cells(
        self, resolution: int | None = None, *, bbox: Box | None = None, where: str | None = None,
        at: Moment | None = None, properties: Sequence[str] | None = None, geometry: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """The layer counted in H3 cells, one row a cell that holds features, by the cells' names.

        Columns: `features` (each counted once), `per_km2`, and the values that the layer's theme rolls up; `attrs`
        say their titles, units and rules. Without `resolution` one is taken that suits the area. With `where` the
        numbers are those of the features that match. `geometry` makes it a GeoDataFrame with the cells' outlines.
        """
        from twin.client import frames

        answer = self._connection.read(
            f"{self._path}/cells",
            {
                "f": "arrow", "resolution": resolution, "bbox": _box(bbox), "filter": where, **_moment(at, None),
                "properties": _listed(properties),
            },
        )  # fmt: skip
        return frames.cells(answer.content, geometry=geometry)


def _said(about: Mapping[str, Any]) -> dict[str, Any]:
    names = {"layer": "id", "title": "title", "licence": "licence", "attribution": "attribution", "sample": "sample"}
    return {name: about[key] for name, key in names.items()}


def _box(box: Box | None) -> str | None:
    if box is None:
        return None
    numbers = [float(number) for number in box]
    if len(numbers) != 4:
        raise BadInput(
            Text(
                en="bbox takes four numbers: west, south, east, north in degrees.",
                vi="bbox cần bốn số: tây, nam, đông, bắc (độ).",
            )
        )
    return ",".join(map(repr, numbers))


def _moment(at: Moment | None, current: int | None) -> dict[str, Any]:
    """The parameters that name a version: the current one by its number, so that it cannot change meanwhile."""
    match at:
        case None:
            return {"version": current}
        case datetime():
            # One without a zone is taken for this machine's own time. pandas' moments know no local zone.
            said = at if at.tzinfo else datetime.fromisoformat(at.isoformat()).astimezone()
            return {"asOf": said.isoformat()}
        case date():
            return {"asOf": at.isoformat()}
        case str():
            return {"asOf": at}
    return {"version": int(at)}


def _listed(names: Sequence[str] | None) -> str | None:
    if names is None:
        return None
    return names if isinstance(names, str) else ",".join(names)


def _system(crs: str | int | None) -> str | None:
    return f"EPSG:{crs}" if isinstance(crs, int) else crs
