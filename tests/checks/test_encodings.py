"""Legacy encodings: each column is told by evidence, brought back letter by letter, and correct Unicode is left alone."""

from __future__ import annotations

import unicodedata
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingest.checks.encodings import TCVN3, decide_encoding, decode_tcvn3
from ingest.checks.vietnamese import is_syllable
from tests.checks.legacy_text import WRITERS, as_cp1258, as_tcvn3, as_vni
from tests.checks.readers import opened
from tests.examples import examples

WORDS = [
    "phường",
    "xã",
    "quận",
    "huyện",
    "đường",
    "phố",
    "hẻm",
    "chợ",
    "trường",
    "học",
    "bệnh",
    "viện",
    "nhà",
    "thờ",
    "chùa",
    "cầu",
    "kênh",
    "rạch",
    "sông",
    "hồ",
    "công",
    "viên",
    "nghĩa",
    "trang",
    "trạm",
    "bơm",
    "bến",
    "tàu",
    "xưởng",
    "kho",
    "bãi",
    "đất",
    "trồng",
    "lúa",
    "thủy",
    "điện",
    "nước",
    "sạch",
    "Nguyễn",
    "Trần",
    "Lê",
    "Phạm",
    "Hoàng",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
    "Dương",
    "Lý",
    "Tân",
    "Định",
    "Bến",
    "Nghé",
    "Đa",
    "Kao",
    "Cầu",
    "Ông",
    "Lãnh",
    "Cô",
    "Giang",
    "Thủ",
    "Thiêm",
    "Bình",
    "Khánh",
    "Củ",
    "Chi",
    "Nhà",
    "Bè",
    "Hóc",
    "Môn",
    "Cần",
    "Giờ",
    "Gò",
    "Vấp",
    "khuỷu",
    "tay",
    "thuở",
    "xưa",
    "quýt",
    "giếng",
    "nguệch",
    "ngoạc",
    "ngoằn",
    "ngoèo",
    "khuya",
    "rượu",
    "hươu",
    "yểng",
    "ỷ",
    "lại",
    "xoong",
    "quyển",
    "truyện",
    "loẹt",
    "xoẹt",
]
PHRASES = st.lists(st.sampled_from(WORDS), min_size=3, max_size=7).map(" ".join)
COLUMNS = st.lists(PHRASES, min_size=2, max_size=12)


def special(words: str) -> bool:
    return not words.isascii()


def changed(column: list[str], written: list[str]) -> int:
    """How many different words an encoding writes otherwise."""
    pairs = zip(" ".join(written).split(" "), " ".join(column).split(" "), strict=True)
    return len({word for word, plain in pairs if word != plain})


@settings(max_examples=examples(120), deadline=None)
@given(column=COLUMNS, encoding=st.sampled_from(sorted(WRITERS)))
def test_whatever_was_written_in_a_legacy_encoding_comes_back_letter_by_letter(
    column: list[str], encoding: str
) -> None:
    column = [unicodedata.normalize("NFC", value) for value in column]
    written = [WRITERS[encoding](value) for value in column]
    # Few words may be Vietnamese in two ways: "hồ" written in VNI is "hoà" in Unicode, and nothing can tell.
    assume(changed(column, written) >= 8)
    decision = decide_encoding(written)
    assert [decision.decode(value) for value in written] == column
    assert decision.evidence.en and decision.evidence.vi


@pytest.mark.parametrize(
    "column",
    [["phường phường phường", "phố kênh Môn"], ["xã xã xã"] * 2, ["Vũ Vũ", "Võ Võ"], ["nhà nhà nhà"] * 2],
)  # fmt: skip
def test_columns_of_few_words_come_back_where_only_one_reading_is_vietnamese(column: list[str]) -> None:
    column = [unicodedata.normalize("NFC", value) for value in column]
    written = [WRITERS["cp1258"](value) for value in column]
    decision = decide_encoding(written)
    assert [decision.decode(value) for value in written] == column


def test_of_columns_of_one_or_two_words_hardly_any_is_misread() -> None:
    words = sorted({unicodedata.normalize("NFC", word) for word in WORDS})
    columns = [[word, f"{word} {word}"] for word in words]
    columns += [[f"{one} {other}", f"{other} {one}"] for one, other in combinations(words[::3], 2)]
    misread = tried = 0
    for write in WRITERS.values():
        for column in columns:
            written = [write(value) for value in column]
            if written != column:
                tried += 1
                decision = decide_encoding(written)
                misread += [decision.decode(value) for value in written] != column
    assert tried > 1500
    assert misread < 0.035 * tried


@settings(max_examples=examples(120), deadline=None)
@given(column=COLUMNS, encoding=st.sampled_from(["tcvn3", "vni", "cp1258"]))
def test_columns_all_in_capitals_come_back_in_capitals(column: list[str], encoding: str) -> None:
    column = ["PHƯỜNG", *(unicodedata.normalize("NFC", value).upper() for value in column)]
    decision = decide_encoding(written := [WRITERS[encoding](value) for value in column])
    assert [decision.decode(value) for value in written] == column


@settings(max_examples=examples(200), deadline=None)
@given(column=COLUMNS)
def test_correct_unicode_is_left_alone(column: list[str]) -> None:
    column = [unicodedata.normalize("NFC", value) for value in column]
    decision = decide_encoding(column)
    assert decision.encoding == "unicode"
    assert [decision.decode(value) for value in column] == column


