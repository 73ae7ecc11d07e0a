"""Read streams: which there are, the past of one of them, and the state of a layer, as data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from twin.client.connection import Connection

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

# A time with its zone; one without is this machine's own.
Time = datetime | date | str
Stat = Literal["mean", "min", "max", "sum", "count", "last", "p95"]

PAGE = 5_000
STREAM_COLUMNS = ("code", "layer", "name", "thing", "kind", "unit", "basis", "feature", "cell", "longitude", "latitude",
                  "value", "time", "flags", "fresh")  # fmt: skip
STATE_COLUMNS = ("kind", "value", "unit", "time", "grade", "color", "flags", "fresh", "basis", "feature", "cell")


class Stream:
    """One stream of a city's server. Nothing is cached: each call sends requests."""

    def __init__(self, connection: Connection, key: int) -> None:
        self.id = int(key)
        self._connection = connection

    def __repr__(self) -> str:
        return f"Stream({self.id})"

    def describe(self) -> Mapping[str, Any]:
        """Return the server's description: code, collection, kind, unit, position, latest value, meaning."""
        return self._connection.document(f"streams/{self.id}")

    def series(
        self, every: str = "15m", *, start: Time | None = None, end: Time | None = None, stat: Stat | None = None
    ) -> pd.DataFrame:
        """Return the stream's past in buckets, indexed by the time (UTC) at which each begins.

        Parameters
        ----------
        every : str
            Length of a bucket: 30s, 5m, 15m, 1h, 1d. Buckets stand on the city's midnight.
        start, end : datetime, date or str, optional
            The last day by default. A time without a zone is this machine's own.
        stat : {"mean", "min", "max", "sum", "count", "last", "p95"}, optional
            What a bucket tells; by default what suits the kind of the stream.

        Returns
        -------
        pandas.DataFrame
            `value`, NaN in a bucket without good values; `n`, the values that it rests on; `flagged`, those that were
            left out; `expected`, the number that the stream's usual interval gives. `attrs` hold stream, unit (UCUM),
            stat and basis.

        Raises
        ------
        NotFound
            If there is no such stream for this key.
        BadInput
            If there would be more than 10,000 buckets.

        Examples
        --------
        >>> hours = city.stream(1).series(every="1h", start="2026-05-31T00:00:00Z", end="2026-05-31T06:00:00Z")
        >>> hours["value"].tolist()
        [nan, 24.5, nan, nan, nan, nan]
        >>> hours.loc["2026-05-31T01:00:00Z", ["n", "expected"]].tolist()
        [50, 60]
        """
        import pandas as pd

        given = {"every": every, "from": moment_of(start), "to": moment_of(end), "stat": stat}
        answer = self._connection.document(f"streams/{self.id}/series", given)
        buckets = answer["buckets"]
        starts = pd.DatetimeIndex(pd.to_datetime([b["start"] for b in buckets], utc=True, format="ISO8601"))
        frame = pd.DataFrame(
            {
                "value": pd.array([b["value"] for b in buckets], dtype="float64"),
                "n": pd.array([b["n"] for b in buckets], dtype="int64"),
                "flagged": pd.array([b["flagged"] for b in buckets], dtype="int64"),
                "expected": pd.array([b["expected"] for b in buckets], dtype="Int64"),
            },
            index=starts.rename("time"),
        )  # fmt: skip
        frame.attrs = {name: answer[name] for name in ("stream", "unit", "stat", "basis")}
        return frame


def streams(
    connection: Connection, layers: str | Sequence[str] | None, kinds: str | Sequence[str] | None
) -> pd.DataFrame:
    """Return the streams that the key may read, one row each, indexed by id."""
    import pandas as pd

    rows = listed(connection, layers, kinds)
    table = []
    for row in rows:
        latest, position = row["latest"] or {}, row["position"] or (None, None)
        given = row | latest | {
            "layer": row["collection"], "thing": row["thing"]["name"], "longitude": position[0],
            "latitude": position[1],
        }  # fmt: skip
        table.append([given.get(name) for name in STREAM_COLUMNS])
    frame = pd.DataFrame(
        table, columns=list(STREAM_COLUMNS), index=pd.Index([row["id"] for row in rows], name="stream", dtype="int64")
    )
    return _typed(frame, "longitude", "latitude", "value")


def state(connection: Connection, path: str, layer: str, at: Time | None) -> gpd.GeoDataFrame:
    """Return the values of a layer's streams now, or as of a moment, indexed by stream."""
    import geopandas as gpd
    import pandas as pd
    from shapely import Point

    answer = connection.document(f"{path}/state", {"at": moment_of(at)})
    values = answer["values"]
    points = {row["id"]: Point(row["position"]) for row in listed(connection, layer, None) if row["position"]}
    index = pd.Index([value["stream"] for value in values], name="stream", dtype="int64")
    frame = pd.DataFrame(
        [[value[name] for name in STATE_COLUMNS] for value in values], columns=list(STATE_COLUMNS), index=index
    )
    geometry = gpd.GeoSeries([points.get(stream) for stream in index], index=index, crs="EPSG:4326")
    result = gpd.GeoDataFrame(_typed(frame, "value"), geometry=geometry)
    result.attrs = {"layer": layer, "at": pd.Timestamp(answer["at"])}
    return result


def listed(
    connection: Connection, layers: str | Sequence[str] | None, kinds: str | Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return all streams that the key may read, as the server lists them, page by page."""
    found: list[dict[str, Any]] = []
    given: dict[str, Any] = {"layers": _names(layers), "kinds": _names(kinds), "limit": PAGE}
    while True:
        answer = connection.document("streams", given)
        found += answer["streams"]
        if "next" not in answer or not answer["streams"]:
            return found
        given["after"] = answer["streams"][-1]["id"]


def moment_of(time: Time | None) -> str | None:
    """Return a time as the server reads it; one without a zone is this machine's own."""
    match time:
        case None:
            return None
        case datetime():
            moment = time
        case date():
            moment = datetime(time.year, time.month, time.day)
        case _:
            try:
                moment = datetime.fromisoformat(time)
            except ValueError:
                # The server says what is wrong with it.
                return time
    # pandas' moments know no local zone.
    return (moment if moment.tzinfo else datetime.fromisoformat(moment.isoformat()).astimezone()).isoformat()


def _names(names: str | Sequence[str] | None) -> str | None:
    return names if names is None or isinstance(names, str) else ",".join(names)


def _typed(frame: pd.DataFrame, *numbers: str) -> pd.DataFrame:
    import pandas as pd

    return frame.assign(
        time=pd.to_datetime(frame["time"], utc=True, format="ISO8601"),
        fresh=frame["fresh"].astype("boolean"),
        **{name: frame[name].astype("float64") for name in numbers},
    )
