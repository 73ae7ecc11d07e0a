"""Facts about one thing, a line each, as commands print them for people: named in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.cells import cell_len

from twin.text import Text, format_number, printable

NAMES = {
    "layer": Text(en="Layer", vi="Lớp"),
    "title": Text(en="Title", vi="Tên"),
    "theme": Text(en="Theme", vi="Chuyên đề"),
    "sharing": Text(en="Sharing", vi="Chia sẻ"),
    "sample": Text(en="Sample", vi="Dữ liệu mẫu"),
    "licence": Text(en="Licence", vi="Giấy phép"),
    "attribution": Text(en="Attribution", vi="Nguồn"),
    "version": Text(en="Version", vi="Phiên bản"),
    "versions": Text(en="Kept versions", vi="Phiên bản còn giữ"),
    "current": Text(en="Current", vi="Hiện hành"),
    "state": Text(en="State", vi="Trạng thái"),
    "features": Text(en="Features", vi="Đối tượng"),
    "quarantined": Text(en="Set aside", vi="Cách ly"),
    "published": Text(en="Published", vi="Công bố"),
    "by": Text(en="By", vi="Người công bố"),
    "source": Text(en="From", vi="Từ tệp"),
    "bounds": Text(en="Bounds", vi="Phạm vi"),
    "table": Text(en="Table", vi="Bảng"),
    "tool": Text(en="Tool", vi="Chương trình"),
    "reason": Text(en="Reason", vi="Lý do"),
    "sha256": Text(en="SHA-256", vi="SHA-256"),
    "path": Text(en="File", vi="Tệp"),
    "format": Text(en="Format", vi="Định dạng"),
    "crs": Text(en="Coordinates", vi="Tọa độ"),
    "width": Text(en="Width", vi="Rộng"),
    "height": Text(en="Height", vi="Cao"),
    "bands": Text(en="Bands", vi="Số kênh"),
    "band": Text(en="Band", vi="Kênh"),
    "dtype": Text(en="Type", vi="Kiểu"),
    "nodata": Text(en="No data", vi="Không dữ liệu"),
    "pixel": Text(en="Pixel", vi="Điểm ảnh"),
    "pixels": Text(en="Pixels", vi="Số điểm ảnh"),
    "outline": Text(en="Extent", vi="Phạm vi (độ)"),
    "minimum": Text(en="Least", vi="Nhỏ nhất"),
    "maximum": Text(en="Greatest", vi="Lớn nhất"),
    "unit": Text(en="Unit", vi="Đơn vị"),
    "classes": Text(en="Classes", vi="Các lớp"),
    "bytes": Text(en="Bytes", vi="Số byte"),
    "good": Text(en="used", vi="dùng được"),
    "left_out": Text(en="left out", vi="bỏ ra"),
    "no_data": Text(en="without data", vi="không có dữ liệu"),
    "private": Text(en="Private cluster", vi="Cụm riêng"),
    "url": Text(en="Address", vi="Địa chỉ"),
    "data": Text(en="Data", vi="Thư mục dữ liệu"),
    "database": Text(en="Database", vi="Cơ sở dữ liệu"),
    "programs": Text(en="Programs", vi="Chương trình PostgreSQL"),
    "description": Text(en="Description", vi="Mô tả"),
    "agency": Text(en="Agency", vi="Đơn vị"),
    "visible": Text(en="Shown at first", vi="Hiện sẵn"),
    "update_frequency": Text(en="Updated", vi="Cập nhật"),
}
RASTER = Text(en="Raster", vi="Ảnh raster")
YES, NO = Text(en="yes", vi="có"), Text(en="no", vi="không")
STATES = {
    "published": Text(en="published", vi="đã công bố"), "retired": Text(en="retired", vi="đã gỡ"),
    "staging": Text(en="being made", vi="đang tạo"), "failed": Text(en="given up", vi="đã bỏ"),
    "running": Text(en="running", vi="đang chạy"), "stopped": Text(en="stopped", vi="đã dừng"),
    "absent": Text(en="not made yet", vi="chưa tạo"),
}  # fmt: skip
SHARING = {
    "open": Text(en="open", vi="mở cho mọi người"), "shared": Text(en="shared", vi="chia sẻ giữa các đơn vị"),
    "restricted": Text(en="restricted", vi="chỉ trong đơn vị"),
}  # fmt: skip
# Values of some facts, which are written in the reader's language.
VALUES: Mapping[str, Mapping[str, Text]] = {"state": STATES, "sharing": SHARING}


def print_facts(facts: Mapping[str, Any], zone: ZoneInfo, indent: str = "") -> None:
    """Print facts in the order of NAMES, those in one column; times are of the city's clock."""
    order = list(NAMES)
    facts = {key: facts[key] for key in sorted(facts, key=lambda k: order.index(k) if k in NAMES else len(order))}
    names = {key: str(NAMES.get(key, key)) for key in facts}
    wide = max(map(cell_len, names.values()), default=0)
    for key, value in facts.items():
        blanks = " " * (wide - cell_len(names[key]) + 2)
        click.echo(f"{indent}{names[key]}{blanks}{printable(_written(key, value, zone))}")


def print_version(facts: Mapping[str, Any], zone: ZoneInfo) -> None:
    """Print the facts of a version, and below them those of its raster if it has one."""
    print_facts({key: value for key, value in facts.items() if key != "raster"}, zone)
    if facts["raster"] is not None:
        click.echo(f"\n{RASTER}")
        print_facts(facts["raster"], zone, "  ")


def _written(key: str, value: Any, zone: ZoneInfo) -> str:
    if value is None or value == "" or value == []:
        return "—"
    if isinstance(value, bool):
        return str(YES if value else NO)
    if key == "published":
        return datetime.fromisoformat(value).astimezone(zone).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        return "; ".join(f"{NAMES.get(k, k)} {_written('', v, zone)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_written("", v, zone) for v in value)
    if isinstance(value, float):
        # Numbers of a list keep the point: with commas they would run together.
        written = f"{value:.6g}" if abs(value) < 1e5 else f"{value:.1f}"
        return format_number(value, ".6g" if abs(value) < 1e5 else ",.1f") if key else written
    if isinstance(value, int):
        return format_number(value) if key in ("features", "quarantined", "bytes", "") else str(value)
    return str(VALUES.get(key, {}).get(str(value), value))
