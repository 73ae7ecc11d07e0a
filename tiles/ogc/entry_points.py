"""The ways into the city's data, as the landing page shows them."""

from __future__ import annotations

from dataclasses import dataclass

from twin.text import Text


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A way into the city's data, with addresses as examples.

    In `path`, the language and a place in the middle of the city are filled in.
    """

    title: Text
    description: Text
    path: str
    addresses: tuple[str, ...] = ()


ENTRY_POINTS = (
    EntryPoint(
        Text(en="The map", vi="Bản đồ"),
        Text(en="The city in three dimensions, with every layer.", vi="Thành phố ba chiều với mọi lớp dữ liệu."),
        "/?lang={lang}",
    ),
    EntryPoint(
        Text(en="Data catalogue", vi="Danh mục dữ liệu"),
        Text(
            en="Every layer with its agency, licence, age, versions and downloads; for programs as DCAT-AP.",
            vi="Mọi lớp dữ liệu với đơn vị, giấy phép, độ mới, phiên bản và tệp tải về; cho phần mềm theo DCAT-AP.",
        ),
        "/catalogue?f=html&lang={lang}",
        ("/catalogue", "/downloads/{layer}.gpkg"),
    ),
    EntryPoint(
        Text(en="Features", vi="Đối tượng"),
        Text(
            en="OGC API — Features: by area, time, CQL2 filter and version, in VN-2000 and others, in eight formats.",
            vi="OGC API — Features: theo vùng, thời gian, bộ lọc CQL2 và phiên bản; VN-2000 và hệ khác; tám định dạng.",
        ),
        "/collections?f=html&lang={lang}",
        ("/collections/{layer}/items?bbox=…&filter=…&f=csv",),
    ),
    EntryPoint(
        Text(en="Tiles", vi="Ô bản đồ"),
        Text(
            en="Vector and raster tiles for any map library, on the web's grid and on the city's own in VN-2000.",
            vi="Ô vector và raster cho mọi thư viện bản đồ, theo lưới web và lưới VN-2000 của thành phố.",
        ),
        "/tileMatrixSets",
        ("/tiles/{layers}/tilejson.json", "/tiles/{layers}/{z}/{x}/{y}.mvt", "/tiles/{layer}/{z}/{x}/{y}.png"),
    ),
    EntryPoint(
        Text(en="Cells", vi="Ô H3"),
        Text(
            en="What is known of a place, from all layers at once; a layer counted in H3 cells, for tables and charts.",
            vi="Những gì biết về một nơi, từ mọi lớp cùng lúc; một lớp đếm theo ô H3, cho bảng và biểu đồ.",
        ),
        "/cells/at?lng={lng}&lat={lat}",
        ("/cells/at?lng=…&lat=…", "/collections/{layer}/cells?resolution=8&f=csv"),
    ),
    EntryPoint(
        Text(en="Live", vi="Trực tiếp"),
        Text(
            en="Told when a layer changes, as server-sent events.",
            vi="Được báo khi một lớp thay đổi, bằng server-sent events.",
        ),
        "",
        ("/live",),
    ),
    EntryPoint(
        Text(en="Description of all addresses", vi="Mô tả mọi địa chỉ"),
        Text(
            en="OpenAPI 3.1, for programs that write programs and for trying out.",
            vi="OpenAPI 3.1, để sinh mã và thử nghiệm.",
        ),
        "/api",
    ),
    EntryPoint(
        Text(en="Standards that are kept", vi="Các tiêu chuẩn được tuân theo"),
        Text(en="The conformance classes, by name.", vi="Tên các lớp tương thích."),
        "/conformance?f=html&lang={lang}",
    ),
)
