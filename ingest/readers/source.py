"""Protocol of readers, their options, and the errors and helpers that all readers share."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable
from weakref import finalize

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from ingest.frames import objects, with_geometry
from ingest.readers.limits import Limits, exceeded
from layers.theme import FieldType
from twin.crs import parse_crs, usable_crs
from twin.errors import BadInput
from twin.text import Text

if TYPE_CHECKING:
    # Loads the database's tables, which a process that only reads a file does without.
    from ingest.mapping.description import OsmFilter


logger = logging.getLogger(__name__)
DAMAGED = Text(
    en="it is damaged, cut off, or not what its name says; export it anew with the program that made it",
    vi="tệp bị hỏng, bị cụt hoặc không đúng như tên gọi; hãy xuất lại bằng phần mềm đã tạo ra nó",
)
DAMAGED_AT = Text(
    en="it is damaged or cut off in line {line}; export it anew with the program that made it",
    vi="tệp bị hỏng hoặc bị cụt ở dòng {line}; hãy xuất lại bằng phần mềm đã tạo ra nó",
)
_PLACE = re.compile(r"\bline (\d+)")
# Columns of a batch that are not the file's own.
PROBLEM = "__problem__"
RAW = "__raw__"
WKB = "__wkb__"
GEOMETRY = "geometry"
# How folders are called that archives are unpacked in.
UNPACKED = "twin-read-"
# What is kept of a geometry that cannot be read: all of it, but for monsters.
RAW_LENGTH = 2_000_000
RESERVED_COLUMNS = frozenset({PROBLEM, RAW, WKB, GEOMETRY})


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading a file; whatever is None is found out from the file.

    `layer` names one of the file's layers, `crs` and `encoding` overrule what the file says of itself; `longitude`
    and `latitude`, or `wkt`, name a table's columns; `osm` chooses objects of an OpenStreetMap extract. `workspace`
    is where archives are unpacked (else the system's temporary folder).
    """

    layer: str | None = None
    crs: Any = None
    encoding: str | None = None
    longitude: str | None = None
    latitude: str | None = None
    wkt: str | None = None
    osm: OsmFilter | None = None
    limits: Limits = field(default_factory=Limits)
    workspace: Path | None = None


Pick = Callable[[int], npt.NDArray[np.intp]]


@runtime_checkable
class Reader(Protocol):
    """An open file: its description, and its features in batches.

    * `format` is the name people use ("Shapefile"), `driver` the program part that reads it ("ESRI Shapefile").
    * `layer` is the layer that is read, or None where all of `layers` come together, distinguished by a column.
    * `columns` maps the names of the file's columns to their types. A time of day without a zone is "text".
    * `crs` is None where the file does not say; `crs_reason` tells where it comes from. Coordinates are always in the
      order x, y (longitude, latitude), whatever the authority of the CRS says.
    * `encoding` is None where text is Unicode by format; `encoding_reason` tells how it is known. With `raw_text`
      the encoding is not known for sure: every character of a text column stands for one byte of the file
      (`value.encode("latin-1")` gives the bytes), to be decoded column by column.
    * `count` is the number of features, or None where it is not known before reading.
    * `has_geometry` is False for a table in which no column says where a row lies; its rows have no geometry.
    * `solids` names the columns that hold a 3D shape as hexadecimal WKB (MultiPolygon Z) in `crs`, heights in metres;
      `ingest.readers.solids.solids_to_wgs84` brings them to EPSG:4326.

    * `notes` are the problems of the whole file that were found on opening it: a code of `ingest.checks.kinds`, and
      what was found.

    A batch is a GeoDataFrame, rows in the file's order, with `columns`, the column "geometry" and three more. In
    `__problem__` stands None, or why this feature cannot be used, as "reason" or "reason: detail"; its geometry is
    then None or as far as it could be read. `__raw__` holds such a geometry as the file writes it (WKT, GeoJSON or
    hexadecimal WKB), so that quarantine can keep it. `__wkb__` holds for all or none of a batch what shapely would
    write for the geometry.
    """

    path: Path
    format: str
    driver: str
    layer: str | None
    layers: tuple[str, ...]
    columns: Mapping[str, FieldType]
    crs: Any
    crs_reason: Text
    encoding: str | None
    encoding_reason: Text
    raw_text: bool
    count: int | None
    has_geometry: bool
    solids: tuple[str, ...]
    notes: list[tuple[str, str | Text]]

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features from the beginning, at most `rows` at a time."""

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length. `pick` names the rows of a batch of some length."""

    def close(self) -> None:
        """Remove what was unpacked to read the file."""