@pytest.mark.parametrize(
    "column",
    [
        ["Gia công"], ["Hoá đơn"], ["Hoà Bình", "Hoá An"], ["Gia công", "Hoá", "Thuê", "Kho bãi"], ["công"], ["Hồ Bà"],
        ["Café de Paris", "Hôtel Continental", "Crème brûlée"], ["Nestlé"], ["Schulgelände"], ["São Paulo"],
        ["120 m²", "35 °C", "±5"], ["10°45′", "½"], ["Nguyễn Huệ – Lê Lợi", "“Chợ Lớn”"], ["école – maternelle"],
        ["plain", "ASCII", "123"], [""], [], ["Вьетсовпетро"], ["東京"], ["truong dai hoc – co so 1"], ["à", "ô"],
        ["Đ", "ĐH", "VNĐ"], ["É"], ["naïve", "façade", "über"],
    ],
)  # fmt: skip
def test_text_that_needs_no_decoding_is_never_damaged(column: list[str]) -> None:
    decision = decide_encoding(column)
    assert [decision.decode(value) for value in column] == column


@settings(max_examples=examples(300), deadline=None)
@given(column=st.lists(st.text(max_size=20), max_size=8))
def test_any_text_is_decided_and_decoded_without_an_error(column: list[str]) -> None:
    decision = decide_encoding(column)
    for value in column:
        assert isinstance(decision.decode(value), str)


@given(column=st.lists(st.text(st.characters(max_codepoint=255), max_size=20), max_size=8))
@settings(max_examples=examples(300), deadline=None)
def test_any_bytes_are_decided_and_decoded_without_an_error(column: list[str]) -> None:
    decision = decide_encoding(column)
    for value in column:
        assert isinstance(decision.decode(value), str)


def test_bytes_that_were_taken_for_windows_1252_are_told_as_well() -> None:
    for text in ("Trường mầm non", "Cầu Ông Lãnh – Bến"):
        written = as_tcvn3(text).encode("cp1252").decode("cp1252")
        assert decide_encoding([written]).decode(written) == text


def test_dashes_and_quotes_of_windows_survive_a_legacy_encoding() -> None:
    for writer in (as_tcvn3, as_vni):
        column = [writer("Nguyễn Huệ") + " \x96 \x93" + writer("Chợ Bến Thành") + "\x94"]
        assert decide_encoding(column).decode(column[0]) == "Nguyễn Huệ – “Chợ Bến Thành”"


def test_a_column_in_which_some_values_are_unicode_already_keeps_those() -> None:
    column = [as_vni(v) for v in ("Phường Tân Định", "Cầu Ông Lãnh", "Nguyễn Thái Bình")] + [
        "Đường Nguyễn Huệ",
        "Gia công",
    ]
    decision = decide_encoding(column)
    assert decision.encoding == "vni"
    assert [decision.decode(v) for v in column[3:]] == column[3:]
    assert decision.decode(column[0]) == "Phường Tân Định"


def test_the_decision_shows_one_value_before_and_after() -> None:
    decision = decide_encoding([as_cp1258("Bến Nghé"), as_cp1258("Đường phố")])
    assert (decision.encoding, decision.after) == ("cp1258", "Bến Nghé")
    assert decision.before != decision.after


# TCVN 5712 from 0xA0 on, as the GNU C library has it; 0xB0 to 0xB4, combining marks there, are no letters of the ABC fonts.
TCVN_5712 = "\xa0ĂÂÊÔƠƯĐăâêôơưđẰàảãáạẲằẳẵắẴẮẦẨẪẤỀặầẩẫấậèỂẻẽéẹềểễếệìỉỄẾỒĩíịòỔỏõóọồổỗốộờởỡớợùỖủũúụừửữứựỳỷỹýỵỐ"


def test_the_table_of_tcvn3_is_that_of_the_standard() -> None:
    raw = bytes(b for b in range(0xA0, 0x100) if not 0xB0 <= b <= 0xB4)
    assert "".join(TCVN3[b] for b in raw) == TCVN_5712


@pytest.mark.parametrize(
    "word",
    [
        "Nguyễn",
        "quốc",
        "quở",
        "giếng",
        "gì",
        "gìn",
        "khuỷu",
        "nghiêng",
        "ngoằn",
        "yêu",
        "ở",
        "Uỷ",
        "ỷ",
        "hoà",
        "hòa",
        "xoong",
        "nguệch",
        "quýt",
        "luỹ",
        "phồi",
        "cửa",
        "rượu",
        "thuở",
        "khuya",
    ],
)
def test_syllables_are_known(word: str) -> None:
    assert is_syllable(word)


@pytest.mark.parametrize(
    "word",
    [
        "cêm",
        "ngi",
        "kà",
        "tấc̀",
        "sôc̀",
        "School",
        "Nestlé",
        "phô̌",
        "thaønh",
        "Tr\xadêng",
        "ươt",
        "àà",
        "ghạ",
        "ceo",
        "strê",
        # The tone stands on the letter that has a mark already.
        "phôì",
        "đưòng",
        "\u0300a",
    ],
)
def test_what_cannot_be_a_syllable_is_known(word: str) -> None:
    assert not is_syllable(word)


def test_a_square_metre_stays_one_in_tcvn3() -> None:
    assert decode_tcvn3("DiÖn tÝch 120 m²") == "Diện tích 120 m²"


@pytest.mark.city
def test_every_name_of_the_city_s_wards_survives_each_encoding(city_data: Path) -> None:
    names = opened(city_data / "hcmc/boundaries/wards_2025_168.geojson").frame["fullName"].tolist()
    for encoding, writer in WRITERS.items():
        written = [writer(name) for name in names]
        decision = decide_encoding(written)
        assert decision.encoding == encoding
        assert [decision.decode(value) for value in written] == names
