"""A city's server: its layers, its places, live changes, publishing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from uuid import UUID

from twin.client.connection import Connection
from twin.client.layer import Layer
from twin.client.publishing import JobResult, Progress, Publisher
from twin.client.streams import Stream
from twin.client.transfer import Notes
from twin.jobs.queue import PublishOrder

if TYPE_CHECKING:
    import pandas as pd

    from twin.client.live import LiveEvent

# The columns of a table of layers, and the fields of the server's document that they hold.
LAYER_COLUMNS = {
    "title": "title", "agency": "agency", "theme": "theme", "geometry": "geometry", "features": "featureCount",
    "version": "version", "versions": "versions", "published": "published", "sharing": "sharing",
    "licence": "licence", "attribution": "attribution", "sample": "sample",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """The features of all layers at an H3 cell, by agency and layer: at most twenty a layer, and their number.

    Attributes
    ----------
    cell : str
        The cell's index in hexadecimal.
    resolution : int
        H3 resolution, 0 to 15.
    boundary : tuple of (longitude, latitude)
        The cell's outline in degrees (EPSG:4326).
    agencies : sequence of mappings
        The server's document.
    """

    cell: str
    resolution: int
    boundary: tuple[tuple[float, float], ...]
    agencies: Sequence[Mapping[str, Any]]

    @property
    def layers(self) -> dict[str, Mapping[str, Any]]:
        """The part of each layer, by layer id; `total` counts its features here."""
        return {layer["layer"]: layer for agency in self.agencies for layer in agency["layers"]}

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a feature: layer, version, id, title, whether it lies at the point, and its properties."""
        import pandas as pd

        columns = ["layer", "version", "id", "title", "here", "whole", "properties"]
        rows = [
            [name, part["version"], *(feature[c] for c in columns[2:])]
            for name, part in self.layers.items()
            for feature in part["features"]
        ]
        return pd.DataFrame(rows, columns=columns)


