"""Vietnamese names for the invented city: trees, birds, virtues, waters and old place words; no persons."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

TREES = (
    "Phượng Vĩ", "Bằng Lăng", "Hoa Sữa", "Sao Đen", "Dầu Rái", "Lộc Vừng", "Muồng Vàng", "Hoàng Yến", "Hoa Sứ",
    "Mai Vàng", "Lan Rừng", "Hoa Giấy", "Thiên Lý", "Dạ Hương", "Ngọc Lan", "Hoàng Lan", "Mộc Lan", "Hải Đường",
    "Tường Vi", "Hướng Dương", "Tre Xanh", "Trúc Đào", "Dừa Nước", "Dừa Lửa", "Bình Bát", "Cây Bàng", "Cây Gáo",
    "Cây Sung", "Cây Trâm", "Bồ Đề", "Long Não", "Xà Cừ", "Giáng Hương", "Gõ Đỏ", "Lim Xanh", "Sến Mủ", "Chò Nâu",
    "Thông Reo", "Tràm Xanh", "Đước Xanh", "Bần Chua", "Ô Môi", "Điệp Vàng", "Me Tây", "Vú Sữa", "Măng Cụt",
    "Sầu Riêng", "Xoài Cát", "Mận Hồng", "Bưởi Xanh", "Liễu Rủ", "Sim Tím", "Sen Hồng", "Súng Trắng", "Cúc Vàng",
    "Đỗ Quyên", "Cẩm Tú", "Anh Đào", "Hoa Lài", "Nguyệt Quế",
)  # fmt: skip
VIRTUES = (
    "Đoàn Kết", "Hòa Bình", "Thống Nhất", "Tự Lập", "Cần Kiệm", "Nhân Ái", "Tín Nghĩa", "Trung Hậu", "Hiếu Thảo",
    "Khai Trí", "Tân Tiến", "Hưng Thịnh", "An Khang", "Phúc Lộc", "Thịnh Vượng", "Bình Yên", "Hiệp Lực", "Đồng Tâm",
    "Quyết Tiến", "Bác Ái", "Minh Đức", "Chí Công", "Kiến Thiết", "Khai Hoang", "Độc Lập", "Tự Do", "Dân Chủ",
    "Hữu Nghị", "Lao Động", "Sáng Tạo", "Thành Công", "Hoa Niên", "Ánh Sáng", "Bình Minh", "Tương Lai", "Thanh Xuân",
)  # fmt: skip
PLACES = (
    "Sông Hương", "Sông Mã", "Sông Lam", "Sông Hàn", "Sông Thao", "Sông Đà", "Sông Trà", "Trường Sơn", "Hồng Lĩnh",
    "Tam Đảo", "Ba Vì", "Bạch Mã", "Ngũ Hành", "Lam Sơn", "Yên Tử", "Hải Vân", "Bạch Đằng", "Đống Đa", "Chi Lăng",
    "Vân Đồn", "Hàm Tử", "Chương Dương", "Tây Sơn", "Hoa Lư", "Cổ Loa", "Phong Châu", "Thăng Long", "Phú Xuân",
    "Cửu Long", "Hậu Giang", "Tháp Mười", "Thất Sơn", "Trường Sa", "Hoàng Sa", "Thổ Chu", "Cát Bà", "Hạ Long",
    "Sa Pa", "Mộc Châu", "Đà Lạt", "Nha Trang", "Tràm Chim", "Cúc Phương", "Ba Bể", "Tam Cốc", "Kỳ Hòa",
)  # fmt: skip
BIRDS = (
    "Chim Én", "Sơn Ca", "Họa Mi", "Hải Âu", "Cò Trắng", "Sáo Sậu", "Bồ Câu", "Hoàng Oanh", "Phượng Hoàng",
    "Thiên Nga", "Bạch Hạc", "Cánh Diều",
)  # fmt: skip
OLD_WORDS = (
    "Bến Sen", "Cầu Dừa", "Gò Mai", "Bến Đá", "Vườn Cau", "Lò Gạch", "Xóm Lưới", "Xóm Chiếu", "Giồng Cát", "Đình Cổ",
    "Chùa Vàng", "Rạch Lá", "Cầu Mây", "Bến Gỗ", "Xóm Thuốc", "Lò Chén", "Bàu Sen", "Gò Sao", "Bến Mía", "Giếng Nước",
)  # fmt: skip
RIVERS = ("Vàm Sen", "Lá Dừa", "Bình Giang", "Cái Sậy", "Vàm Cỏ Non", "Long Tuyền", "Cái Bần", "Thanh Thủy")
CANALS = (
    "Cầu Mây", "Bà Lụa", "Cây Bàng", "Lò Gốm Cũ", "Ông Mười", "Xóm Củi Xưa", "Bến Gỗ", "Cái Tràm", "Bàu Trâm",
    "Thị Sen", "Cầu Sập", "Bình Lợi Xưa", "Vàm Tắc", "Ruột Dê", "Lá Buôn", "Mương Chuối", "Ông Cò", "Bà Bướm",
)  # fmt: skip
FIRST = (
    "An",
    "Bình",
    "Tân",
    "Phú",
    "Long",
    "Hòa",
    "Thạnh",
    "Hiệp",
    "Phước",
    "Vĩnh",
    "Thới",
    "Mỹ",
    "Xuân",
    "Đông",
)
SECOND = (
    "Giang", "Liên", "Hải", "Vân", "Lộc", "Mai", "Quang", "Thuận", "Hội", "Sơn", "Thủy", "Cát", "Khê", "Lâm", "Trúc",
    "Sen", "Nguyên", "Minh", "Đức", "Hoa",
)  # fmt: skip
ESTATES = (
    "Hoàng Mai", "Sông Xanh", "Ánh Dương", "Vườn Cọ", "Hải Đăng", "Thảo Nguyên", "Bình Minh", "Sao Mai", "Ngọc Bích",
    "Lam Giang", "Phố Nắng", "Gió Lành", "Đại Dương", "Hồng Ngọc", "Vườn Xuân", "Thanh Bình", "Bến Thơ", "Mây Trắng",
)  # fmt: skip
HOUSES = (
    "Sông Vàng", "Bến Bạc", "Phương Nam", "Cửu Long", "Hải Đăng", "Sao Sông", "Kim Ngân", "Thái Bình", "Đông Dương",
    "Bách Hợp", "Ngân Hà", "Thiên Thanh", "Bạch Kim", "Hoa Sen", "Nam Hải", "Tân Cảng", "Trường Phát", "Minh Châu",
    "Phú Hưng", "Viễn Đông",
)  # fmt: skip


def street_names(rng: np.random.Generator) -> Iterator[str]:
    """Yield names for streets in random order, without end; when the words run out they come again with a number."""
    words = [*TREES, *VIRTUES, *PLACES, *BIRDS, *OLD_WORDS]
    yield from (words[i] for i in rng.permutation(len(words)))
    words += [f"{a} {b}" for a in FIRST for b in SECOND]
    turn = 1
    while True:
        for i in rng.permutation(np.arange(len(words) if turn > 1 else len(FIRST) * len(SECOND)) * -1 - 1):
            yield words[i] if turn == 1 else f"{words[i]} {turn}"
        turn += 1


def pick(words: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    """So many words in random order; when they run out they come again with a number."""
    order = rng.permutation(len(words))
    return [words[order[i % len(words)]] + (f" {i // len(words) + 1}" if i >= len(words) else "") for i in range(count)]


def ward_names(start: int, count: int, seed: int) -> list[str]:
    """Return names number `start` and on of the series of all ward names, which a seed shuffles."""
    pairs = [f"{a} {b}" for a in FIRST for b in SECOND]
    order = np.random.default_rng([seed, 4242]).permutation(len(pairs))
    found = []
    for i in range(start, start + count):
        again, at = divmod(i, len(pairs))
        found.append(pairs[order[at]] + ("" if not again else f" {again + 1}"))
    return found