UNICODE = Text(en="text of this format is always Unicode", vi="định dạng này luôn dùng Unicode")
CRS_GIVEN = ENCODING_GIVEN = Text(en="as you specified", vi="theo chỉ định của bạn")
CRS_IN_FILE = Text(en="the file says so", vi="tệp ghi như vậy")
CRS_SILENT = Text(en="the file does not say in which coordinate system it is", vi="tệp không ghi hệ tọa độ")
CRS_OF_NO_PLACE = Text(
    en="what the file writes (“{name}”) is no coordinate system of places on the earth",
    vi="nội dung tệp ghi (“{name}”) không phải hệ tọa độ trên mặt đất",
)
CRS_OF_FORMAT = Text(
    en="this format is always in longitude and latitude (WGS 84)",
    vi="định dạng này luôn dùng kinh độ, vĩ độ (WGS 84)",
)


def given_crs(given: Any) -> Any:
    """Read the system that a person gives; one that no place on the earth can be computed from is refused."""
    crs = usable_crs(parse_crs(given))
    if crs is None:
        raise BadInput(
            Text(
                en="“{name}” is no coordinate system of places on the earth. Example: EPSG:9210",
                vi="“{name}” không phải hệ tọa độ trên mặt đất. Ví dụ: EPSG:9210",
            ).format(name=str(given)[:80])
        )
    return crs


def _name_of(crs: Any) -> str:
    text = str(crs)
    quoted = re.search(r'"([^"]{1,80})"', text)
    return quoted[1] if quoted else text[:80]


class FileReader:
    """Base of all readers: the file, and a folder of their own that goes when they are closed."""

    format: str = ""
    driver: str = ""
    layer: str | None = None
    layers: tuple[str, ...] = ()
    columns: Mapping[str, FieldType]
    encoding: str | None = None
    encoding_reason: Text = UNICODE
    raw_text: bool = False
    count: int | None = None
    has_geometry: bool = True
    solids: tuple[str, ...] = ()
    crs: Any = None
    crs_reason: Text = CRS_SILENT

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.path = path
        self.options = options
        self.limits = options.limits
        self.notes: list[tuple[str, str | Text]] = []
        self._folders: list[finalize[..., Any]] = []

    def set_crs_of_file(self, found: Any, reason: Text) -> None:
        """Take the CRS that a person gave, else the one that was found."""
        if self.options.crs is not None:
            self.crs, self.crs_reason = given_crs(self.options.crs), CRS_GIVEN
        elif found is None:
            self.crs, self.crs_reason = None, reason
        elif (crs := usable_crs(found)) is None:
            self.crs, self.crs_reason = None, CRS_OF_NO_PLACE.format(name=_name_of(found))
        else:
            self.crs, self.crs_reason = crs, reason

    def note(self, code: str, detail: str | Text) -> None:
        """Take down what people should know of the whole file; `code` is one of `ingest.checks.kinds`."""
        self.notes.append((code, detail))

    def own(self, folder: Path) -> None:
        """Remove `folder` when this reader is closed or forgotten."""
        self._folders.append(finalize(self, shutil.rmtree, folder, ignore_errors=True))

    def close(self) -> None:
        """Remove what was unpacked to read the file."""
        for remove in self._folders:
            remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class FeatureReader(FileReader, ABC):
    """A reader that gives features; a raster's gives pixels."""

    @abstractmethod
    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features from the beginning, at most `rows` at a time."""

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length."""
        for batch in self.batches(rows):
            yield batch.iloc[pick(len(batch))], len(batch)


# Names that no library takes for anything but a path: pyogrio reads "a.zip!b" as a file within an archive.
_PLAIN_NAME = re.compile(r"[\w./ +@%,=()-]+")


def plainly_named(path: Path) -> bool:
    """Return whether every library takes this path for the file that it names."""
    return _PLAIN_NAME.fullmatch(str(path)) is not None


def link_plainly(path: Path, folder: Path, suffixes: frozenset[str] | None = None) -> Path:
    """Make links with plain names in `folder` to a file and to those beside it with the same name; give the file's."""
    stem = re.sub(r"[^\w-]", "_", path.stem)
    for part in path.parent.iterdir():
        suffix = part.suffix.lower()
        if part.stem.casefold() == path.stem.casefold() and (suffixes is None or suffix in suffixes):
            target = folder / f"{stem}{suffix}"
            if not target.exists():
                target.symlink_to(part.resolve())
    return folder / f"{stem}{path.suffix.lower()}"


def workspace(options: ReadOptions) -> Path:
    """Make a new folder that only this user may enter."""
    if options.workspace is not None:
        options.workspace.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{UNPACKED}{os.getpid()}-", dir=options.workspace))


def sweep(older_than: float, folder: Path | None = None) -> int:
    """Remove what killed programs left unpacked in a workspace (else the temporary folder); give how many folders.

    Only this user's folders go whose program has ended and in which nothing was written for `older_than` seconds. The
    time alone protects programs on another machine that share the folder.
    """
    root, removed = folder or Path(tempfile.gettempdir()), 0
    for left in root.glob(f"{UNPACKED}*") if root.is_dir() else ():
        try:
            about = left.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and _left(left) and _age(left) > older_than:
                shutil.rmtree(left)
                removed += 1
        except OSError:
            continue
    return removed


