"""The words on the catalogue's pages."""

from __future__ import annotations

from collections.abc import Mapping

from twin.db.tables import Sharing
from twin.text import Text

SHARING: Mapping[Sharing, Text] = {
    Sharing.OPEN: Text(en="open", vi="mở"),
    Sharing.SHARED: Text(en="shared", vi="dùng chung"),
    Sharing.RESTRICTED: Text(en="restricted", vi="hạn chế"),
}
SHARING_MEANINGS: Mapping[Sharing, Text] = {
    Sharing.OPEN: Text(en="Everybody may read it.", vi="Mọi người đều được đọc."),
    Sharing.SHARED: Text(en="Every agency may read it, with its key.", vi="Mọi đơn vị có khóa đều được đọc."),
    Sharing.RESTRICTED: Text(
        en="Only its own agency may read it, with its key.", vi="Chỉ đơn vị sở hữu được đọc, bằng khóa của mình."
    ),
}
TYPES: Mapping[str, Text] = {
    "text": Text(en="text", vi="văn bản"),
    "integer": Text(en="whole number", vi="số nguyên"),
    "number": Text(en="number", vi="số"),
    "boolean": Text(en="yes or no", vi="có hoặc không"),
    "date": Text(en="date", vi="ngày"),
    "time": Text(en="time", vi="thời điểm"),
}
GEOMETRIES: Mapping[str, Text] = {
    "point": Text(en="points", vi="điểm"),
    "line": Text(en="lines", vi="đường"),
    "polygon": Text(en="areas", vi="vùng"),
}
WORDS: Mapping[str, Text] = {
    "catalogue": Text(en="Data catalogue", vi="Danh mục dữ liệu"),
    "search": Text(en="Search", vi="Tìm"),
    "search_for": Text(en="Words to look for", vi="Từ cần tìm"),
    "search_example": Text(en="wards, bus stops, flood …", vi="phường, trạm xe buýt, ngập …"),
    "agency": Text(en="Agency", vi="Đơn vị"),
    "theme": Text(en="Theme", vi="Chuyên đề"),
    "sharing": Text(en="Sharing", vi="Chia sẻ"),
    "freshness": Text(en="Freshness", vi="Độ mới"),
    "any": Text(en="all", vi="tất cả"),
    "clear": Text(en="Clear", vi="Bỏ lọc"),
    "nothing": Text(en="No layer fits. Try fewer words or clear the filters.",
                    vi="Không có lớp nào phù hợp. Hãy dùng ít từ hơn hoặc bỏ lọc."),
    "empty": Text(en="No layer is open to everybody yet. With a key, programs see what its agency may read.",
                  vi="Chưa có lớp nào mở cho mọi người. Chương trình có khóa sẽ thấy những lớp mà đơn vị được đọc."),
    "layers_found": Text(en="layers", vi="lớp dữ liệu"),
    "features": Text(en="features", vi="đối tượng"),
    "updated": Text(en="Updated", vi="Cập nhật"),
    "due": Text(en="Updates:", vi="Kỳ cập nhật:"),
    "next_due": Text(en="next version due by", vi="phiên bản tiếp theo trước ngày"),
    "was_due": Text(en="was due by", vi="hạn cập nhật là ngày"),
    "licence": Text(en="Licence", vi="Giấy phép"),
    "not_stated": Text(en="not stated", vi="chưa nêu"),
    "attribution": Text(en="Attribution", vi="Ghi nguồn"),
    "identifier": Text(en="Identifier", vi="Mã định danh"),
    "content": Text(en="Content", vi="Nội dung"),
    "sample": Text(en="Sample data", vi="Dữ liệu mẫu"),
    "version": Text(en="Version", vi="Phiên bản"),
    "versions": Text(en="Versions", vi="Các phiên bản"),
    "current": Text(en="current", vi="hiện hành"),
    "old": Text(en="This is an earlier version.", vi="Đây là phiên bản cũ."),
    "see_current": Text(en="See the current one", vi="Xem phiên bản hiện hành"),
    "published": Text(en="Published", vi="Công bố"),
    "reason": Text(en="Reason", vi="Lý do"),
    "changes": Text(en="Against the one before", vi="So với phiên bản trước"),
    "added": Text(en="added", vi="thêm"),
    "removed": Text(en="removed", vi="bỏ"),
    "changed": Text(en="changed", vi="sửa"),
    "no_changes": Text(en="no features changed", vi="không đổi đối tượng nào"),
    "source": Text(en="From file", vi="Từ tệp"),
    "only_you": Text(en="Only your agency sees this column.", vi="Chỉ đơn vị của bạn thấy cột này."),
    "fields": Text(en="Fields", vi="Các trường"),
    "name": Text(en="Name", vi="Tên"),
    "title": Text(en="Meaning", vi="Ý nghĩa"),
    "type": Text(en="Type", vi="Kiểu"),
    "unit": Text(en="Unit", vi="Đơn vị đo"),
    "allowed": Text(en="Values", vi="Giá trị"),
    "preview": Text(en="Preview", vi="Xem trước"),
    "preview_of": Text(en="Map of “{title}”", vi="Bản đồ lớp “{title}”"),
    "open_map": Text(en="Open in the 3D map", vi="Mở trên bản đồ 3D"),
    "downloads": Text(en="Download", vi="Tải về"),
    "whole": Text(en="The whole layer, version {number}. A file without a size is prepared when it is first requested. "
                     "In CSV, text that a spreadsheet would run as a formula begins with an apostrophe.",
                  vi="Toàn bộ lớp, phiên bản {number}. Tệp chưa ghi dung lượng sẽ được chuẩn bị khi có người tải lần "
                     "đầu. Trong CSV, văn bản mà bảng tính sẽ chạy như công thức được thêm dấu nháy đơn ở đầu."),
    "cite": Text(en="How to cite", vi="Cách trích dẫn"),
    "use": Text(en="Use it", vi="Sử dụng"),
    "in_shell": Text(en="On the command line", vi="Trên dòng lệnh"),
    "in_python": Text(en="In Python", vi="Trong Python"),
    "in_qgis": Text(en="In QGIS", vi="Trong QGIS"),
    "qgis_features": Text(en="Layer → Add Layer → Add WFS / OGC API — Features Layer, with this address",
                          vi="Lớp → Thêm lớp → Thêm lớp WFS / OGC API — Features, với địa chỉ"),
    "qgis_tiles": Text(en="Layer → Add Layer → Add Vector Tile Layer, with this address",
                       vi="Lớp → Thêm lớp → Thêm lớp ô vectơ, với địa chỉ"),
    "as_data": Text(en="This page as data", vi="Trang này dạng dữ liệu"),
    "browse": Text(en="Browse the features", vi="Xem từng đối tượng"),
    "next": Text(en="Next page", vi="Trang sau"),
    "prev": Text(en="Previous page", vi="Trang trước"),
    "page": Text(en="Pages", vi="Các trang"),
    "needs_key": Text(en="This layer needs a key: add the header “Authorization: Bearer …” to each request.",
                      vi="Lớp này cần khóa: thêm tiêu đề “Authorization: Bearer …” vào mỗi yêu cầu."),
    "raster": Text(en="Its features are H3 cells, sampled from a raster.",
                   vi="Các đối tượng là ô H3, lấy mẫu từ ảnh raster."),
}  # fmt: skip
