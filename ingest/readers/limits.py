"""Limits of what readers take from a file: settings with defaults that no honest file of a city meets."""

from __future__ import annotations

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from twin.config import unusable
from twin.errors import BadInput
from twin.text import Text

PREFIX = "TWIN_LIMIT_"


class Limits(BaseSettings):
    """Limits of one file. Each field is the environment variable `TWIN_LIMIT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    unpacked_bytes: int = Field(16 * 2**30, ge=1, description="Bytes an archive may unpack to.")
    ratio: int = Field(200, ge=1, description="Times larger than the archive that its content may be.")
    entries: int = Field(10_000, ge=1, description="Files in an archive.")
    name_length: int = Field(240, ge=1, description="Bytes in the name of a file in an archive.")
    vertices: int = Field(1_000_000, ge=4, description="Vertices of one geometry.")
    columns: int = Field(1_000, ge=1, description="Columns of a table.")
    string_length: int = Field(1_000_000, ge=1, description="Characters of one value.")
    object_bytes: int = Field(128 * 2**20, ge=1024, description="Bytes of one object of a JSON or XML file.")
    document_bytes: int = Field(512 * 2**20, ge=1024, description="Bytes of a document that has to be read whole.")
    depth: int = Field(200, ge=10, description="Elements of an XML file inside one another.")
    query_seconds: int = Field(20, ge=1, description="Seconds that the views of a database file may take.")
    pixels: int = Field(4_000_000_000, ge=1, description="Pixels of a raster, all bands together.")


def load_limits() -> Limits:
    """Read the limits from the environment; a value that does not fit is named in one sentence."""
    try:
        return Limits()
    except ValidationError as error:
        raise unusable(PREFIX, error) from None


class LimitExceeded(BadInput):
    """A file asks for more than is allowed."""


_WHAT: dict[str, Text] = {
    "unpacked_bytes": Text(en="it unpacks to more bytes", vi="giải nén ra nhiều byte hơn"),
    "ratio": Text(en="it unpacks to more times its own size", vi="giải nén ra gấp nhiều lần kích thước của nó"),
    "entries": Text(en="it holds more files", vi="chứa nhiều tệp hơn"),
    "name_length": Text(en="a file in it has a longer name, in bytes,", vi="có tệp bên trong tên dài hơn (byte)"),
    "vertices": Text(en="a geometry has more vertices", vi="có hình nhiều đỉnh hơn"),
    "columns": Text(en="it has more columns", vi="có nhiều cột hơn"),
    "string_length": Text(en="a value has more characters", vi="có giá trị dài hơn (ký tự)"),
    "object_bytes": Text(en="one object in it has more bytes", vi="có một đối tượng lớn hơn (byte)"),
    "document_bytes": Text(
        en="a document of this format must be read whole, and it has more bytes",
        vi="định dạng này phải đọc trọn tệp, và tệp lớn hơn (byte)",
    ),
    "depth": Text(en="its elements are nested deeper", vi="các phần tử lồng nhau sâu hơn"),
    "query_seconds": Text(en="its views take more seconds to run", vi="các khung nhìn trong tệp chạy lâu hơn (giây)"),
    "pixels": Text(en="it has more pixels", vi="có nhiều điểm ảnh hơn"),
}


def exceeded(file: str, limits: Limits, name: str) -> LimitExceeded:
    """Return the error for a file that passes a limit: which, how much is allowed, and the setting that says so."""
    return LimitExceeded(
        Text(
            en="{file} is refused: {what} than the {allowed:,} that are allowed. Divide the file, or ask the operator "
            "to raise {setting}.",
            vi="{file} bị từ chối: {what} mức cho phép là {allowed:,}. Hãy chia nhỏ tệp, hoặc đề nghị người vận "
            "hành tăng {setting}.",
        ).format(file=file, what=_WHAT[name], allowed=getattr(limits, name), setting=f"{PREFIX}{name.upper()}")
    )
