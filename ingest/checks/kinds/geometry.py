"""Problems of geometries, of rows that cannot be read, and of neighbours in a coverage."""

from __future__ import annotations

from ingest.checks.kinds.kind import Kind, kind

GEOMETRY: dict[str, Kind] = {
    "geometry.missing": kind(
        "refused", "No geometry", "Không có hình học",
        "Draw the feature, or delete the row.", "Vẽ đối tượng hoặc xóa dòng.",
    ),
    "geometry.not_finite": kind(
        "refused", "Coordinates that are not numbers", "Tọa độ không phải là số",
        "Draw the feature anew; a conversion has lost its coordinates.",
        "Vẽ lại đối tượng; một lần chuyển đổi đã làm mất tọa độ.",
    ),
    "geometry.unreadable": kind(
        "refused", "Geometry that cannot be read", "Hình học không đọc được",
        "Draw the feature anew, or repair the file with the program that made it.",
        "Vẽ lại đối tượng, hoặc sửa tệp bằng phần mềm đã tạo ra nó.",
    ),
    "geometry.unclosed": kind(
        "refused", "Outlines that are not closed", "Đường bao không khép kín",
        "Let the last point of the outline be its first.", "Cho điểm cuối của đường bao trùng điểm đầu.",
    ),
    "geometry.curved": kind(
        "refused", "Curves", "Đường cong",
        "Save the geometry with straight lines (densify the arcs).", "Lưu hình bằng đoạn thẳng (chia nhỏ cung).",
    ),
    "row.columns": kind(
        "refused", "Rows with more values than the table has columns", "Dòng có nhiều giá trị hơn số cột",
        "Put values that contain the separator in quotation marks.", "Đặt giá trị chứa dấu phân cách trong ngoặc kép.",
    ),
    "row.short": kind(
        "warning", "Rows with fewer values than the table has columns", "Dòng có ít giá trị hơn số cột",
        "Compare these rows with the file: what is missing was taken for empty values at the end.",
        "Đối chiếu các dòng này với tệp: phần thiếu được coi là giá trị trống ở cuối dòng.",
    ),
    "rows.left_out": kind(
        "warning", "Lines of a table that are not read", "Dòng trong bảng không đọc được",
        "Correct these lines at the source; the features are made without them.",
        "Sửa các dòng này ở nguồn; các đối tượng được tạo mà không có chúng.",
    ),
    "row.quotes": kind(
        "refused", "Rows with a quotation mark that has no partner", "Dòng có dấu ngoặc kép không khép",
        "Close the quotation mark in this row; inside a quoted value write it twice.",
        "Khép dấu ngoặc kép ở dòng này; bên trong giá trị có ngoặc kép thì viết hai lần.",
    ),
    "value.formula": kind(
        "warning", "Formulas without a stored value; empty here", "Công thức chưa có giá trị; ở đây để trống",
        "Open the workbook in Excel or LibreOffice, let it calculate, and save it again.",
        "Mở bảng tính bằng Excel hoặc LibreOffice để tính lại rồi lưu.",
    ),
    "geometry.formula": kind(
        "refused", "Coordinates that are a formula without a stored value", "Tọa độ là công thức chưa có giá trị",
        "Open the workbook in Excel or LibreOffice, let it calculate, and save it again.",
        "Mở bảng tính bằng Excel hoặc LibreOffice để tính lại rồi lưu.",
    ),
    "value.beyond": kind(
        "warning", "Dates outside the years 1 to 9999; empty here", "Ngày ngoài khoảng năm 1 đến 9999; ở đây để trống",
        "Correct them at the source; for “never ends” leave the value empty.",
        "Sửa ở nguồn; nếu nghĩa là “không thời hạn” thì để trống.",
    ),
    "value.inexact": kind(
        "warning", "Codes that are stored as numbers of more than 15 digits", "Mã lưu dạng số quá 15 chữ số",
        "The last digits are lost in the file already. Store the column as text at the source.",
        "Các chữ số cuối đã mất ngay trong tệp. Hãy lưu cột này ở dạng chữ từ nguồn.",
    ),
    "object.incomplete": kind(
        "refused", "Objects with parts that are missing", "Đối tượng thiếu phần tạo thành",
        "Export the objects whole, with the parts that the detail names.",
        "Xuất lại trọn đối tượng cùng các phần nêu ở chi tiết.",
    ),
    "objects.left_out": kind(
        "warning", "Objects that are not read", "Đối tượng không được đọc",
        "If they are needed, save them as plain points, lines or polygons.",
        "Nếu cần, hãy lưu thành điểm, đường hoặc vùng thông thường.",
    ),
    "objects.not_of_theme": kind(
        "info", "Objects that the theme is not about; left out", "Đối tượng không thuộc chuyên đề; đã bỏ ra",
        "Nothing to do, unless they belong to this layer: then name their type with --source-layer.",
        "Không cần làm gì, trừ khi chúng thuộc lớp này: khi đó chỉ rõ loại bằng --source-layer.",
    ),
    "object.unreadable": kind(
        "refused", "Objects that cannot be read", "Đối tượng không đọc được",
        "Repair the file with the program that made it.", "Sửa tệp bằng phần mềm đã tạo ra nó.",
    ),
    "geometry.invalid": kind(
        "refused", "Geometry that could not be mended", "Hình học không sửa được",
        "Draw the feature anew.", "Vẽ lại đối tượng.",
    ),
    "geometry.too_large": kind(
        "refused", "A geometry with too many vertices", "Hình có quá nhiều đỉnh",
        "Divide or simplify it; the limit is in the detail.", "Chia nhỏ hoặc đơn giản hóa; giới hạn ở phần chi tiết.",
    ),
    "geometry.outside_crs": kind(
        "refused", "Coordinates that the coordinate system cannot hold", "Tọa độ nằm ngoài phạm vi của hệ tọa độ",
        "Look for a digit too many, or a feature drawn in another coordinate system.",
        "Tìm chữ số thừa, hoặc đối tượng được vẽ trong hệ tọa độ khác.",
    ),
    "geometry.kind": kind(
        "refused", "The wrong kind of geometry", "Sai kiểu hình học",
        "Move these features to a layer of their own kind.", "Chuyển các đối tượng này sang lớp đúng kiểu.",
    ),
    "geometry.crossing": kind(
        "warning", "Outlines that cross themselves; mended", "Đường bao tự cắt; đã sửa",
        "Compare the area before and after; where it differs much, correct the feature at the source.",
        "So diện tích trước và sau; nếu chênh nhiều thì sửa đối tượng ở nguồn.",
    ),
    "geometry.no_area": kind(
        "refused", "A shape without area or length", "Hình không có diện tích hoặc chiều dài",
        "Delete it, or draw it anew.", "Xóa hoặc vẽ lại.",
    ),
    "geometry.sliver": kind(
        "warning", "Slivers: long and thinner than a hand", "Mảnh vụn: dài và rất mỏng",
        "Usually left over from an overlay; merge them into their neighbour.",
        "Thường còn sót sau khi chồng lớp; hãy gộp vào hình bên cạnh.",
    ),
    "geometry.duplicate": kind(
        "refused", "The same geometry again, without an id to tell them apart",
        "Hình học trùng nhau, không có mã để phân biệt",
        "Delete the copy, or name a column with id = …; the first one is kept.",
        "Xóa bản sao, hoặc chỉ rõ cột mã bằng id = …; đối tượng đầu tiên được giữ.",
    ),
    "geometry.same": kind(
        "warning", "The same geometry under several ids", "Một hình học mang nhiều mã",
        "Keep one of them, if they are one thing; all are published.",
        "Chỉ giữ một nếu chúng là một; tất cả vẫn được công bố.",
    ),
    "geometry.same_place": kind(
        "info", "Several points at one place", "Nhiều điểm cùng một chỗ",
        "Nothing to do if they are different things, such as offices of one building.",
        "Không cần làm gì nếu là các đối tượng khác nhau, như các văn phòng trong một tòa nhà.",
    ),
    "geometry.outside_city": kind(
        "refused", "Far outside the city", "Nằm xa ngoài thành phố",
        "Correct the coordinates; 0, 0 means that they were never filled in.",
        "Sửa tọa độ; 0, 0 nghĩa là chưa bao giờ được điền.",
    ),
    "geometry.stray": kind(
        "warning", "Far from all the other features", "Nằm xa mọi đối tượng khác",
        "Check the place of these features; they are published as they are.",
        "Kiểm tra vị trí các đối tượng này; chúng vẫn được công bố.",
    ),
    "coverage.overlap": kind(
        "warning", "Neighbours that overlap", "Các hình liền kề chồng lên nhau",
        "Let both share one border; the layer is published as it is.",
        "Cho hai bên dùng chung một ranh giới; lớp vẫn được công bố.",
    ),
    "coverage.gap": kind(
        "warning", "Gaps that no feature covers", "Khe hở không hình nào phủ",
        "Close the gap between the neighbours, or add the missing feature.",
        "Khép khe hở giữa các hình, hoặc bổ sung đối tượng còn thiếu.",
    ),
    "coverage.skipped": kind(
        "info", "Overlaps and gaps were not looked for", "Chưa kiểm tra chồng lấn và khe hở",
        "The layer is larger than this check holds in memory; check a part of it by itself.",
        "Lớp lớn hơn mức mà phép kiểm tra này giữ trong bộ nhớ; hãy kiểm tra riêng từng phần.",
    ),
}  # fmt: skip
