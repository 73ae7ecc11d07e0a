"""Vector files through GDAL, streamed as Arrow: GeoJSON, GeoPackage, Shapefile, FlatGeobuf, MapInfo, FileGDB, DXF."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import pyogrio.raw
import shapely
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from ingest.readers.arrow import column_type, to_series
from ingest.readers.dbf import WideNumbers
from ingest.readers.geopackage import has_column
from ingest.readers.limits import exceeded
from ingest.readers.row_problems import CURVED
from ingest.readers.source import (
    CRS_IN_FILE,
    CRS_OF_FORMAT,
    CRS_SILENT,
    DAMAGED,
    FeatureReader,
    Pick,
    ReadOptions,
    cannot_read,
    check_columns,
    choose_layer,
    link_plainly,
    make_batch,
    plainly_named,
    unique_names,
    workspace,
)
from ingest.readers.text import Declared, Decoder
from ingest.readers.wkb import from_wkb
from layers.theme import FieldType
from twin.errors import BadInput
from twin.text import Text

ERRORS = (
    DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, CRSError,
    ValueError, OSError, RuntimeError, pa.ArrowException,
)  # fmt: skip
# What these drivers keep beside the columns to tell features apart stands in the file.
KEYED = frozenset({"GPKG", "OpenFileGDB"})
Ids = Callable[[], Iterator[str | None]]
# A batch, and the ids of its features, if the file has them beside the properties.
Part = tuple[pa.RecordBatch, npt.NDArray[np.object_] | None]
TEXT = frozenset({"GeoJSON", "GeoJSONSeq"})
ONE_LAYER = TEXT | {"FlatGeobuf", "ESRI Shapefile"}
UNASKED_ROWS = 10_000
# How the WKB of a point, a line and a polygon begins, little-endian and in two dimensions.
PLAIN = frozenset(b"\x01" + kind.to_bytes(4, "little") for kind in (1, 2, 3))


def _as_texts(numbers: pa.Array) -> npt.NDArray[np.object_]:
    texts: npt.NDArray[np.object_] = numbers.cast(pa.string()).to_numpy(zero_copy_only=False)
    return texts


def _rings(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
    """Return how many rings each polygon has; an empty one has none."""
    rings: npt.NDArray[np.intp] = shapely.get_num_interior_rings(shapes) + ~shapely.is_empty(shapes)
    return rings


class VectorReader(FeatureReader):
    """One layer of a file that GDAL reads; the driver must be the one of the format that was recognised."""

    def __init__(
        self, path: Path, options: ReadOptions, format: str, driver: str,
        declared: Declared | None = None, read_from: Path | None = None, ids: Ids | None = None,
        wide: WideNumbers | None = None, replace_id: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(path, options)
        self._ids, self._replace_id, self._wide = ids, replace_id, wide
        self.format, self.driver = format, driver
        self._source = read_from or path
        if not plainly_named(self._source):
            folder = workspace(options)
            self.own(folder)
            self._source = link_plainly(self._source, folder)
        self._options: dict[str, str] = {}
        self._decoder: Decoder | None = None
        self._opened = ExitStack()
        self._ready: pa.RecordBatchReader | None = None
        if declared is not None:
            self._read_encoding(declared)
        first = self._info(0, force_feature_count=False)
        self._check_driver(str(first["driver"]))
        self.layers = (str(first["layer_name"]),) if driver in ONE_LAYER else self._list_layers()
        self.layer = choose_layer(path.name, self.layers, options.layer)
        info = first if driver in ONE_LAYER else self._info(self.layer)
        check_columns(path.name, info["fields"], self.limits)
        self.count = int(info["features"]) if info["features"] >= 0 else None
        self._read_crs(info["crs"])
        self._schema()

    def _read_encoding(self, declared: Declared) -> None:
        shapefile = self.driver == "ESRI Shapefile"
        decoder = Decoder(self.options.encoding, declared, as_latin_1=shapefile)
        self.encoding, self.encoding_reason, self.raw_text = decoder.encoding, decoder.reason, decoder.raw
        if decoder.raw and declared.doubtful:
            self.note(
                "text.code_page",
                Text(
                    en="{file} says {encoding}; to read the text so, give --encoding {encoding}",
                    vi="{file} ghi {encoding}; để đọc chữ theo bảng mã này, dùng --encoding {encoding}",
                ).format(file=declared.where, encoding=declared.encoding),
            )
        unicode = decoder.encoding == "utf-8"
        if shapefile:
            # GDAL's own conversion loses characters of some encodings; as ISO 8859-1 every byte comes through.
            self._options = {"ENCODING": "UTF-8" if unicode else "ISO-8859-1"}
        self._decoder = None if unicode else decoder

    def _check_driver(self, found: str) -> None:
        if found != self.driver:
            raise BadInput(
                Text(
                    en="{file} looks like {format} but would be read as {driver}, which is not accepted.",
                    vi="{file} có vẻ là {format} nhưng lại được đọc như {driver}, không được chấp nhận.",
                ).format(file=self.path.name, format=self.format, driver=found)
            )

    def _list_layers(self) -> tuple[str, ...]:
        try:
            listed = pyogrio.list_layers(self._source)
        except ERRORS as error:
            raise self._unreadable(error) from error
        # Tables without geometry are no layers of a map, unless there is nothing else.
        drawn = tuple(str(name) for name, geometry in listed if geometry is not None)
        return drawn or tuple(str(name) for name, _ in listed)

    def _info(self, layer: str | int, **how: Any) -> dict[str, Any]:
        try:
            info: dict[str, Any] = pyogrio.read_info(self._source, layer=layer, **how, **self._options)
        except DataLayerError:
            raise cannot_read(self.path, Text(en="it has no layer", vi="tệp không có lớp nào")) from None
        except ERRORS as error:
            raise self._unreadable(error) from error
        return info

    def _read_crs(self, found: str | None) -> None:
        if self.driver in TEXT:
            reason = CRS_OF_FORMAT if found in (None, "EPSG:4326", "OGC:CRS84") else CRS_IN_FILE
            self.set_crs_of_file(found or 4326, reason)
        else:
            self.set_crs_of_file(found or None, CRS_IN_FILE if found else CRS_SILENT)

    def _schema(self) -> None:
        with ExitStack() as opened:
            meta, stream = opened.enter_context(self._open(UNASKED_ROWS))
            schema, own = stream.schema, len(meta["fields"])
            # GDAL's number of the feature stands first and its geometry last; a field may have the name of either, so
            # all are known by their place.
            self._begin = 1 if len(schema) > own else 0
            self._geometry = self._begin + own if len(schema) > self._begin + own else None
            if self.driver in TEXT:
                # Opening a text means reading all of it: what was opened for its columns serves for the features too.
                self._opened, self._ready = opened.pop_all(), stream
        places = list(range(self._begin, self._begin + own))
        if self._replace_id:
            # GDAL makes a property of ids that are text.
            places = [place for place in places if schema.field(place).name != "id"]
        kinds: dict[int, FieldType] = {place: column_type(schema.field(place).type) for place in places}
        if self._wide is not None:
            kinds |= dict.fromkeys((p for p in kinds if p - self._begin in self._wide.columns), "text")
        names = [schema.field(place).name for place in places]
        if self._decoder is not None:
            names = [self._decoder.name(name) for name in names]
        # Behind the others, so that these keep their names if one is called the same.
        key = self._key_name(str(meta["fid_column"] or ""), names)
        names = unique_names([*names, *([key] if key else [])])
        self._key = names.pop() if key else None
        self._places = dict(zip(names, places, strict=True))
        columns: dict[str, FieldType] = {self._key: "text"} if self._key is not None else {}
        self.columns = columns | {name: kinds[place] for name, place in self._places.items()}

    def _key_name(self, stored: str, names: list[str]) -> str | None:
        """Return the name of the column for the ids that stand beside the fields, if the file has any.

        Where GDAL only numbers the rows there is none.
        """
        if self._ids is not None:
            return "id"
        if self.driver not in KEYED or not stored or self._begin == 0:
            return None
        if self.driver == "GPKG" and not has_column(self._source, self.layer, stored):
            # A view without a key: what GDAL gives is no more than a number of rows.
            return None
        return None if stored in names else stored

    def _open(self, rows: int) -> Any:
        try:
            return pyogrio.raw.open_arrow(
                self._source, layer=self.layer, batch_size=rows, use_pyarrow=True, return_fids=True, **self._options
            )
        except ERRORS as error:
            raise self._unreadable(error) from error

    def batches(self, rows: int) -> Iterator[gpd.GeoDataFrame]:
        """Read the features in one pass; GDAL hands over Arrow batches of at most `rows`."""
        return map(self._batch, self._record_batches(rows))

    def sampled(self, rows: int, pick: Pick) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """Read some rows of each batch, with the batch's length; only those are converted."""
        for batch, keys in self._record_batches(rows):
            picked = pick(batch.num_rows)
            yield self._batch((batch.take(pa.array(picked)), None if keys is None else keys[picked])), batch.num_rows

    def _record_batches(self, rows: int) -> Iterator[Part]:
        """Yield the batches, each with its features' ids where the file has them beside the properties."""
        ids = self._ids() if self._ids is not None else None
        with ExitStack() as opened:
            if self._ready is not None:
                opened.push(self._opened.pop_all())
                stream, self._ready = self._ready, None
            else:
                _, stream = opened.enter_context(self._open(rows))
            read = 0
            while (batch := self._next(stream)) is not None:
                read += batch.num_rows
                keys = None if ids is None else self._next_ids(ids, batch.num_rows)
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows), None if keys is None else keys[start : start + rows]
            # GDAL stops in silence where some files are cut off. Of a Shapefile it counts what was deleted too.
            if self.count is not None and read < self.count and self.driver != "ESRI Shapefile":
                raise cannot_read(self.path, DAMAGED)
        if ids is not None and next(ids, self) is not self:
            raise self._unlike_ids()

    def _next_ids(self, ids: Iterator[str | None], rows: int) -> npt.NDArray[np.object_]:
        found = list(islice(ids, rows))
        if len(found) < rows:
            raise self._unlike_ids()
        keys = np.full(rows, None, dtype=object)
        keys[:] = found
        return keys

    def _unlike_ids(self) -> BadInput:
        return cannot_read(
            self.path,
            Text(
                en="not everything in “features” is a feature, so that ids cannot be given to them; write it anew",
                vi="trong “features” có phần không phải đối tượng nên không gán được mã; hãy xuất lại tệp",
            ),
        )

    def close(self) -> None:
        """Close the file and remove what was unpacked."""
        self._ready = None
        self._opened.close()
        super().close()

    def _next(self, stream: pa.RecordBatchReader) -> pa.RecordBatch | None:
        with warnings.catch_warnings():
            # What GDAL warns of here is found again, row by row, in the geometries.
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                return stream.read_next_batch()
            except StopIteration:
                return None
            except ERRORS as error:
                raise self._unreadable(error) from error

    def _batch(self, part: Part) -> gpd.GeoDataFrame:
        batch, keys = part
        if self._geometry is not None:
            wkb = batch.column(self._geometry).to_numpy(zero_copy_only=False)
        else:
            wkb = np.full(batch.num_rows, None, dtype=object)
        shapes, problems, raw = from_wkb(wkb, self.limits)
        self._straighten(batch, shapes, problems, raw)
        values: dict[str, pd.Series] = {}
        if self._key is not None:
            values[self._key] = pd.Series(_as_texts(batch.column(0)) if keys is None else keys, dtype=object)
        for name, place in self._places.items():
            decode: Callable[[Any], npt.NDArray[np.object_]] | None = None
            if self._wide is not None and place - self._begin in self._wide.columns:
                records = batch.column(0).to_numpy()
                values[name] = pd.Series(self._wide.values(place - self._begin, records), dtype=object)
                continue
            if self._decoder is not None:
                decode = self._decoder.values
            values[name] = to_series(batch.column(place), name, self.limits, problems, decode)
        return make_batch(values, shapes, problems, raw, wkb if self._is_plain(batch, shapes) else None)

    def _is_plain(self, batch: pa.RecordBatch, shapes: npt.NDArray[np.object_]) -> bool:
        """Return whether the geometry is written as shapely would write it: flat, of one part, in the usual byte order,
        and nothing behind it.
        """
        if self._geometry is None:
            return False
        written = batch.column(self._geometry)
        if not all(head.as_py() in PLAIN for head in pc.unique(pc.binary_slice(written, 0, 5))):
            return False
        kinds = shapely.get_type_id(shapes)
        # Byte order and type; how many rings, and how many corners a line or a ring has; two numbers a corner.
        counts = np.where(kinds == 3, 1 + _rings(shapes), kinds > 0)
        sizes = 5 + 4 * counts + 16 * shapely.get_num_coordinates(shapes)
        return bool((sizes == pc.binary_length(written).to_numpy()).all())

    def _straighten(
        self, batch: pa.RecordBatch, shapes: npt.NDArray[np.object_], problems: npt.NDArray[np.object_],
        raw: npt.NDArray[np.object_],
    ) -> None:  # fmt: skip
        """Read geometries with curves again, by number: that way GDAL gives them as lines."""
        if not self._begin:
            return
        curved = [i for i, problem in enumerate(problems) if problem is not None and problem.startswith(CURVED)]
        if not curved:
            return
        fids = batch.column(0).to_numpy()[curved]
        _, found, wkb, _ = pyogrio.raw.read(
            self._source, layer=self.layer, columns=[], fids=fids, return_fids=True, **self._options
        )
        lines = dict(zip(found.tolist(), wkb, strict=True))
        again, still, _ = from_wkb([lines.get(int(fid)) for fid in fids], self.limits)
        for position, shape, problem in zip(curved, again, still, strict=True):
            if shape is not None:
                shapes[position], problems[position], raw[position] = shape, problem, None

    def _unreadable(self, error: BaseException) -> BadInput:
        if "OGR_GEOJSON_MAX_OBJ_SIZE" in str(error):
            return exceeded(self.path.name, self.limits, "object_bytes")
        if "Geometry type is not supported" in str(error):
            return cannot_read(
                self.path,
                Text(
                    en="its layer holds any kind of geometry in three dimensions, which is not read from this format; "
                    "save it as GeoPackage, or without heights",
                    vi="lớp chứa nhiều loại hình học ba chiều, định dạng này không đọc được; hãy lưu thành GeoPackage, "
                    "hoặc bỏ độ cao",
                ),
            )
        return cannot_read(self.path, str(error).replace(str(self._source), self.path.name))
