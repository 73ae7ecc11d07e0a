"""Write docs/themes.md and docs/vi/themes.md from the themes themselves: .venv/bin/python scripts/document_themes.py"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from layers.commands import KINDS, RASTER, TYPES  # noqa: E402
from layers.registry import themes  # noqa: E402
from layers.theme import Field, Theme  # noqa: E402
from twin.text import Language, Text, speaking  # noqa: E402

TITLE = Text(en="Themes", vi="Các chuyên đề")
OTHER = Text(en="*[Đọc bằng tiếng Việt](vi/themes.md)*", vi="*[Read in English](../themes.md)*")
ABOUT = Text(
    en="A theme is the contract that the features of one kind follow, whichever agency publishes them: its fields, the "
    "values that they may have, the kind of geometry, and how it looks on the map. This page is written from the "
    "program; `twin layer themes NAME` shows the same on the terminal. For what no theme describes, an agency makes a "
    "contract of its own: `twin layer new FILE --layer agency.name --write contract.toml`.",
    vi="Chuyên đề là hợp đồng dữ liệu mà các đối tượng cùng loại tuân theo, dù đơn vị nào công bố: các trường, giá trị "
    "được phép, kiểu hình học và cách vẽ trên bản đồ. Trang này được sinh ra từ chương trình; lệnh "
    "`twin layer themes TÊN` cho xem trên terminal. Với dữ liệu không thuộc chuyên đề nào, đơn vị tự lập hợp đồng "
    "riêng: `twin layer new TỆP --layer đơn_vị.tên --write hop_dong.toml`.",
)
HEADER = Text(
    en="| field | type | title | unit | values |", vi="| trường | kiểu | tên | đơn vị | giá trị |"
)  # fmt: skip
REQUIRED = Text(en="required", vi="bắt buộc")


def document(language: Language) -> str:
    """Return the page in one language."""
    with speaking(language):
        parts = [f"# {TITLE}", str(OTHER), str(ABOUT)]
        for theme in sorted(themes().values(), key=lambda each: each.name):
            parts += [f"## {theme.name} — {theme.title}", _facts(theme), _fields(theme)]
    return "\n\n".join(parts) + "\n"


def _facts(theme: Theme) -> str:
    kind = RASTER if theme.raster else KINDS[theme.geometry]
    return f"{theme.description} ({kind}, H3 {theme.resolution})"


def _fields(theme: Theme) -> str:
    return "\n".join([str(HEADER), "|---|---|---|---|---|", *(_row(field) for field in theme.fields)])


def _row(field: Field) -> str:
    title = f"{field.title} ({REQUIRED})" if field.required else str(field.title)
    if field.vocabulary:
        values = ", ".join(f"`{key}` {term.title}" for key, term in field.vocabulary.items())
    elif field.minimum is None and field.maximum is None:
        values = ""
    else:
        low, high = ("…" if n is None else f"{n:g}" for n in (field.minimum, field.maximum))
        values = f"{low} – {high}"
    return f"| `{field.name}` | {TYPES[field.type]} | {title} | {field.unit or ''} | {values} |"


PAGES: dict[Language, Path] = {"en": ROOT / "docs" / "themes.md", "vi": ROOT / "docs" / "vi" / "themes.md"}

if __name__ == "__main__":
    for language, path in PAGES.items():
        path.write_text(document(language), "utf-8")
