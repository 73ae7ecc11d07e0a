"""The description of pollers: addresses that are polled for values.

[[poller]]
name = "rain_service"
layer = "environment.rain"
address = "https://rain.example/latest.json"
every_seconds = 60
records = "data.stations"
time = "measured.at"
headers = { Authorization = "RAIN_SERVICE_KEY" }
[[poller.value]]
code = "{id}.rain"
value = "rain.mm"
unit = "mm"

[[poller]]
name = "buses"
type = "gtfs-rt"
layer = "transport.buses"
address = "https://buses.example/vehicles.pb"
every_seconds = 15
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator, model_validator

from ingest.streams.spec import Part, Wrong
from layers.contracts import Line
from twin.catalogue.catalogue import LAYER_ID

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,60}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,60}$")]


class PolledValue(Part):
    """One value of each record. Names are paths with dots: `measured.rain` is `rain` in the object `measured`.

    `code` is the stream's code; paths in braces are filled from the record. `value` is the path of the value. `unit` is
    its unit (UCUM), `unit_field` the path of a unit that each record names.
    """

    code: Line
    value: Line
    unit: Line | None = None
    unit_field: Line | None = None


class PollerSpec(Part):
    """An address that is polled.

    `type` is "json", where `records` is the path of the list of records (the document itself without it), or "gtfs-rt"
    (GTFS-Realtime), whose vehicles need no mapping. `time` is the path of a record's time, with its zone or as seconds
    since 1970; `zone` is that of times that name none; without `time` that of receipt counts. `headers` are sent along;
    what they hold comes from environment variables, named here. An answer may be as long as `most_bytes` and take
    `timeout_seconds`.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    type: Literal["json", "gtfs-rt"] = "json"
    layer: Annotated[str, StringConstraints(pattern=LAYER_ID)]
    address: Line
    every_seconds: float = Field(ge=1, le=86_400)
    records: str = ""
    time: Line | None = None
    zone: Line | None = None
    value: tuple[PolledValue, ...] = ()
    headers: Mapping[HeaderName, VariableName] = {}
    timeout_seconds: float = Field(20, gt=0, le=300)
    most_bytes: int = Field(16 << 20, gt=0, le=256 << 20)

    @field_validator("address")
    @classmethod
    def _http_alone(cls, address: str) -> str:
        try:
            parts = urlsplit(address)
            fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise Wrong(
                "an address begins with http:// or https:// and a host",
                "địa chỉ phải bắt đầu bằng http:// hoặc https://",
            )
        if parts.username or parts.password:
            raise Wrong(
                "an address holds no password; send it by headers, from an environment variable",
                "địa chỉ không chứa mật khẩu; hãy gửi bằng headers, lấy từ biến môi trường",
            )
        return address

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (KeyError, ValueError, OSError):
                raise Wrong(f"there is no time zone {name!r}", f"không có múi giờ {name!r}") from None
        return name

    @model_validator(mode="after")
    def _mapped(self) -> Self:
        if self.type == "json" and not self.value:
            raise Wrong("a poller of JSON needs [[poller.value]]", "poller JSON cần [[poller.value]]")
        if self.type == "gtfs-rt" and (self.value or self.records or self.time or self.zone):
            raise Wrong(
                "GTFS-Realtime has its own form: leave out records, time, zone and value",
                "GTFS-Realtime có dạng riêng: bỏ records, time, zone và value",
            )
        return self

    @property
    def agency(self) -> str:
        """The agency whose streams it writes."""
        return self.layer.partition(".")[0]
