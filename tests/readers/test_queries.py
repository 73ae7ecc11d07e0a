"""Views of a GeoPackage are read if they end; one that does not is refused with a sentence, and nothing hangs."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from ingest.readers.limits import Limits
from ingest.readers.opening import open_file
from ingest.readers.source import ReadOptions
from tests.test_publish import houses
from twin.errors import BadInput

ENDLESS = {
    "gives no row": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT n.fid, n.geom FROM nha n, c WHERE c.x < 0",
    "gives rows for ever": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT x AS fid, (SELECT geom FROM nha LIMIT 1) AS geom FROM c",
    "grows": "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x + 1 FROM c) "
    "SELECT x AS fid, (SELECT geom FROM nha LIMIT 1) AS geom FROM c ORDER BY random()",
    "joins without end": "SELECT a.fid, a.geom FROM nha a, nha b, nha c, nha d, nha e, nha f, nha g, nha h "
    "WHERE a.fid + b.fid + c.fid + d.fid + e.fid + f.fid + g.fid + h.fid < 0",
    "in one column": "SELECT fid, geom, (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT max(x) FROM c) AS n FROM nha",
    "makes much of nothing": "SELECT fid, geom, zeroblob(900000000) AS much FROM nha",
    "by a function of GDAL": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
    "WHERE ST_IsEmpty((SELECT geom FROM nha LIMIT 1)) = 0) SELECT x AS fid, NULL AS geom FROM c WHERE x < 0",
}
HONEST = {
    "a condition": "SELECT fid, geom, MaNha FROM nha WHERE fid > 5",
    "a function of GDAL": "SELECT fid, geom FROM nha WHERE ST_MinX(geom) > 0",
    "a recursion that ends": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 9) "
    "SELECT nha.fid, geom FROM nha, c WHERE x = 1",
    "another view": "SELECT * FROM first",
}


def with_view(path: Path, statement: str) -> Path:
    houses(40).to_file(path, layer="nha")
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIEW first AS SELECT fid, geom FROM nha")
        database.execute(f"CREATE VIEW v AS {statement}")
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES ('v', 'features', 'v', 4326)"
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('v', 'geom', 'POLYGON', 4326, 0, 0)")
    return path


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("layer", ["v", "nha"])
def test_a_view_that_does_not_end_is_refused_with_a_sentence(tmp_path: Path, kind: str, layer: str) -> None:
    path, began = with_view(tmp_path / "nha.gpkg", ENDLESS[kind]), time.monotonic()
    with pytest.raises(BadInput, match="nha.gpkg") as refused:
        open_file(path, ReadOptions(layer=layer, limits=Limits(query_seconds=1)))
    assert time.monotonic() - began < 30
    assert "view" in refused.value.message.en and "khung nhìn" in refused.value.message.vi


@pytest.mark.parametrize("kind", HONEST)
def test_a_view_that_ends_is_a_layer_like_any_other(tmp_path: Path, kind: str) -> None:
    path = with_view(tmp_path / "nha.gpkg", HONEST[kind])
    reader = open_file(path, ReadOptions(layer="v"))
    assert sum(len(batch) for batch in reader.batches(7)) == (35 if kind == "a condition" else 40)
    reader.close()
