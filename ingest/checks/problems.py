"""What can be wrong with a file: one table of kinds, each with what to do, and the ledger that counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from twin.text import Text

# refused: the feature (or the whole file) is not published. warning: it is published, and somebody should look.
# info: it is published, and nothing needs to be done.
Severity = Literal["refused", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("refused", "warning", "info")

# The columns that an export of quarantine adds to a file's own: the feature's id, then notes. When the file comes back
# mended, the notes are left out. The last holds a geometry that could not be read, as the file had it.
QUARANTINE_ID = "feature_id"
QUARANTINE_NOTES = ("reason", "problem", "detail")
AS_WRITTEN = "geometry_as_written"

EXAMPLES = 5
# Of the values that are a problem so many are counted, and so many are told.
VALUES_COUNTED, VALUES_TOLD = 1000, 10
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: how grave it is, what it is called, and what to do about it."""

    severity: Severity
    title: Text
    advice: Text


def _kind(severity: Severity, en: str, vi: str, do_en: str, do_vi: str) -> Kind:
    return Kind(severity, Text(en=en, vi=vi), Text(en=do_en, vi=do_vi))


KINDS: dict[str, Kind] = {
    # The file
    "file.empty": _kind(
        "refused", "The file has no features", "Tệp không có đối tượng nào",
        "Check that the right layer was exported, and that no filter was set when it was.",
        "Kiểm tra đã xuất đúng lớp chưa và khi xuất có đặt bộ lọc không.",
    ),
    "crs.missing": _kind(
        "warning", "The file does not say its coordinate system", "Tệp không ghi hệ tọa độ",
        "It is read as the system named in the detail. Give --crs to confirm it, and add the .prj file at the source.",
        "Tệp được đọc theo hệ nêu ở phần chi tiết. Dùng --crs để xác nhận và bổ sung tệp .prj từ nguồn.",
    ),
    "crs.unknown": _kind(
        "refused", "No known coordinate system brings the features into the city",
        "Không hệ tọa độ nào đã biết đưa các đối tượng vào thành phố",
        "Ask whoever made the file for its coordinate system and give it with --crs.",
        "Hỏi nơi làm ra tệp về hệ tọa độ và chỉ rõ bằng --crs.",
    ),
    "crs.wrong": _kind(
        "refused", "The coordinate system that the file names does not fit its coordinates",
        "Hệ tọa độ ghi trong tệp không khớp với tọa độ",
        "Compare with the systems named in the detail; give the right one with --crs.",
        "So với các hệ nêu ở phần chi tiết; chỉ rõ hệ đúng bằng --crs.",
    ),
    "crs.impossible": _kind(
        "warning", "The coordinates cannot be in the coordinate system that the file names",
        "Tọa độ không thể thuộc hệ tọa độ ghi trong tệp",
        "It is read as the system named in the detail. Give --crs to confirm it, and correct the file at the source.",
        "Tệp được đọc theo hệ nêu ở phần chi tiết. Dùng --crs để xác nhận và sửa tệp từ nguồn.",
    ),
    "crs.swapped": _kind(
        "warning", "The axes are swapped: northing stands before easting",
        "Hai trục bị đảo: tung độ đứng trước hoành độ",
        "They are read the right way round here. Export the file with x (easting, longitude) first.",
        "Ở đây đã đọc lại đúng chiều. Hãy xuất tệp với x (hoành độ, kinh độ) đứng trước.",
    ),
    "crs.units": _kind(
        "warning", "The coordinates are in another unit or lack a part of the easting",
        "Tọa độ dùng đơn vị khác hoặc thiếu một phần hoành độ",
        "They are converted here as the detail says. Export the file in metres with the full easting.",
        "Ở đây đã quy đổi như phần chi tiết. Hãy xuất tệp theo mét với hoành độ đầy đủ.",
    ),
    "crs.doubtful": _kind(
        "warning", "Several coordinate systems would fit", "Có nhiều hệ tọa độ cùng phù hợp",
        "Compare a known corner with the base map before publishing; give the right system with --crs.",
        "Đối chiếu một góc đã biết với bản đồ nền trước khi công bố; chỉ rõ hệ đúng bằng --crs.",
    ),
    "geometry.unmapped": _kind(
        "refused", "No column says where the rows lie", "Không cột nào cho biết vị trí của các dòng",
        "Name the columns of the coordinates (--longitude and --latitude, or --wkt). Where a column holds the code of "
        "a ward, a school or the like, a mapping file takes the shapes of that layer with "
        'join = { layer = "planning.wards", on = "COLUMN", key = "code" }.',
        "Chỉ rõ cột tọa độ (--longitude và --latitude, hoặc --wkt). Nếu có cột mã phường, mã trường …, tệp ánh xạ có "
        'join = { layer = "planning.wards", on = "CỘT", key = "code" } sẽ lấy hình của lớp đó.',
    ),
    # Joins
    "join.used": _kind(
        "info", "Rows are joined by key", "Các dòng được nối theo khóa",
        "Nothing to do if this is what the key means.", "Không cần làm gì nếu khóa đúng nghĩa như vậy.",
    ),
    "join.unmatched": _kind(
        "refused", "Keys that the joined layer does not have", "Khóa không có trong lớp được nối",
        "Correct the key, or publish the missing feature in the joined layer first.",
        "Sửa khóa, hoặc công bố đối tượng còn thiếu vào lớp được nối trước.",
    ),
    "join.ambiguous": _kind(
        "refused", "Keys that several features of the joined layer have",
        "Khóa trùng ở nhiều đối tượng của lớp được nối",
        "Join by a column that is different for each feature, such as the code or the id.",
        "Nối theo cột khác nhau ở mỗi đối tượng, như mã số hoặc id.",
    ),
    "join.padded": _kind(
        "warning", "Keys that lost their leading zeros", "Khóa bị mất số 0 ở đầu",
        "They are joined all the same. Format the column as text before saving the table.",
        "Vẫn nối được. Hãy định dạng cột là văn bản trước khi lưu bảng.",
    ),
    "row.left_out": _kind(
        "info", "Rows that the mapping leaves out", "Dòng mà tệp ánh xạ bỏ ra",
        "Nothing to do if where, unique or join in the mapping mean this.",
        "Không cần làm gì nếu where, unique hoặc join trong tệp ánh xạ có ý như vậy.",
    ),
    "id.repeats": _kind(
        "warning", "A column that looks like an id, and repeats", "Cột giống mã nhưng giá trị lặp lại",
        "If the rows of one value are one thing, take the first of each with a mapping file: unique = \"COLUMN\" and "
        "id = \"COLUMN\" (--write-mapping proposes one).",
        "Nếu các dòng cùng giá trị là một đối tượng, hãy chỉ lấy dòng đầu bằng tệp ánh xạ: unique = \"CỘT\" và "
        "id = \"CỘT\" (--write-mapping đề xuất sẵn).",
    ),
    "table.place": _kind(
        "info", "Columns taken for the place", "Cột được dùng làm tọa độ",
        "If others are meant, name them with --longitude and --latitude, or --wkt.",
        "Nếu là cột khác, hãy chỉ rõ bằng --longitude và --latitude, hoặc --wkt.",
    ),
    # Geometry
    "geometry.missing": _kind(
        "refused", "No geometry", "Không có hình học",
        "Draw the feature, or delete the row.", "Vẽ đối tượng hoặc xóa dòng.",
    ),
    "geometry.not_finite": _kind(
        "refused", "Coordinates that are not numbers", "Tọa độ không phải là số",
        "Draw the feature anew; a conversion has lost its coordinates.",
        "Vẽ lại đối tượng; một lần chuyển đổi đã làm mất tọa độ.",
    ),
    "geometry.unreadable": _kind(
        "refused", "Geometry that cannot be read", "Hình học không đọc được",
        "Draw the feature anew, or repair the file with the program that made it.",
        "Vẽ lại đối tượng, hoặc sửa tệp bằng phần mềm đã tạo ra nó.",
    ),
    "geometry.unclosed": _kind(
        "refused", "Outlines that are not closed", "Đường bao không khép kín",
        "Let the last point of the outline be its first.", "Cho điểm cuối của đường bao trùng điểm đầu.",
    ),
    "geometry.curved": _kind(
        "refused", "Curves", "Đường cong",
        "Save the geometry with straight lines (densify the arcs).", "Lưu hình bằng đoạn thẳng (chia nhỏ cung).",
    ),
    "row.columns": _kind(
        "refused", "Rows with more values than the table has columns", "Dòng có nhiều giá trị hơn số cột",
        "Put values that contain the separator in quotation marks.", "Đặt giá trị chứa dấu phân cách trong ngoặc kép.",
    ),
    "row.short": _kind(
        "warning", "Rows with fewer values than the table has columns", "Dòng có ít giá trị hơn số cột",
        "Compare these rows with the file: what is missing was taken for empty values at the end.",
        "Đối chiếu các dòng này với tệp: phần thiếu được coi là giá trị trống ở cuối dòng.",
    ),
    "rows.left_out": _kind(
        "warning", "Lines of a table that are not read", "Dòng trong bảng không đọc được",
        "Correct these lines at the source; the features are made without them.",
        "Sửa các dòng này ở nguồn; các đối tượng được tạo mà không có chúng.",
    ),
    "row.quotes": _kind(
        "refused", "Rows with a quotation mark that has no partner", "Dòng có dấu ngoặc kép không khép",
        "Close the quotation mark in this row; inside a quoted value write it twice.",
        "Khép dấu ngoặc kép ở dòng này; bên trong giá trị có ngoặc kép thì viết hai lần.",
    ),
    "value.formula": _kind(
        "warning", "Formulas without a stored value; empty here", "Công thức chưa có giá trị; ở đây để trống",
        "Open the workbook in Excel or LibreOffice, let it calculate, and save it again.",
        "Mở bảng tính bằng Excel hoặc LibreOffice để tính lại rồi lưu.",
    ),
    "geometry.formula": _kind(
        "refused", "Coordinates that are a formula without a stored value", "Tọa độ là công thức chưa có giá trị",
        "Open the workbook in Excel or LibreOffice, let it calculate, and save it again.",
        "Mở bảng tính bằng Excel hoặc LibreOffice để tính lại rồi lưu.",
    ),
    "value.beyond": _kind(
        "warning", "Dates outside the years 1 to 9999; empty here", "Ngày ngoài khoảng năm 1 đến 9999; ở đây để trống",
        "Correct them at the source; for “never ends” leave the value empty.",
        "Sửa ở nguồn; nếu nghĩa là “không thời hạn” thì để trống.",
    ),
    "value.inexact": _kind(
        "warning", "Codes that are stored as numbers of more than 15 digits", "Mã lưu dạng số quá 15 chữ số",
        "The last digits are lost in the file already. Store the column as text at the source.",
        "Các chữ số cuối đã mất ngay trong tệp. Hãy lưu cột này ở dạng chữ từ nguồn.",
    ),
    "object.incomplete": _kind(
        "refused", "Objects with parts that are missing", "Đối tượng thiếu phần tạo thành",
        "Export the objects whole, with the parts that the detail names.",
        "Xuất lại trọn đối tượng cùng các phần nêu ở chi tiết.",
    ),
    "objects.left_out": _kind(
        "warning", "Objects that are not read", "Đối tượng không được đọc",
        "If they are needed, save them as plain points, lines or polygons.",
        "Nếu cần, hãy lưu thành điểm, đường hoặc vùng thông thường.",
    ),
    "objects.not_of_theme": _kind(
        "info", "Objects that the theme is not about; left out", "Đối tượng không thuộc chuyên đề; đã bỏ ra",
        "Nothing to do, unless they belong to this layer: then name their type with --source-layer.",
        "Không cần làm gì, trừ khi chúng thuộc lớp này: khi đó chỉ rõ loại bằng --source-layer.",
    ),
    "object.unreadable": _kind(
        "refused", "Objects that cannot be read", "Đối tượng không đọc được",
        "Repair the file with the program that made it.", "Sửa tệp bằng phần mềm đã tạo ra nó.",
    ),
    "geometry.invalid": _kind(
        "refused", "Geometry that could not be mended", "Hình học không sửa được",
        "Draw the feature anew.", "Vẽ lại đối tượng.",
    ),
    "geometry.too_large": _kind(
        "refused", "A geometry with too many vertices", "Hình có quá nhiều đỉnh",
        "Divide or simplify it; the limit is in the detail.", "Chia nhỏ hoặc đơn giản hóa; giới hạn ở phần chi tiết.",
    ),
    "geometry.outside_crs": _kind(
        "refused", "Coordinates that the coordinate system cannot hold", "Tọa độ nằm ngoài phạm vi của hệ tọa độ",
        "Look for a digit too many, or a feature drawn in another coordinate system.",
        "Tìm chữ số thừa, hoặc đối tượng được vẽ trong hệ tọa độ khác.",
    ),
    "geometry.kind": _kind(
        "refused", "The wrong kind of geometry", "Sai kiểu hình học",
        "Move these features to a layer of their own kind.", "Chuyển các đối tượng này sang lớp đúng kiểu.",
    ),
    "geometry.crossing": _kind(
        "warning", "Outlines that cross themselves; mended", "Đường bao tự cắt; đã sửa",
        "Compare the area before and after; where it differs much, correct the feature at the source.",
        "So diện tích trước và sau; nếu chênh nhiều thì sửa đối tượng ở nguồn.",
    ),
    "geometry.no_area": _kind(
        "refused", "A shape without area or length", "Hình không có diện tích hoặc chiều dài",
        "Delete it, or draw it anew.", "Xóa hoặc vẽ lại.",
    ),
    "geometry.sliver": _kind(
        "warning", "Slivers: long and thinner than a hand", "Mảnh vụn: dài và rất mỏng",
        "Usually left over from an overlay; merge them into their neighbour.",
        "Thường còn sót sau khi chồng lớp; hãy gộp vào hình bên cạnh.",
    ),
    "geometry.duplicate": _kind(
        "refused", "The same geometry again, without an id to tell them apart",
        "Hình học trùng nhau, không có mã để phân biệt",
        "Delete the copy, or name a column with id = …; the first one is kept.",
        "Xóa bản sao, hoặc chỉ rõ cột mã bằng id = …; đối tượng đầu tiên được giữ.",
    ),
    "geometry.same": _kind(
        "warning", "The same geometry under several ids", "Một hình học mang nhiều mã",
        "Keep one of them, if they are one thing; all are published.",
        "Chỉ giữ một nếu chúng là một; tất cả vẫn được công bố.",
    ),
    "geometry.same_place": _kind(
        "info", "Several points at one place", "Nhiều điểm cùng một chỗ",
        "Nothing to do if they are different things, such as offices of one building.",
        "Không cần làm gì nếu là các đối tượng khác nhau, như các văn phòng trong một tòa nhà.",
    ),
    "geometry.outside_city": _kind(
        "refused", "Far outside the city", "Nằm xa ngoài thành phố",
        "Correct the coordinates; 0, 0 means that they were never filled in.",
        "Sửa tọa độ; 0, 0 nghĩa là chưa bao giờ được điền.",
    ),
    "geometry.stray": _kind(
        "warning", "Far from all the other features", "Nằm xa mọi đối tượng khác",
        "Check the place of these features; they are published as they are.",
        "Kiểm tra vị trí các đối tượng này; chúng vẫn được công bố.",
    ),
    # Coverage
    "coverage.overlap": _kind(
        "warning", "Neighbours that overlap", "Các hình liền kề chồng lên nhau",
        "Let both share one border; the layer is published as it is.",
        "Cho hai bên dùng chung một ranh giới; lớp vẫn được công bố.",
    ),
    "coverage.gap": _kind(
        "warning", "Gaps that no feature covers", "Khe hở không hình nào phủ",
        "Close the gap between the neighbours, or add the missing feature.",
        "Khép khe hở giữa các hình, hoặc bổ sung đối tượng còn thiếu.",
    ),
    "coverage.skipped": _kind(
        "info", "Overlaps and gaps were not looked for", "Chưa kiểm tra chồng lấn và khe hở",
        "The layer is larger than this check holds in memory; check a part of it by itself.",
        "Lớp lớn hơn mức mà phép kiểm tra này giữ trong bộ nhớ; hãy kiểm tra riêng từng phần.",
    ),
    # Fields
    "field.type": _kind(
        "refused", "A value of the wrong type", "Giá trị sai kiểu",
        "Correct the value, or leave it empty.", "Sửa giá trị hoặc để trống.",
    ),
    "field.vocabulary": _kind(
        "refused", "A value that the theme does not know", "Giá trị không có trong danh mục",
        "Use a term of the theme (twin layer themes NAME lists them), or translate the value in the mapping file "
        "(twin ingest check FILE --write-mapping MAPPING prepares it).",
        "Dùng giá trị trong danh mục (xem: twin layer themes TÊN), hoặc quy đổi trong tệp ánh xạ "
        "(twin ingest check TỆP --write-mapping ÁNH_XẠ chuẩn bị sẵn).",
    ),
    "field.range": _kind(
        "refused", "A value out of range", "Giá trị ngoài khoảng cho phép",
        "Correct the value; look for a wrong unit.", "Sửa giá trị; kiểm tra đơn vị.",
    ),
    "field.required": _kind(
        "refused", "A required value is missing", "Thiếu giá trị bắt buộc",
        "Fill it in, or take the field from another column in the mapping file.",
        "Điền giá trị, hoặc lấy trường này từ cột khác trong tệp ánh xạ.",
    ),
    "field.unmapped": _kind(
        "refused", "A required field has no column", "Trường bắt buộc không có cột nào",
        "Name its column in a mapping file, or give it one value for all: { constant = … }. "
        "--write-mapping FILE writes one to edit.",
        "Chỉ rõ cột trong tệp ánh xạ, hoặc cho một giá trị chung: { constant = … }. "
        "--write-mapping TỆP ghi sẵn một tệp để sửa.",
    ),
    "field.unknown": _kind(
        "info", "Columns that the theme has no field for", "Cột không thuộc trường nào của chuyên đề",
        "They are carried along under plain names; leave them out with drop = [ … ].",
        "Vẫn được giữ với tên không dấu; bỏ bớt bằng drop = [ … ].",
    ),
    "id.duplicate": _kind(
        "refused", "An id that came before", "Mã trùng",
        "Give each feature an id of its own; the first one is kept.",
        "Cho mỗi đối tượng một mã riêng; đối tượng đầu tiên được giữ.",
    ),
    "id.exists": _kind(
        "refused", "An id that the layer has already", "Mã đã có trong lớp",
        "To change features that are there, publish with --mode upsert; to add, give new ids.",
        "Để thay đối tượng đã có, dùng --mode upsert; để thêm mới, hãy cấp mã mới.",
    ),
    "id.missing": _kind(
        "info", "Features without an id", "Đối tượng không có mã",
        "Their id is made from the geometry, and changes with it. Name a column with id = … to keep them recognisable.",
        "Mã được tạo từ hình học và đổi theo nó. Chỉ rõ cột bằng id = … để theo dõi được đối tượng.",
    ),
    # Rasters, counted in pixels
    "raster.kind": _kind(
        "refused", "Not the kind of raster that the theme takes", "Không đúng loại ảnh raster của chuyên đề",
        "Export the values themselves (heights, depths, class codes), not a picture of them.",
        "Hãy xuất chính các giá trị (độ cao, độ sâu, mã lớp), không phải hình vẽ của chúng.",
    ),
    "raster.empty": _kind(
        "refused", "No pixel with a value that can be used", "Không có điểm ảnh nào dùng được",
        "Check that the right band was exported and which value means “no data”.",
        "Kiểm tra đã xuất đúng kênh chưa và giá trị nào nghĩa là “không có dữ liệu”.",
    ),
    "raster.elsewhere": _kind(
        "refused", "The raster lies outside the city", "Ảnh raster nằm ngoài thành phố",
        "Check that it is the right file; if it is, its coordinate system is wrong: give it with --crs.",
        "Kiểm tra có đúng tệp không; nếu đúng thì hệ tọa độ sai: chỉ rõ bằng --crs.",
    ),
    "raster.class": _kind(
        "refused", "A class that the theme does not know; left out of the cells",
        "Lớp không có trong danh mục; không đưa vào ô",
        'Say what its code means in a file for --mapping:  [codes]  12 = "grass".',
        'Ghi ý nghĩa của mã trong tệp dùng với --mapping:  [codes]  12 = "grass".',
    ),
    "raster.range": _kind(
        "refused", "A value that is not believable; left out of the cells", "Giá trị không hợp lý; không đưa vào ô",
        "If it means “no data”, say so in the file (gdal_edit.py -a_nodata VALUE FILE); else look for a wrong unit.",
        "Nếu nghĩa là “không có dữ liệu”, hãy ghi vào tệp (gdal_edit.py -a_nodata GIÁ_TRỊ TỆP); nếu không, xem lại "
        "đơn vị.",
    ),
    "raster.beyond": _kind(
        "warning", "Parts far outside the city; not turned into cells", "Có phần nằm xa ngoài thành phố; không tạo ô",
        "Nothing to do if the raster simply reaches farther; its file keeps those parts.",
        "Không cần làm gì nếu ảnh chỉ rộng hơn thành phố; tệp vẫn giữ các phần đó.",
    ),
    "raster.bands": _kind(
        "warning", "Several bands; one of them is read", "Ảnh có nhiều kênh; chỉ đọc một kênh",
        "Say which with --source-layer and its number or name.",
        "Chỉ rõ kênh bằng --source-layer kèm số hoặc tên kênh.",
    ),
    "raster.unit": _kind(
        "warning", "The file states another unit than the theme", "Đơn vị ghi trong tệp khác đơn vị của chuyên đề",
        "Convert the values before publishing, or correct the unit in the file.",
        "Quy đổi giá trị trước khi công bố, hoặc sửa đơn vị trong tệp.",
    ),
    "raster.not_finite": _kind(
        "info", "Pixels that are not numbers (NaN); taken for “no data”",
        "Điểm ảnh không phải là số (NaN); coi là “không có dữ liệu”",
        "Nothing to do.", "Không cần làm gì.",
    ),
    "raster.no_data": _kind(
        "info", "The file does not say which value means “no data”",
        "Tệp không ghi giá trị nào nghĩa là “không có dữ liệu”",
        "Nothing to do if every pixel has a value.", "Không cần làm gì nếu mọi điểm ảnh đều có giá trị.",
    ),
    "raster.coarse": _kind(
        "info", "Pixels larger than a cell: neighbouring cells repeat a value",
        "Điểm ảnh lớn hơn ô: các ô cạnh nhau lặp lại một giá trị",
        "Nothing to do; do not read more detail out of the cells than the raster has.",
        "Không cần làm gì; đừng hiểu các ô chi tiết hơn ảnh gốc.",
    ),
    # Text
    "text.legacy": _kind(
        "info", "Text in a legacy encoding; converted", "Chữ theo bảng mã cũ; đã chuyển",
        "Read a few values in the detail. If they are wrong, set the encoding of the column in the mapping file.",
        "Đọc thử vài giá trị ở phần chi tiết. Nếu sai, ghi bảng mã của cột trong tệp ánh xạ.",
    ),
    "text.not_unicode": _kind(
        "refused", "Text that is not Unicode, as its format asks", "Chữ không phải Unicode như định dạng yêu cầu",
        "Save the file again with its text in UTF-8.", "Lưu lại tệp với chữ ở dạng UTF-8.",
    ),
    "text.broken": _kind(
        "warning", "Halves of characters (surrogates) in text; shown as �", "Ký tự bị cắt đôi trong chữ; hiện thành �",
        "Correct the text at the source; emoji are cut like this by programs that shorten text.",
        "Sửa chữ ở nguồn; phần mềm cắt ngắn chữ thường làm hỏng biểu tượng như vậy.",
    ),
    "text.nfd": _kind(
        "info", "Text with loose tone marks (NFD); joined", "Chữ có dấu tách rời (NFD); đã ghép",
        "Nothing to do: it is stored as NFC.", "Không cần làm gì: dữ liệu được lưu theo NFC.",
    ),
    "text.too_long": _kind(
        "refused", "Text that is too long", "Chuỗi quá dài",
        "Shorten it to the limit in the detail, or leave the column out with drop = [ … ].",
        "Rút ngắn theo giới hạn ở phần chi tiết, hoặc bỏ cột bằng drop = [ … ].",
    ),
    "text.control": _kind(
        "warning", "Control characters in text; removed", "Ký tự điều khiển trong chữ; đã bỏ",
        "Nothing to do, unless the text was cut; it often comes from copying out of other programs.",
        "Không cần làm gì, trừ khi chữ bị cắt; thường do sao chép từ phần mềm khác.",
    ),
    "text.markup": _kind(
        "info", "Text that looks like markup or a formula; shown as text",
        "Chữ giống mã lệnh hoặc công thức; hiển thị như chữ",
        "Nothing to do: it is never run. Remove it at the source if it is not meant.",
        "Không cần làm gì: không bao giờ được thực thi. Xóa ở nguồn nếu không cố ý.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Example:
    """One feature with a problem: its id (or "row 12"), where it is (EPSG:4326), and what was found."""

    feature: str
    detail: str | Text = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is a problem: how often it stands in the file, and the term that may be meant, with its title."""

    value: str
    count: int
    term: str | None = None
    title: Text | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the form of the JSON report."""
        return {
            "value": self.value, "count": self.count, "term": self.term,
            "title": self.title.as_dict() if self.title else None,
        }  # fmt: skip


@dataclass
class Problem:
    """One kind of problem in a file, in one field if it concerns a field: how often, with examples, and the most
    frequent values if it is one of values.
    """

    code: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)
    field: str | None = None
    values: tuple[Value, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the table says of it."""
        return KINDS[self.code]

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return self.kind.severity

    def as_dict(self) -> dict[str, Any]:
        """Give the form of the JSON report."""
        return {
            "code": self.code, "severity": self.severity, "field": self.field, "count": self.count,
            "title": self.kind.title.as_dict(), "advice": self.kind.advice.as_dict(),
            "examples": [
                {
                    "feature": e.feature,
                    "detail": e.detail.as_dict() if isinstance(e.detail, Text) else {"en": e.detail, "vi": e.detail},
                    "place": list(e.place) if e.place else None,
                }
                for e in self.examples
            ],
            "values": [value.as_dict() for value in self.values],
        }  # fmt: skip


class Ledger:
    """All problems of a file, each counted, with the first few features as examples."""

    def __init__(self, examples: int = EXAMPLES) -> None:
        self._limit = examples
        self._problems: dict[tuple[str, str | None], Problem] = {}
        self._values: dict[tuple[str, str | None], Counter[str]] = {}

    def note(self, code: str, examples: Iterable[Example] = (), count: int = 1, of: str | None = None) -> None:
        """Count a problem found in some other way than row by row."""
        problem = self._problems.setdefault((code, of), Problem(code, field=of))
        problem.count += count
        for example in examples:
            if len(problem.examples) >= self._limit:
                break
            problem.examples.append(example)

    def rows(
        self, code: str, where: npt.NDArray[np.bool_], example: Callable[[int], Example], of: str | None = None
    ) -> None:
        """Count the rows of a batch with a problem; examples are made only while some are wanted."""
        count = int(np.count_nonzero(where))
        if count:
            self.note(code, (example(int(row)) for row in np.flatnonzero(where)[: self._limit]), count, of)

    def count_values(self, code: str, of: str | None, values: Mapping[str, int]) -> None:
        """Count the values that are a problem; memory stays bounded, for only so many different ones are kept."""
        counted = self._values.setdefault((code, of), Counter())
        for value, count in values.items():
            if value in counted or len(counted) < VALUES_COUNTED:
                counted[value] += count

    def tell_values(self, tell: Callable[[str | None, str, int], Value]) -> None:
        """Give each problem of values its most frequent ones; `tell` makes one of a field, a value and its count."""
        for (code, of), counted in self._values.items():
            told = tuple(tell(of, value, count) for value, count in counted.most_common(VALUES_TOLD))
            self._problems[code, of].values = told

    @property
    def problems(self) -> list[Problem]:
        """The problems, the gravest first, then in the order of the table."""
        grave = {severity: place for place, severity in enumerate(SEVERITIES)}
        table = {code: place for place, code in enumerate(KINDS)}
        return sorted(
            self._problems.values(), key=lambda p: (grave[p.severity], table[p.code], -p.count, p.field or "")
        )
