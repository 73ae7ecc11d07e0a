"""Fields that several themes share, so that a name means the same everywhere."""

from __future__ import annotations

from layers.theme import Field, Rollup
from twin.text import Text

NAME = Field(
    "name", "text", Text(en="Name", vi="Tên"),
    aliases=("ten", "ten_goi", "display_name", "title", "label"),
)  # fmt: skip
CODE = Field("code", "text", Text(en="Code", vi="Mã"), aliases=("ma", "ma_so", "ref"))
ADDRESS = Field(
    "address", "text", Text(en="Address", vi="Địa chỉ"),
    aliases=("dia_chi", "diachi", "addr_full", "ten_duong", "duong", "street", "street_name", "addr_street"),
)  # fmt: skip
OPERATOR = Field(
    "operator", "text", Text(en="Operator", vi="Đơn vị quản lý"),
    aliases=("don_vi_quan_ly", "management_unit"),
)  # fmt: skip
# Of cells that rasters were sampled to.
SHARE = Field(
    "share", "number", Text(en="Share of the cell", vi="Tỷ lệ trong ô"), unit="1", minimum=0, maximum=1,
    rollup=Rollup.MEAN, weight="samples",
)  # fmt: skip
SAMPLES = Field(
    "samples", "integer", Text(en="Samples", vi="Số mẫu"), minimum=1, rollup=Rollup.SUM,
)  # fmt: skip
STATUS = Field("status", "text", Text(en="Status", vi="Tình trạng"), aliases=("tinh_trang", "trang_thai"))

# Cells of a raster join into one surface: a tile may hold many more than anybody could distinguish one by one.
RASTER_CELLS = 4_000
