"""A city's server: its layers, its places, and publishing."""

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
from twin.client.transfer import Notes
from twin.jobs.queue import PublishOrder

if TYPE_CHECKING:
    import pandas as pd

    from twin.client.live import LiveEvent

# What a table of layers says of each, by the names of its columns.
OF_A_LAYER = {
    "title": "title", "agency": "agency", "theme": "theme", "geometry": "geometry", "features": "featureCount",
    "version": "version", "versions": "versions", "published": "published", "sharing": "sharing",
    "licence": "licence", "attribution": "attribution", "sample": "sample",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a cell: by agency and layer, at most twenty features a layer with their number in all.

    `boundary` is the cell's outline as (longitude, latitude); `agencies` is the server's own document.
    """

    cell: str
    resolution: int
    boundary: tuple[tuple[float, float], ...]
    agencies: Sequence[Mapping[str, Any]]

    @property
    def layers(self) -> dict[str, Mapping[str, Any]]:
        """What each layer says of the place, by the layer's id; `total` counts its features here."""
        return {layer["layer"]: layer for agency in self.agencies for layer in agency["layers"]}

    def to_dataframe(self) -> pd.DataFrame:
        """One row a feature: layer, version, id, title, whether it stands at the point, and its properties."""
        import pandas as pd

        columns = ["layer", "version", "id", "title", "here", "whole", "properties"]
        rows = [
            [name, said["version"], *(feature[c] for c in columns[2:])]
            for name, said in self.layers.items()
            for feature in said["features"]
        ]
        return pd.DataFrame(rows, columns=columns)


class Twin:
    """A city's server, asked with one key. Errors are those of `twin.errors`, in the words of the server."""

    def __init__(
        self, url: str, key: str | None = None, *, insecure_http: bool = False, patience: float = 300.0,
        notes: Notes | None = None,
    ) -> None:  # fmt: skip
        """`patience` is how many seconds a server that does not answer is asked again; reading waits 20 at most."""
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
        """A layer by its name, `agency.layer`. Whether there is such a layer is found out when it is read."""
        return Layer(self._connection, name)

    def layers(self) -> pd.DataFrame:
        """The layers that the key may read, one row each, by their names."""
        import pandas as pd

        said = self._connection.document("collections")["collections"]
        rows = [{**layer, "agency": layer["agency"]["title"]} for layer in said]
        frame = pd.DataFrame(
            [[row[key] for key in OF_A_LAYER.values()] for row in rows],
            columns=list(OF_A_LAYER), index=pd.Index([row["id"] for row in rows], name="layer", dtype="str"),
        )  # fmt: skip
        return frame.assign(published=pd.to_datetime(frame["published"], utc=True))

    def cell(self, cell: str | int) -> Place:
        """All that is known of an H3 cell of any resolution, given in hexadecimal or as its number."""
        name = f"{cell:x}" if isinstance(cell, int) else cell
        return self._place(f"cells/{quote(name, safe='')}", {})

    def at(self, longitude: float, latitude: float) -> Place:
        """All that is known of the place at a point in degrees: its cell of resolution 11."""
        return self._place("cells/at", {"lng": longitude, "lat": latitude})

    def _place(self, path: str, given: Mapping[str, Any]) -> Place:
        said = self._connection.document(path, given)
        boundary = tuple((x, y) for x, y in said["boundary"])
        return Place(said["cell"], said["resolution"], boundary, said["agencies"])

    # Following -------------------------------------------------------------------------------------

    def live(self, layers: Sequence[str] | None = None) -> Iterator[LiveEvent]:
        """What changes in the layers that the key may read, or in the given ones, as it happens; until you stop.

        First comes what is current now. A lost connection is made again for `patience` seconds; if something changed
        meanwhile, `Current` comes again. Events of kinds that this client does not know are left out.
        """
        from twin.client.live import follow

        return follow(self._connection, layers)

    # Publishing ------------------------------------------------------------------------------------

    def publish(
        self, path: str | Path, layer: str, *, order: PublishOrder | None = None, progress: Progress | None = None,
        **said: Any,
    ) -> JobResult:  # fmt: skip
        """Upload a file, let it be published into a layer, and wait for what comes of it.

        `said` are the fields of `PublishOrder`: mode, strict, dry_run, reason, mapping (a TOML text), crs, encoding,
        source_layer, longitude, latitude. Called again after a break, in this program or another run of it, it goes on
        where it stopped.
        """
        return self._publisher.publish(Path(path), layer, order or PublishOrder(**said), progress or _silent)

    def follow(self, job: UUID, progress: Progress) -> JobResult:
        """Wait until a job is finished, and tell its stages meanwhile."""
        return self._publisher.follow(job, progress)

    def report_page(self, job: UUID) -> str:
        """The report of a finished job as an HTML page."""
        return self._connection.ask("GET", f"jobs/{job}/report").text


def _silent(_stage: str, _done: int, _total: int | None) -> None:
    """Tell nobody."""
