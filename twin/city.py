"""The city profile: everything that is particular to one city, read from one file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import shapely
from shapely.geometry.base import BaseGeometry

from twin.errors import SetupProblem
from twin.text import Text


@dataclass(frozen=True, slots=True)
class View:
    """A camera: centre in degrees (longitude, latitude), web zoom, pitch and bearing in degrees."""

    center: tuple[float, float]
    zoom: float
    pitch: float
    bearing: float


@dataclass(frozen=True, slots=True)
class KnownCrs:
    """A coordinate reference system that the city's files come in, by EPSG code."""

    code: int
    title: Text


@dataclass(frozen=True, slots=True)
class KnownGrid:
    """A tile matrix set of the city's own, in one of its projected systems (EPSG code).

    `origin` is the top left corner (x, y) and `cell_size` the width of a pixel at matrix 0, in the system's units;
    each matrix up to `last` halves it. Tiles are 256 pixels wide, and matrix 0 is one tile.
    """

    id: str
    title: Text
    crs: int
    origin: tuple[float, float]
    cell_size: float
    last: int


@dataclass(frozen=True, slots=True)
class City:
    """One city: its names, where it lies (EPSG:4326), its clock, its languages and its reference systems.

    `wards` names the layer whose polygons counts are given by; `grids` are tile matrix sets beside the web's.
    """

    id: str
    title: Text
    name: Text
    time_zone: ZoneInfo
    languages: tuple[str, ...]
    view: View
    wards: str
    outline: BaseGeometry
    crs: tuple[KnownCrs, ...]
    grids: tuple[KnownGrid, ...] = ()


def _text(value: dict[str, str]) -> Text:
    return Text(en=value["en"], vi=value["vi"])


def _parse(data: dict[str, Any]) -> City:
    view = data["view"]
    lon, lat = view["center"]
    return City(
        id=data["id"],
        title=_text(data["title"]),
        name=_text(data["name"]),
        time_zone=ZoneInfo(data["time_zone"]),
        languages=tuple(data["languages"]),
        view=View((float(lon), float(lat)), float(view["zoom"]), float(view["pitch"]), float(view["bearing"])),
        wards=data.get("wards", ""),
        outline=shapely.from_wkt(data["outline"]["wkt"]),
        crs=tuple(KnownCrs(int(c["code"]), _text(c["title"])) for c in data["crs"]),
        grids=tuple(_grid(g) for g in data.get("grid", ())),
    )


def _grid(data: dict[str, Any]) -> KnownGrid:
    left, top = data["origin"]
    return KnownGrid(
        str(data["id"]), _text(data["title"]), int(data["crs"]), (float(left), float(top)), float(data["cell_size"]),
        int(data["last"]),
    )  # fmt: skip


def read_city(name_or_path: str) -> City:
    """Read a profile: the name of one that comes with the program, or the path of a TOML file."""
    own = files("twin") / "cities" / f"{name_or_path}.toml"
    path = Path(name_or_path)
    try:
        text = own.read_text("utf-8") if own.is_file() else path.read_text("utf-8")
        return _parse(tomllib.loads(text))
    except FileNotFoundError:
        reason: object = Text(en="there is no such profile or file", vi="không có hồ sơ hay tệp như vậy")
    except (KeyError, ValueError, TypeError, OSError, shapely.errors.ShapelyError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise SetupProblem(
        Text(
            en="The city profile “{city}” cannot be used: {reason}. See twin/cities/hcmc.toml for the form.",
            vi="Không dùng được hồ sơ thành phố “{city}”: {reason}. Xem mẫu ở twin/cities/hcmc.toml.",
        ).format(city=name_or_path, reason=reason)
    )