class Twin:
    """A city's server.

    Parameters
    ----------
    url : str
        The server's address. A key is sent over plain http only to this machine.
    key : str, optional
        An API key of an agency; without one, open layers can be read.
    insecure_http : bool
        Allow the key to travel over plain http.
    patience : float
        Seconds for which a server that does not answer is retried; reads are retried for 20 seconds at most.
    notes : Notes, optional
        Where unfinished uploads are kept; the user's state folder by default.

    Raises
    ------
    twin.errors.TwinError
        With the server's message: `NotFound`, `Unauthenticated`, `Forbidden`, `BadInput`, `Unavailable` …

    Examples
    --------
    >>> from twin.client import Twin
    >>> city = Twin("http://127.0.0.1:8000")
    >>> wards = city.layer("planning.wards").to_geodataframe(properties=["name"])
    >>> wards.crs.to_epsg()
    4326
    """

    def __init__(
        self, url: str, key: str | None = None, *, insecure_http: bool = False, patience: float = 300.0,
        notes: Notes | None = None,
    ) -> None:  # fmt: skip
        self._connection = Connection(url, key, insecure_http=insecure_http, patience=patience)
        self._publisher = Publisher(self._connection, notes or Notes.of_user())

    def __repr__(self) -> str:
        return f"Twin({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connection.url

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # Reading ---------------------------------------------------------------------------------------

    def layer(self, name: str) -> Layer:
        """Return a layer by name, `agency.layer`; no request is sent until it is read."""
        return Layer(self._connection, name)

    def layers(self) -> pd.DataFrame:
        """Return the layers that the key may read, one row each, indexed by layer name.

        Examples
        --------
        >>> "planning.wards" in city.layers().index
        True
        """
        import pandas as pd

        listed = self._connection.document("collections")["collections"]
        rows = [{**layer, "agency": layer["agency"]["title"]} for layer in listed]
        frame = pd.DataFrame(
            [[row[key] for key in LAYER_COLUMNS.values()] for row in rows],
            columns=list(LAYER_COLUMNS), index=pd.Index([row["id"] for row in rows], name="layer", dtype="str"),
        )  # fmt: skip
        return frame.assign(published=pd.to_datetime(frame["published"], utc=True))

    def streams(
        self, layers: str | Sequence[str] | None = None, kinds: str | Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the streams that the key may read, one row each with its latest value, indexed by id.

        Parameters
        ----------
        layers : str or sequence of str, optional
            Only streams of these layers.
        kinds : str or sequence of str, optional
            Only of these kinds, such as ``"water_level"``.

        Returns
        -------
        pandas.DataFrame
            Longitude and latitude in degrees (EPSG:4326), NaN for a stream that has no place; `value` in `unit` (UCUM);
            `time` in UTC; `fresh` tells whether the value still says how things are.

        Examples
        --------
        >>> city.streams(kinds=["rain", "water_level"]).index.name
        'stream'
        """
        from twin.client import streams

        return streams.streams(self._connection, layers, kinds)

    def stream(self, key: int) -> Stream:
        """Return a stream by its id; no request is sent until it is read."""
        return Stream(self._connection, key)

    def cell(self, cell: str | int) -> Place:
        """Return the features of all layers in an H3 cell of any resolution, given in hexadecimal or as an integer."""
        name = f"{cell:x}" if isinstance(cell, int) else cell
        return self._place(f"cells/{quote(name, safe='')}", {})

    def at(self, longitude: float, latitude: float) -> Place:
        """Return the features of all layers at a point, and in its cell of resolution 11.

        Parameters
        ----------
        longitude, latitude : float
            Degrees (EPSG:4326).
        """
        return self._place("cells/at", {"lng": longitude, "lat": latitude})

    def _place(self, path: str, given: Mapping[str, Any]) -> Place:
        answer = self._connection.document(path, given)
        boundary = tuple((x, y) for x, y in answer["boundary"])
        return Place(answer["cell"], answer["resolution"], boundary, answer["agencies"])

    # Following -------------------------------------------------------------------------------------

    def live(self, layers: Sequence[str] | None = None, *, state: bool = False) -> Iterator[LiveEvent]:
        """Yield changes of the layers that the key may read, or of the given ones, until the caller stops.

        The first event is `Current`. A lost connection is made again for `patience` seconds; if something changed
        meanwhile, `Current` comes again. Events of unknown kinds are left out. With `state`, values of the layers'
        streams come too, as `StateChange`: all of them first, then those that changed.
        """
        from twin.client.live import follow

        return follow(self._connection, layers, state=state)

    # Publishing ------------------------------------------------------------------------------------

    def publish(
        self, path: str | Path, layer: str, *, order: PublishOrder | None = None, progress: Progress | None = None,
        **options: Any,
    ) -> JobResult:  # fmt: skip
        """Upload a file, queue its publish into a layer, and wait for the result.

        An interrupted call resumes when it is made again, in this run of the program or another.

        Parameters
        ----------
        path : path
            A file, or the .gdb folder of a FileGDB; the parts of a shapefile travel along.
        layer : str
            `agency.layer`; it must exist.
        order : PublishOrder, optional
            How to publish; or its fields as `options`: mode, strict, dry_run, reason, mapping (TOML text), crs,
            encoding, source_layer, longitude, latitude, wkt.
        progress : callable, optional
            Called with the stage, how much is done, and how much there is.
        """
        return self._publisher.publish(Path(path), layer, order or PublishOrder(**options), progress or _silent)

    def follow(self, job: UUID, progress: Progress) -> JobResult:
        """Wait until a job is finished; report its stages meanwhile."""
        return self._publisher.follow(job, progress)

    def report_page(self, job: UUID) -> str:
        """Return the report of a finished job as an HTML page."""
        return self._connection.ask("GET", f"jobs/{job}/report").text


def _silent(_stage: str, _done: int, _total: int | None) -> None:
    """Report nothing."""
