"""Facts about one thing, a line each, as commands print them for people: named in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.cells import cell_len

from twin.text import Text, printable

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
}
YES, NO = Text(en="yes", vi="có"), Text(en="no", vi="không")
STATES = {
    "published": Text(en="published", vi="đã công bố"), "retired": Text(en="retired", vi="đã gỡ"),
    "staging": Text(en="being made", vi="đang tạo"), "failed": Text(en="given up", vi="đã bỏ"),
}  # fmt: skip


def print_facts(facts: Mapping[str, Any], zone: ZoneInfo, indent: str = "") -> None:
    """Print facts in the order of NAMES, those in one column; times are of the city's clock."""
    order = list(NAMES)
    facts = {key: facts[key] for key in sorted(facts, key=lambda k: order.index(k) if k in NAMES else len(order))}
    names = {key: str(NAMES.get(key, key)) for key in facts}
    wide = max(map(cell_len, names.values()), default=0)
    for key, value in facts.items():
        click.echo(f"{indent}{names[key]}{' ' * (wide - cell_len(names[key]) + 2)}{printable(_said(key, value, zone))}")


def _said(key: str, value: Any, zone: ZoneInfo) -> str:
    if value is None or value == "" or value == []:
        return "—"
    if isinstance(value, bool):
        return str(YES if value else NO)
    if key == "state":
        return str(STATES.get(value, value))
    if key == "published":
        return datetime.fromisoformat(value).astimezone(zone).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        return "; ".join(f"{NAMES.get(k, k)} {_said('', v, zone)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_said("", v, zone) for v in value)
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e5 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) and key in ("features", "quarantined", "bytes", "") else str(value)
