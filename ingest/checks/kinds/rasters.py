"""Problems of rasters, counted in pixels."""

from __future__ import annotations

from ingest.checks.kinds.kind import Kind, kind

RASTERS: dict[str, Kind] = {
    "raster.kind": kind(
        "refused", "Not the kind of raster that the theme takes", "Không đúng loại ảnh raster của chuyên đề",
        "Export the values themselves (heights, depths, class codes), not a picture of them.",
        "Hãy xuất chính các giá trị (độ cao, độ sâu, mã lớp), không phải hình vẽ của chúng.",
    ),
    "raster.empty": kind(
        "refused", "No pixel with a value that can be used", "Không có điểm ảnh nào dùng được",
        "Check that the right band was exported and which value means “no data”.",
        "Kiểm tra đã xuất đúng kênh chưa và giá trị nào nghĩa là “không có dữ liệu”.",
    ),
    "raster.elsewhere": kind(
        "refused", "The raster lies outside the city", "Ảnh raster nằm ngoài thành phố",
        "Check that it is the right file; if it is, its coordinate system is wrong: give it with --crs.",
        "Kiểm tra có đúng tệp không; nếu đúng thì hệ tọa độ sai: chỉ rõ bằng --crs.",
    ),
    "raster.class": kind(
        "refused", "A class that the theme does not know; left out of the cells",
        "Lớp không có trong danh mục; không đưa vào ô",
        'Say what its code means in a file for --mapping:  [codes]  12 = "grass".',
        'Ghi ý nghĩa của mã trong tệp dùng với --mapping:  [codes]  12 = "grass".',
    ),
    "raster.range": kind(
        "refused", "A value that is not believable; left out of the cells", "Giá trị không hợp lý; không đưa vào ô",
        "If it means “no data”, say so in the file (gdal_edit.py -a_nodata VALUE FILE); else look for a wrong unit.",
        "Nếu nghĩa là “không có dữ liệu”, hãy ghi vào tệp (gdal_edit.py -a_nodata GIÁ_TRỊ TỆP); nếu không, xem lại "
        "đơn vị.",
    ),
    "raster.beyond": kind(
        "warning", "Parts far outside the city; not turned into cells", "Có phần nằm xa ngoài thành phố; không tạo ô",
        "Nothing to do if the raster simply reaches farther; its file keeps those parts.",
        "Không cần làm gì nếu ảnh chỉ rộng hơn thành phố; tệp vẫn giữ các phần đó.",
    ),
    "raster.bands": kind(
        "warning", "Several bands; one of them is read", "Ảnh có nhiều kênh; chỉ đọc một kênh",
        "Say which with --source-layer and its number or name.",
        "Chỉ rõ kênh bằng --source-layer kèm số hoặc tên kênh.",
    ),
    "raster.unit": kind(
        "warning", "The file states another unit than the theme", "Đơn vị ghi trong tệp khác đơn vị của chuyên đề",
        "Convert the values before publishing, or correct the unit in the file.",
        "Quy đổi giá trị trước khi công bố, hoặc sửa đơn vị trong tệp.",
    ),
    "raster.not_finite": kind(
        "info", "Pixels that are not numbers (NaN); taken for “no data”",
        "Điểm ảnh không phải là số (NaN); coi là “không có dữ liệu”",
        "Nothing to do.", "Không cần làm gì.",
    ),
    "raster.no_data": kind(
        "info", "The file does not say which value means “no data”",
        "Tệp không ghi giá trị nào nghĩa là “không có dữ liệu”",
        "Nothing to do if every pixel has a value.", "Không cần làm gì nếu mọi điểm ảnh đều có giá trị.",
    ),
    "raster.coarse": kind(
        "info", "Pixels larger than a cell: neighbouring cells repeat a value",
        "Điểm ảnh lớn hơn ô: các ô cạnh nhau lặp lại một giá trị",
        "Nothing to do; do not read more detail out of the cells than the raster has.",
        "Không cần làm gì; đừng hiểu các ô chi tiết hơn ảnh gốc.",
    ),
}  # fmt: skip
