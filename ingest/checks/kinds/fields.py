"""Problems of fields, ids and text."""

from __future__ import annotations

from ingest.checks.kinds.kind import Kind, kind

FIELDS: dict[str, Kind] = {
    "field.type": kind(
        "refused", "A value of the wrong type", "Giá trị sai kiểu",
        "Correct the value, or leave it empty.", "Sửa giá trị hoặc để trống.",
    ),
    "field.vocabulary": kind(
        "refused", "A value that the theme does not know", "Giá trị không có trong danh mục",
        "Use a term of the theme (twin layer themes NAME lists them), or translate the value in the mapping file "
        "(twin ingest check FILE --write-mapping MAPPING prepares it).",
        "Dùng giá trị trong danh mục (xem: twin layer themes TÊN), hoặc quy đổi trong tệp ánh xạ "
        "(twin ingest check TỆP --write-mapping ÁNH_XẠ chuẩn bị sẵn).",
    ),
    "field.range": kind(
        "refused", "A value out of range", "Giá trị ngoài khoảng cho phép",
        "Correct the value; look for a wrong unit.", "Sửa giá trị; kiểm tra đơn vị.",
    ),
    "field.required": kind(
        "refused", "A required value is missing", "Thiếu giá trị bắt buộc",
        "Fill it in, or take the field from another column in the mapping file.",
        "Điền giá trị, hoặc lấy trường này từ cột khác trong tệp ánh xạ.",
    ),
    "field.unmapped": kind(
        "refused", "A required field has no column", "Trường bắt buộc không có cột nào",
        "Name its column in a mapping file, or give it one value for all: { constant = … }. "
        "--write-mapping FILE writes one to edit.",
        "Chỉ rõ cột trong tệp ánh xạ, hoặc cho một giá trị chung: { constant = … }. "
        "--write-mapping TỆP ghi sẵn một tệp để sửa.",
    ),
    "field.unknown": kind(
        "info", "Columns that the theme has no field for", "Cột không thuộc trường nào của chuyên đề",
        "They are carried along under plain names; leave them out with drop = [ … ].",
        "Vẫn được giữ với tên không dấu; bỏ bớt bằng drop = [ … ].",
    ),
    "id.duplicate": kind(
        "refused", "An id that came before", "Mã trùng",
        "Give each feature an id of its own; the first one is kept.",
        "Cho mỗi đối tượng một mã riêng; đối tượng đầu tiên được giữ.",
    ),
    "id.exists": kind(
        "refused", "An id that the layer has already", "Mã đã có trong lớp",
        "To change features that are there, publish with --mode upsert; to add, give new ids.",
        "Để thay đối tượng đã có, dùng --mode upsert; để thêm mới, hãy cấp mã mới.",
    ),
    "id.missing": kind(
        "info", "Features without an id", "Đối tượng không có mã",
        "Their id is made from the geometry, and changes with it. Name a column with id = … to keep them recognisable.",
        "Mã được tạo từ hình học và đổi theo nó. Chỉ rõ cột bằng id = … để theo dõi được đối tượng.",
    ),
    "text.legacy": kind(
        "info", "Text in a legacy encoding; converted", "Chữ theo bảng mã cũ; đã chuyển",
        "Read a few values in the detail. If they are wrong, set the encoding of the column in the mapping file.",
        "Đọc thử vài giá trị ở phần chi tiết. Nếu sai, ghi bảng mã của cột trong tệp ánh xạ.",
    ),
    "text.code_page": kind(
        "warning", "Text that is not read in the code page that the file names",
        "Chữ không được đọc theo bảng mã mà tệp ghi",
        "Read a few names: programs write this code page also when the text is in another one. If letters are wrong, "
        "give the encoding as the detail says.",
        "Đọc thử vài tên: phần mềm thường ghi bảng mã này cả khi chữ theo bảng mã khác. Nếu sai chữ, hãy chỉ rõ "
        "bảng mã như phần chi tiết.",
    ),
    "text.not_unicode": kind(
        "refused", "Text that is not Unicode, as its format asks", "Chữ không phải Unicode như định dạng yêu cầu",
        "Save the file again with its text in UTF-8.", "Lưu lại tệp với chữ ở dạng UTF-8.",
    ),
    "text.broken": kind(
        "warning", "Halves of characters (surrogates) in text; shown as �", "Ký tự bị cắt đôi trong chữ; hiện thành �",
        "Correct the text at the source; emoji are cut like this by programs that shorten text.",
        "Sửa chữ ở nguồn; phần mềm cắt ngắn chữ thường làm hỏng biểu tượng như vậy.",
    ),
    "text.nfd": kind(
        "info", "Text with loose tone marks (NFD); joined", "Chữ có dấu tách rời (NFD); đã ghép",
        "Nothing to do: it is stored as NFC.", "Không cần làm gì: dữ liệu được lưu theo NFC.",
    ),
    "text.too_long": kind(
        "refused", "Text that is too long", "Chuỗi quá dài",
        "Shorten it to the limit in the detail, or leave the column out with drop = [ … ].",
        "Rút ngắn theo giới hạn ở phần chi tiết, hoặc bỏ cột bằng drop = [ … ].",
    ),
    "text.control": kind(
        "warning", "Control characters in text; removed", "Ký tự điều khiển trong chữ; đã bỏ",
        "Nothing to do, unless the text was cut; it often comes from copying out of other programs.",
        "Không cần làm gì, trừ khi chữ bị cắt; thường do sao chép từ phần mềm khác.",
    ),
    "text.markup": kind(
        "info", "Text that looks like markup or a formula; shown as text",
        "Chữ giống mã lệnh hoặc công thức; hiển thị như chữ",
        "Nothing to do: it is never run. Remove it at the source if it is not meant.",
        "Không cần làm gì: không bao giờ được thực thi. Xóa ở nguồn nếu không cố ý.",
    ),
}  # fmt: skip
