"""The stages of a publish, as a terminal shows them."""

from __future__ import annotations

from twin.text import Text

STAGES = {
    "read": Text(en="reading", vi="đang đọc"),
    "raster": Text(en="writing the raster file", vi="đang ghi tệp raster"),
    "check": Text(en="checking", vi="đang kiểm tra"),
    "copy": Text(en="checking and copying", vi="đang kiểm tra và nạp"),
    "index": Text(en="indexing", vi="đang lập chỉ mục"),
}
