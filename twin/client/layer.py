"""Read a layer: its features and cells as data frames, and its description."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twin.client.connection import Connection
from twin.client.streams import Time
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
    """A layer's description. `schema` holds a JSON Schema for each property, `versions` the kept versions."""

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
        """Return the properties as a table: title, type, unit (UCUM), allowed terms."""
        import pandas as pd

        names = {"title": "title", "type": "type", "unit": "x-ogc-unit", "terms": "enum"}
        rows = [[about.get(key) for key in names.values()] for about in self.schema.values()]
        return pd.DataFrame(rows, columns=list(names), index=pd.Index(self.schema, name="property", dtype="str"))


class Layer:
    """One layer of a city's server. Nothing is cached: each call sends requests."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._path = f"collections/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"Layer({self.name!r})"

    def describe(self) -> Description:
        """Return title, theme, licence, versions and schema of the layer as it is now."""
        about = self._connection.document(self._path)
        schema = self._connection.document(f"{self._path}/schema", {"version": about["version"]})["properties"]
        return Description(
            layer=about["id"], title=about["title"], description=about["description"], agency=about["agency"]["title"],
            theme=about["theme"], geometry=about["geometry"], licence=about["licence"],
            attribution=about["attribution"], sharing=about["sharing"], sample=about["sample"],
            version=about["version"], versions=tuple(about["versions"]),
            published=datetime.fromisoformat(about["published"]), features=about["featureCount"],
            bounds=tuple(about["bounds"]) if about["bounds"] else None, cell_resolution=about["cellResolution"],
            schema={name: of for name, of in schema.items() if name not in ("id", "geometry")},
        )  # fmt: skip

    def watch(self) -> Iterator[Description]:
        """Yield the description now, and again whenever another version is current, until the caller stops.

        A layer that can no longer be read ends it with `NotFound`.
        """
        from twin.client.live import Current, StateChange, follow

        last: int | None = None
        for event in follow(self._connection, [self.name]):
            if isinstance(event, StateChange):
                continue
            expected = event.layers.get(self.name) if isinstance(event, Current) else event.version
            if expected == last and expected is not None:
                continue
            about = self._described(expected)
            if about.version != last:
                last = about.version
                yield about

    def _described(self, expected: int | None) -> Description:
        """Return the description with the expected version: another server process may be a moment behind."""
        until = time.monotonic() + BEHIND
        while (about := self.describe()).version != expected and time.monotonic() < until:
            time.sleep(0.1)
        return about

    def to_geodataframe(
        self, *, bbox: Box | None = None, where: str | None = None, at: Moment | None = None,
        properties: Sequence[str] | None = None, limit: int | None = None, crs: str | int | None = None,
    ) -> gpd.GeoDataFrame:  # fmt: skip
        """Return the features, indexed by id.

        Parameters
        ----------
        bbox : sequence of four floats, optional
            West, south, east, north in degrees; features that intersect it are returned.
        where : str, optional
            CQL2 text, such as ``height > 20 AND use = 'office'``.
        at : int, datetime, date or str, optional
            A version's number, or the time whose version is wanted; a time without a zone is this machine's own.
        properties : sequence of str, optional
            The properties to return; all by default.
        limit : int, optional
            The most features to return.
        crs : str or int, optional
            One of the layer's systems, such as ``"EPSG:9210"``; longitude and latitude (EPSG:4326) by default.

        Returns
        -------
        geopandas.GeoDataFrame
            Integers and booleans have pandas' nullable types. `attrs` hold layer, version, licence and attribution.

        Examples
        --------
        >>> tall = city.layer("construction.buildings").to_geodataframe(where="height > 20", limit=5)
        >>> bool((tall["height"] > 20).all())
        True
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
        frame.attrs = _attributes(about) | {"version": frames.version_named(answer.headers["content-disposition"])}
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
        """Return the layer aggregated by H3 cells, one row a cell that holds features, indexed by cell name.

        Parameters
        ----------
        resolution : int, optional
            H3 resolution; one that suits the area by default.
        bbox, where, at, properties
            As for `to_geodataframe`; the numbers are those of the matching features.
        geometry : bool
            Return a GeoDataFrame with the cells' outlines (EPSG:4326).

        Returns
        -------
        pandas.DataFrame
            `features` (each counted in one cell), `per_km2` (features per km²), and the properties that the layer's
            theme rolls up; `attrs` hold their titles, units (UCUM) and rules.

        Examples
        --------
        >>> cells = city.layer("construction.buildings").cells(8)
        >>> sorted(cells.columns)[:2]
        ['features', 'floor_area_m2']
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

    def state(self, at: Time | None = None) -> gpd.GeoDataFrame:
        """Return the values of the layer's streams now, or as of a moment, indexed by stream.

        Parameters
        ----------
        at : datetime, date or str, optional
            A moment of the past; a time without a zone is this machine's own.

        Returns
        -------
        geopandas.GeoDataFrame
            Points (EPSG:4326), None for a stream that has no place; `value` in `unit` (UCUM), `time` in UTC, `grade`
            and `color` of its class, `flags`, and whether it is `fresh`. Of a past moment only what was fresh then.

        Examples
        --------
        >>> city.layer("planning.wards").state().crs.to_epsg()
        4326
        """
        from twin.client import streams

        return streams.state(self._connection, self._path, self.name, at)


def _attributes(about: Mapping[str, Any]) -> dict[str, Any]:
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
    """Return the parameters that name a version: the current one by number, so that it cannot change meanwhile."""
    match at:
        case None:
            return {"version": current}
        case datetime():
            # One without a zone is taken for this machine's own time. pandas' moments know no local zone.
            moment = at if at.tzinfo else datetime.fromisoformat(at.isoformat()).astimezone()
            return {"asOf": moment.isoformat()}
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
