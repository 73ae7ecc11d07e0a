"""Text older than Unicode reaches the checks as the bytes that were written; what is sure is decoded."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from ingest.readers.opening import open_file
from ingest.readers.source import ReadOptions
from tests.readers.files import read, write
from twin.errors import BadInput

# "Phường" in TCVN3, and every byte that a text may hold.
TCVN3 = b"Ph\xad\xeang"
ALL_BYTES = bytes(range(128, 256))
PLACE = "~" * 200


def shapefile(folder: Path, stored: bytes, cpg: str | None = None, language: int = 0) -> Path:
    """A shapefile with one text column that holds these bytes."""
    frame = gpd.GeoDataFrame({"ten": [PLACE]}, geometry=[shapely.Point(106.7, 10.8)], crs=4326)
    file = write(folder / "a.shp", "ESRI Shapefile", frame)
    content = bytearray((folder / "a.dbf").read_bytes())
    at = content.find(PLACE.encode())
    content[at : at + len(PLACE)] = stored.ljust(len(PLACE))
    content[29] = language
    (folder / "a.dbf").write_bytes(content)
    (folder / "a.cpg").unlink()
    if cpg is not None:
        (folder / "a.cpg").write_text(cpg)
    return file


def mapinfo(folder: Path, name: str, stored: bytes, charset: str) -> Path:
    frame = gpd.GeoDataFrame({"ten": [PLACE]}, geometry=[shapely.Point(106.7, 10.8)], crs=4326)
    file = write(folder / name, "MapInfo File", frame)
    for part in (*folder.glob("*.dat"), *folder.glob("*.mid")):
        content = part.read_bytes()
        padded = stored.ljust(len(PLACE), b"\0") if part.suffix == ".dat" else stored
        part.write_bytes(content.replace(PLACE.encode(), padded))
    file.write_bytes(file.read_bytes().replace(b"Neutral", charset.encode()))
    return file


@pytest.mark.parametrize("stored", [TCVN3, ALL_BYTES])
@pytest.mark.parametrize(
    ("cpg", "language"), [(None, 0), (None, 0x57), (None, 3), ("1252", 0), ("ISO-8859-1", 0), ("88591", 0)]
)
def test_undeclared_text_and_text_that_nobody_declared_on_purpose_comes_as_bytes(
    tmp_path: Path, stored: bytes, cpg: str | None, language: int
) -> None:
    reader, rows = read(shapefile(tmp_path, stored, cpg, language))
    assert reader.raw_text
    assert reader.encoding is None
    assert "each column" in str(reader.encoding_reason)
    assert rows["ten"][0].encode("latin-1") == stored


def test_declared_unicode_is_decoded(tmp_path: Path) -> None:
    reader, rows = read(shapefile(tmp_path, "Bến Nghé".encode(), "UTF-8"))
    assert (reader.raw_text, reader.encoding, rows["ten"][0]) == (False, "utf-8", "Bến Nghé")


def test_a_letter_cut_by_the_width_of_the_column_is_left_off(tmp_path: Path) -> None:
    stored = ("x" * 199 + "ế").encode()[:200]
    reader, rows = read(shapefile(tmp_path, stored, "UTF-8"))
    assert (reader.encoding, rows["ten"][0]) == ("utf-8", "x" * 199)


def test_text_declared_unicode_that_is_not_comes_as_bytes_and_says_so(tmp_path: Path) -> None:
    reader, rows = read(shapefile(tmp_path, TCVN3, "UTF-8"))
    assert reader.raw_text
    assert "but the text is not" in str(reader.encoding_reason)
    assert rows["ten"][0].encode("latin-1") == TCVN3


def test_an_encoding_declared_on_purpose_is_believed_and_loses_no_letter(tmp_path: Path) -> None:
    text = "Phường Bến Nghé, đường Đồng Khởi".replace("ế", "ê\u0301").replace("ờ", "ơ\u0300").replace("ồ", "ô\u0300")
    text = text.replace("ở", "ơ\u0309")
    reader, rows = read(shapefile(tmp_path, text.encode("cp1258"), "1258"))
    assert (reader.raw_text, reader.encoding, rows["ten"][0]) == (False, "cp1258", text)


def test_an_encoding_that_a_person_gives_overrules_the_file(tmp_path: Path) -> None:
    reader, rows = read(shapefile(tmp_path, b"\xce\xe4\xe5", "UTF-8"), encoding="cp1251")
    assert (reader.raw_text, reader.encoding, rows["ten"][0]) == (False, "cp1251", "Оде")
    with pytest.raises(BadInput, match="no text encoding “tcvn9”"):
        open_file(tmp_path / "a.shp", ReadOptions(encoding="tcvn9"))


@pytest.mark.parametrize("name", ["a.tab", "a.mif"])
@pytest.mark.parametrize("charset", ["Neutral", "WindowsLatin1"])
def test_mapinfo_text_comes_as_bytes_whatever_the_program_declared(tmp_path: Path, name: str, charset: str) -> None:
    reader, rows = read(mapinfo(tmp_path, name, TCVN3 + b"\x81\x9d", charset))
    assert reader.raw_text
    assert reader.layer == "a"
    assert rows["ten"][0].encode("latin-1") == TCVN3 + b"\x81\x9d"
    assert rows.geometry[0].equals_exact(shapely.Point(106.7, 10.8), 1e-6)


@pytest.mark.parametrize("name", ["a.tab", "a.mif"])
def test_vietnamese_mapinfo_text_is_decoded_where_it_is_declared(tmp_path: Path, name: str) -> None:
    reader, rows = read(mapinfo(tmp_path, name, "Đường".replace("ờ", "ơ\u0300").encode("cp1258"), "WindowsVietnamese"))
    assert (reader.raw_text, reader.encoding) == (False, "cp1258")
    assert rows["ten"][0] == "Đường".replace("ờ", "ơ\u0300")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_tables_are_known_by_their_content(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("lon,lat,Tên\n106.7,10.8,Bến Nghé\n", encoding)
    reader, rows = read(tmp_path / "a.csv")
    assert (reader.raw_text, rows["Tên"][0]) == (False, "Bến Nghé")


def test_a_table_that_is_not_unicode_comes_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"lon,lat,ten\n106.7,10.8," + TCVN3 + b"\n")
    reader, rows = read(tmp_path / "a.csv")
    assert reader.raw_text
    assert rows["ten"][0].encode("latin-1") == TCVN3
