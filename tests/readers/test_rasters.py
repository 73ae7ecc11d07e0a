"""Rasters: described without being decoded, copied as COG, sampled to cells."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import h3
import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.transform import from_origin

from ingest.readers.opening import is_raster, open_file, open_raster
from ingest.readers.source import ReadOptions
from twin.cells.cover import format_cell
from twin.crs import transform
from twin.errors import BadInput

NODATA = -9999.0


def raster(path: Path, values: np.ndarray, crs: int | None = 32648, size: float = 30.0, **profile: object) -> Path:
    bands = values if values.ndim == 3 else values[None]
    options = {"nodata": NODATA if bands.dtype.kind == "f" else None} | profile
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype,
        crs=f"EPSG:{crs}" if crs else None, transform=from_origin(680_000, 1_192_000, size, size), **options,
    ) as file:  # fmt: skip
        file.write(bands)
    return path


def by_hand(values: np.ndarray, known: np.ndarray, resolution: int, size: float = 30.0) -> dict[str, list[float]]:
    """The values of each cell, pixel by pixel with h3 alone."""
    found: dict[str, list[float]] = {}
    for row, column in zip(*np.nonzero(known), strict=True):
        centre = np.array([[680_000 + (column + 0.5) * size, 1_192_000 - (row + 0.5) * size]])
        ((x, y),) = transform(centre, 32648)
        found.setdefault(h3.latlng_to_cell(y, x, resolution), []).append(float(values[row, column]))
    return found


def test_a_raster_is_described(tmp_path: Path) -> None:
    file = raster(tmp_path / "a.tif", np.zeros((2, 50, 80), np.float32))
    assert is_raster(file)
    with open_raster(file) as reader:
        description = reader.describe()
    assert (description.width, description.height, description.bands, description.dtypes, description.nodata) == (
        80,
        50,
        2,
        ("float32",) * 2,
        (NODATA,) * 2,
    )
    assert CRS.from_user_input(description.crs).to_epsg() == 32648
    assert description.bounds == (680_000, 1_190_500, 682_400, 1_192_000)
    corners = transform(np.array([[x, y] for x in (680_000.0, 682_400.0) for y in (1_190_500.0, 1_192_000.0)]), 32648)
    assert description.outline == pytest.approx((*corners.min(axis=0), *corners.max(axis=0)), abs=1e-6)


@pytest.mark.parametrize("resolution", [8, 9])
def test_cells_get_the_mean_of_their_pixels(tmp_path: Path, resolution: int) -> None:
    values = np.random.default_rng(1).random((90, 120)).astype(np.float32)
    values[:20, :20] = NODATA
    values[30, 30] = np.nan
    with open_raster(raster(tmp_path / "a.tif", values)) as reader:
        found = reader.cell_values(resolution)
    expected = by_hand(values, (values != NODATA) & np.isfinite(values), resolution)
    assert found.how == "mean"
    assert [format_cell(c) for c in found.cell] == sorted(expected)
    assert found.value == pytest.approx([np.mean(expected[format_cell(c)]) for c in found.cell])
    assert found.samples.tolist() == [len(expected[format_cell(c)]) for c in found.cell]


def test_cells_get_the_most_frequent_class(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 4, (90, 120)).astype(np.uint8)
    with open_raster(raster(tmp_path / "a.tif", values, nodata=0, tiled=True, blockxsize=16, blockysize=16)) as reader:
        found = reader.cell_values(9)
    expected = by_hand(values, values != 0, 9)
    assert found.how == "mode"
    assert [format_cell(c) for c in found.cell] == sorted(expected)
    for cell, value, samples in zip(found.cell, found.value, found.samples, strict=True):
        counts = Counter(expected[format_cell(cell)])
        assert counts[value] == max(counts.values())
        assert samples == counts.total()


def test_pixels_larger_than_cells_reach_every_cell_within(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    with open_raster(raster(tmp_path / "a.tif", values, size=300.0)) as reader:
        found = reader.cell_values(11)
        west, south, east, north = reader.describe().outline
    inner = h3.LatLngPoly([(south, west), (south, east), (north, east), (north, west)])
    missing = set(h3.polygon_to_cells(inner, 11)) - {format_cell(c) for c in found.cell}
    # The outline in degrees is a little larger than the raster, which stands askew in it.
    for cell in missing:
        y, x = h3.cell_to_latlng(cell)
        ((e, n),) = transform(np.array([[x, y]]), 4326, 32648)
        assert not (680_040 < e < 681_160 and 1_191_140 < n < 1_191_960)
    for cell, value in list(zip(found.cell, found.value, strict=True))[::17]:
        y, x = h3.cell_to_latlng(format_cell(cell))
        ((e, n),) = transform(np.array([[x, y]]), 4326, 32648)
        column, row = (e - 680_000) / 300, (1_192_000 - n) / 300
        if all(0.2 < v % 1 < 0.8 for v in (column, row)):
            assert value == values[int(row), int(column)]


def test_a_cog_has_the_same_values_and_no_half_written_file_appears(tmp_path: Path) -> None:
    values = np.random.default_rng(3).random((700, 900)).astype(np.float32)
    target = tmp_path / "out" / "a.tif"
    target.parent.mkdir()
    with open_raster(raster(tmp_path / "a.tif", values)) as reader:
        reader.to_cog(target)
    assert [p.name for p in target.parent.iterdir()] == ["a.tif"]
    with open_raster(target) as copy:
        description = copy.describe()
        assert description.cloud_optimised
        assert description.overviews > 0
        assert description.nodata == (NODATA,)
    with rasterio.open(target) as file:
        assert np.array_equal(file.read(1), values)
    target.unlink()
    with open_raster(raster(tmp_path / "b.tif", values, crs=None)) as reader:
        target.parent.rmdir()
        with pytest.raises(BadInput):
            reader.to_cog(target)


def test_a_raster_without_a_system_is_sampled_only_when_it_is_given(tmp_path: Path) -> None:
    file = raster(tmp_path / "a.tif", np.ones((10, 10), np.float32), crs=None)
    with open_raster(file) as reader, pytest.raises(BadInput, match="coordinate system"):
        reader.cell_values(9)
    with open_raster(file, ReadOptions(crs="EPSG:32648")) as reader:
        assert set(reader.cell_values(9).value) == {1.0}
        with pytest.raises(BadInput, match="no band 2"):
            reader.cell_values(9, band=2)


def test_a_raster_alone_in_an_archive_is_opened(tmp_path: Path) -> None:
    file = raster(tmp_path / "a.tif", np.ones((10, 10), np.float32))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(file, "a.tif")
        archive.writestr("a.tif.aux.xml", "<PAMDataset/>")
    work = tmp_path / "work"
    work.mkdir()
    assert is_raster(tmp_path / "a.zip")
    with open_raster(tmp_path / "a.zip", ReadOptions(workspace=work)) as reader:
        assert reader.describe().width == 10
    assert list(work.iterdir()) == []


def test_a_raster_is_not_taken_for_features_nor_features_for_a_raster(tmp_path: Path) -> None:
    file = raster(tmp_path / "a.tif", np.ones((10, 10), np.float32))
    with pytest.raises(BadInput, match="raster"):
        open_file(file)
    (tmp_path / "a.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    with pytest.raises(BadInput, match="not a GeoTIFF"):
        open_raster(tmp_path / "a.geojson")
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(BadInput), open_raster(file) as reader:
        reader.cell_values(9)


def test_several_blocks_and_one_give_the_same_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).integers(1, 5, (300, 260)).astype(np.uint8)
    file = raster(tmp_path / "a.tif", values, tiled=True, blockxsize=64, blockysize=64)
    with open_raster(file) as reader:
        for how in ("mean", "mode"):
            at_once = reader.cell_values(9, how)
            monkeypatch.setattr("ingest.readers.raster.SIDE", 64)
            monkeypatch.setattr("ingest.readers.cell_tally.PENDING", 50)
            in_parts = reader.cell_values(9, how)
            monkeypatch.undo()
            assert np.array_equal(at_once.cell, in_parts.cell)
            assert np.allclose(at_once.value, in_parts.value)
            assert np.array_equal(at_once.samples, in_parts.samples)
