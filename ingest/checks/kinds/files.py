"""Problems of a whole file: its coordinate system, and which of its rows become features."""

from __future__ import annotations

from ingest.checks.kinds.kind import Kind, kind

FILES: dict[str, Kind] = {
    "file.empty": kind(
        "refused", "The file has no features", "Tệp không có đối tượng nào",
        "Check that the right layer was exported, and that no filter was set when it was.",
        "Kiểm tra đã xuất đúng lớp chưa và khi xuất có đặt bộ lọc không.",
    ),
    "crs.missing": kind(
        "warning", "The file does not say its coordinate system", "Tệp không ghi hệ tọa độ",
        "It is read as the system named in the detail. Give --crs to confirm it, and add the .prj file at the source.",
        "Tệp được đọc theo hệ nêu ở phần chi tiết. Dùng --crs để xác nhận và bổ sung tệp .prj từ nguồn.",
    ),
    "crs.unknown": kind(
        "refused", "No known coordinate system brings the features into the city",
        "Không hệ tọa độ nào đã biết đưa các đối tượng vào thành phố",
        "Ask whoever made the file for its coordinate system and give it with --crs.",
        "Hỏi nơi làm ra tệp về hệ tọa độ và chỉ rõ bằng --crs.",
    ),
    "crs.wrong": kind(
        "refused", "The coordinate system that the file names does not fit its coordinates",
        "Hệ tọa độ ghi trong tệp không khớp với tọa độ",
        "Compare with the systems named in the detail; give the right one with --crs.",
        "So với các hệ nêu ở phần chi tiết; chỉ rõ hệ đúng bằng --crs.",
    ),
    "crs.impossible": kind(
        "warning", "The coordinates cannot be in the coordinate system that the file names",
        "Tọa độ không thể thuộc hệ tọa độ ghi trong tệp",
        "It is read as the system named in the detail. Give --crs to confirm it, and correct the file at the source.",
        "Tệp được đọc theo hệ nêu ở phần chi tiết. Dùng --crs để xác nhận và sửa tệp từ nguồn.",
    ),
    "crs.swapped": kind(
        "warning", "The axes are swapped: northing stands before easting",
        "Hai trục bị đảo: tung độ đứng trước hoành độ",
        "They are read the right way round here. Export the file with x (easting, longitude) first.",
        "Ở đây đã đọc lại đúng chiều. Hãy xuất tệp với x (hoành độ, kinh độ) đứng trước.",
    ),
    "crs.units": kind(
        "warning", "The coordinates are in another unit or lack a part of the easting",
        "Tọa độ dùng đơn vị khác hoặc thiếu một phần hoành độ",
        "They are converted here as the detail says. Export the file in metres with the full easting.",
        "Ở đây đã quy đổi như phần chi tiết. Hãy xuất tệp theo mét với hoành độ đầy đủ.",
    ),
    "crs.doubtful": kind(
        "warning", "Several coordinate systems would fit", "Có nhiều hệ tọa độ cùng phù hợp",
        "Compare a known corner with the base map before publishing; give the right system with --crs.",
        "Đối chiếu một góc đã biết với bản đồ nền trước khi công bố; chỉ rõ hệ đúng bằng --crs.",
    ),
    "geometry.unmapped": kind(
        "refused", "No column says where the rows lie", "Không cột nào cho biết vị trí của các dòng",
        "Name the columns of the coordinates (--longitude and --latitude, or --wkt). Where a column holds the code of "
        "a ward, a school or the like, a mapping file takes the shapes of that layer with "
        'join = { layer = "planning.wards", on = "COLUMN", key = "code" }.',
        "Chỉ rõ cột tọa độ (--longitude và --latitude, hoặc --wkt). Nếu có cột mã phường, mã trường …, tệp ánh xạ có "
        'join = { layer = "planning.wards", on = "CỘT", key = "code" } sẽ lấy hình của lớp đó.',
    ),
    "join.used": kind(
        "info", "Rows are joined by key", "Các dòng được nối theo khóa",
        "Nothing to do if this is what the key means.", "Không cần làm gì nếu khóa đúng nghĩa như vậy.",
    ),
    "join.by_name": kind(
        "warning", "The layer to join was found by names, not by codes",
        "Lớp được nối do chương trình tìm theo tên, không theo mã",
        "Check that the names mean these features. Then write the proposal to a mapping file with --write-mapping and "
        "publish with --mapping.",
        "Hãy kiểm tra các tên có đúng là những đối tượng này không. Sau đó ghi đề xuất ra tệp ánh xạ bằng "
        "--write-mapping và công bố bằng --mapping.",
    ),
    "join.unmatched": kind(
        "refused", "Keys that the joined layer does not have", "Khóa không có trong lớp được nối",
        "Correct the key, or publish the missing feature in the joined layer first.",
        "Sửa khóa, hoặc công bố đối tượng còn thiếu vào lớp được nối trước.",
    ),
    "join.ambiguous": kind(
        "refused", "Keys that several features of the joined layer have",
        "Khóa trùng ở nhiều đối tượng của lớp được nối",
        "Join by a column that is different for each feature, such as the code or the id.",
        "Nối theo cột khác nhau ở mỗi đối tượng, như mã số hoặc id.",
    ),
    "join.padded": kind(
        "warning", "Keys that lost their leading zeros", "Khóa bị mất số 0 ở đầu",
        "They are joined all the same. Format the column as text before saving the table.",
        "Vẫn nối được. Hãy định dạng cột là văn bản trước khi lưu bảng.",
    ),
    "row.left_out": kind(
        "info", "Rows that the mapping leaves out", "Dòng mà tệp ánh xạ bỏ ra",
        "Nothing to do if where, unique or join in the mapping mean this.",
        "Không cần làm gì nếu where, unique hoặc join trong tệp ánh xạ có ý như vậy.",
    ),
    "id.repeats": kind(
        "warning", "A column that looks like an id, and repeats", "Cột giống mã nhưng giá trị lặp lại",
        "If the rows of one value are one thing, take the first of each with a mapping file: unique = \"COLUMN\" and "
        "id = \"COLUMN\" (--write-mapping proposes one).",
        "Nếu các dòng cùng giá trị là một đối tượng, hãy chỉ lấy dòng đầu bằng tệp ánh xạ: unique = \"CỘT\" và "
        "id = \"CỘT\" (--write-mapping đề xuất sẵn).",
    ),
    "table.place": kind(
        "info", "Columns taken for the place", "Cột được dùng làm tọa độ",
        "If others are meant, name them with --longitude and --latitude, or --wkt.",
        "Nếu là cột khác, hãy chỉ rõ bằng --longitude và --latitude, hoặc --wkt.",
    ),
}  # fmt: skip