def _left(folder: Path) -> bool:
    """Return whether the program that made a folder has ended, as far as this machine knows."""
    number = folder.name.removeprefix(UNPACKED).partition("-")[0]
    if not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _age(folder: Path) -> float:
    """Return seconds since anything in a folder was last written."""
    newest = max((part.lstat().st_mtime for part in (folder, *folder.rglob("*"))), default=0.0)
    return time.time() - newest


class LayerNotChosen(BadInput):
    """The file has several layers and none was chosen; `layers` names them."""

    def __init__(self, file: str, layers: Sequence[str], wanted: str | None = None) -> None:
        self.layers = tuple(layers)
        named = ", ".join(layers[:30]) + (" …" if len(layers) > 30 else "")
        if wanted is None:
            message = Text(
                en="{file} has {n} layers. Say which one to read with --source-layer: {layers}",
                vi="{file} có {n} lớp. Hãy chọn lớp cần đọc bằng --source-layer: {layers}",
            )
        else:
            message = Text(
                en="{file} has no layer “{wanted}”. For --source-layer it has: {layers}",
                vi="{file} không có lớp “{wanted}”. Các lớp dùng được với --source-layer: {layers}",
            )
        super().__init__(message.format(file=file, n=len(layers), layers=named or "–", wanted=wanted))


def choose_layer(file: str, layers: Sequence[str], wanted: str | None) -> str:
    """Return the chosen layer, or the only one."""
    if wanted is not None and wanted in layers:
        return wanted
    if wanted is None and len(layers) == 1:
        return layers[0]
    raise LayerNotChosen(file, layers, wanted)


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of columns, each once and none reserved: a later double, or a reserved name, gets a number."""
    taken: set[str] = {name.casefold() for name in RESERVED_COLUMNS}
    unique = []
    for position, name in enumerate(names, start=1):
        base = name.strip() or f"column_{position}"
        new, number = base, 1
        while new.casefold() in taken:
            number += 1
            new = f"{base}_{number}"
        taken.add(new.casefold())
        unique.append(new)
    return unique


def make_batch(
    columns: Mapping[str, Any], geometry: npt.NDArray[np.object_],
    problems: npt.NDArray[np.object_] | None = None, raw: npt.NDArray[np.object_] | None = None,
    wkb: npt.NDArray[np.object_] | None = None,
) -> gpd.GeoDataFrame:  # fmt: skip
    """Put a batch together; without `problems` no row has one. `wkb` is what shapely would write for the geometry."""
    # Set in any case: no column of a file may stand for one of them.
    notes = {name: objects(given, len(geometry)) for name, given in ((PROBLEM, problems), (RAW, raw), (WKB, wkb))}
    return with_geometry({**columns, **notes}, geometry)


def check_columns(file: str, names: Sequence[str], limits: Limits) -> None:
    """Refuse a table that is too wide."""
    if len(names) > limits.columns:
        raise exceeded(file, limits, "columns")


def inside(folder: Path, file: Path) -> Path:
    """Resolve a file of a description; it must exist, below the folder that was named."""
    root = folder.resolve()
    path = (root / file).resolve()
    if not path.is_relative_to(root):
        raise BadInput(
            Text(
                en="“{file}” lies outside the data folder {folder}.",
                vi="“{file}” nằm ngoài thư mục dữ liệu {folder}.",
            ).format(file=file, folder=folder)
        )
    if not path.is_file():
        raise BadInput(
            Text(en="The file “{file}” is missing in {folder}.", vi="Thiếu tệp “{file}” trong {folder}.").format(
                file=file, folder=folder
            )
        )
    return path


def cannot_read(path: Path, reason: object) -> BadInput:
    """Return the error for a file that is not what its name says.

    What a library says of it is written to the log: it is English, about the inside of the library, and advises what
    would be refused here.
    """
    if isinstance(reason, Text):
        text = reason
    else:
        logger.info("%s cannot be read: %s", path.name, str(reason).strip()[:1000])
        place = _PLACE.search(str(reason))
        text = DAMAGED_AT.format(line=place[1]) if place else DAMAGED
    return BadInput(
        Text(en="{file} cannot be read: {reason}", vi="Không đọc được {file}: {reason}").format(
            file=path.name, reason=text
        )
    )


def missing_columns(path: Path, wanted: set[str], present: Mapping[str, FieldType]) -> None:
    """Refuse a file that lacks columns which the description names."""
    if absent := wanted - set(present):
        raise BadInput(
            Text(
                en="{file} has no column {absent}. Its columns are: {present}.",
                vi="{file} không có cột {absent}. Các cột hiện có: {present}.",
            ).format(file=path.name, absent=", ".join(sorted(absent)), present=", ".join(present))
        )
