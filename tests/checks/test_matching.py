"""Columns are matched to fields by name in both languages, by type and by values; a person's file goes before."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks.mapping_toml import to_toml
from ingest.checks.matching import Matches, given_matches, propose_matches
from ingest.checks.names import abbreviates, likely_term, likeness, words_of
from ingest.mapping.description import read_mapping_file
from layers.registry import theme
from twin.errors import BadInput
from twin.text import speaking

BUILDINGS = theme("buildings")


def read_mapping(file: Path, columns: dict[str, str]) -> Matches:
    return given_matches(read_mapping_file(file), BUILDINGS, columns, file.name)


def taken(matches: Matches) -> dict[str, str | None]:
    return {m.field: m.source.column for m in matches.taken}


@pytest.mark.parametrize(
    "column",
    [
        "levels",
        "SoTang",
        "so_tang",
        "Số tầng",
        "SỐ TẦNG",
        "So Tang",
        "TANGCAO",
        "storeys",
        "Storey",
        "SOTANG",
        "Số tầng",
    ],
)
def test_a_field_is_known_by_its_name_in_either_language_in_any_spelling(column: str) -> None:
    sample = pd.DataFrame({column: [1, 2, 3, 4]})
    matches = propose_matches(sample, BUILDINGS)
    assert taken(matches) == {"levels": column}
    assert matches.taken[0].confidence > 0.9
    assert matches.taken[0].reason.en and matches.taken[0].reason.vi


@pytest.mark.parametrize(
    ("column", "values", "field"),
    [
        ("ChieuCao", [3.5, 10.0], "height"), ("CHIEU_CAO_M", [3.5, 10.0], "height"), ("DIACHI", ["12 Lê Lợi", "1 Hai Bà Trưng"], "address"),
        ("DTichSan", [120.5, 88.0], "floor_area_m2"), ("DTSan", [120.5, 88.0], "floor_area_m2"), ("NamXD", [1999, 2004], "year_built"),
        ("TenCT", ["Nhà A", "Nhà B"], "name"), ("hight", [3.5, 4], "height"),
    ],
)  # fmt: skip
def test_abbreviations_and_longer_names_are_matched(column: str, values: list, field: str) -> None:
    matches = propose_matches(pd.DataFrame({column: values}), BUILDINGS)
    assert column in {m.source.column for m in (*matches.taken, *matches.hints) if m.field == field}


def test_half_a_name_is_a_hint_and_is_not_taken() -> None:
    """DT_XD is the area of a footprint, not of the floors: near enough to ask, not to take."""
    matches = propose_matches(pd.DataFrame({"DT_XD": [120.5, 88.0]}), BUILDINGS)
    assert taken(matches) == {}
    assert [(h.field, h.source.column) for h in matches.hints] == [("floor_area_m2", "DT_XD")]


def test_a_field_with_terms_is_known_by_its_values_whatever_the_column_is_called() -> None:
    sample = pd.DataFrame({"col_7": ["Chung cư", "Văn phòng", "house", "Y tế"] * 5, "x": [1.0] * 20})
    assert taken(propose_matches(sample, BUILDINGS)) == {"use": "col_7"}


def test_terms_without_tone_marks_are_translated() -> None:
    sample = pd.DataFrame({"cong_nang": ["CHUNG CU", "Van phong", "house", "Y tế"] * 5})
    (match,) = propose_matches(sample, BUILDINGS).taken
    assert match.source.values == {"CHUNG CU": "apartments", "Van phong": "office"}


def test_a_required_kind_is_taken_from_the_first_word_of_a_name() -> None:
    names = ["Phường Bến Nghé", "Xã Bà Điểm", "Đặc khu Côn Đảo", "Phường Tân Định"]
    matches = propose_matches(pd.DataFrame({"fullName": names}), theme("boundaries"))
    assert taken(matches) == {"name": "fullName", "level": "fullName"}
    (extract,) = [m.source.extract for m in matches.taken if m.field == "level"]
    assert pd.Series(names).str.extract(f"({extract})").iloc[:, -1].tolist() == ["Phường", "Xã", "Đặc khu", "Phường"]


def test_a_name_that_only_resembles_the_field_s_does_not_help_when_the_values_do_not() -> None:
    matches = propose_matches(
        pd.DataFrame({"height_class": ["tall", "small"], "tong_so_tang": [5000, 9000]}), BUILDINGS
    )
    assert taken(matches) == {}


@pytest.mark.parametrize("wrong", [0, 12, 60, 100])
@pytest.mark.parametrize(
    ("column", "good", "bad"), [("chieu_cao", 5.0, -7.0), ("SoTang", 3, 5000), ("use", "house", "castle")]
)
def test_a_column_with_the_field_s_own_name_is_the_field_however_many_values_are_wrong(
    column: str, good: object, bad: object, wrong: int
) -> None:
    matches = propose_matches(pd.DataFrame({column: [bad] * wrong + [good] * (100 - wrong)}), BUILDINGS)
    assert list(taken(matches).values()) == [column]


def test_of_two_columns_the_one_with_values_is_taken_before_the_one_that_is_nearly_empty() -> None:
    matches = propose_matches(
        pd.DataFrame({"LoGioi_QH": [None] * 19 + [20.0], "DoRong": [6.0 + i / 10 for i in range(20)]}), theme("roads")
    )
    assert taken(matches) == {"width_m": "DoRong"}


def test_web_addresses_are_no_names_and_a_column_in_another_unit_is_not_the_field() -> None:
    sites = [f"truong{i}.hcm.edu.vn" for i in range(10)]
    matches = propose_matches(
        pd.DataFrame({"TEN_MIEN": sites, "TEN_DV": [f"Trường {i}" for i in range(10)]}), theme("places")
    )
    assert taken(matches)["name"] == "TEN_DV"
    assert "floor_area_m2" not in taken(propose_matches(pd.DataFrame({"dien_tich_san_ha": [1.0, 2.0]}), BUILDINGS))


def test_an_id_that_repeats_in_the_whole_file_is_not_taken_though_a_sample_hides_it() -> None:
    stops = np.repeat(np.arange(5_000), 3)
    seen = pd.DataFrame({"StopId": stops[:: len(stops) // 1500].astype(str)})
    assert seen["StopId"].nunique() > 0.9 * len(seen)
    shuffled = pd.DataFrame({"StopId": np.random.default_rng(1).choice(stops, 4_000, replace=False).astype(str)})
    matches = propose_matches(shuffled, theme("transit_stops"), read=len(stops))
    assert matches.id is None and matches.repeats is not None and matches.repeats.column == "StopId"
    assert 0.6 < matches.repeats.share < 0.73
    assert 'unique = "StopId"' in to_toml(matches, "x", {"StopId": "text"}, "EPSG:4326", {})


def test_a_mapping_that_names_one_field_keeps_the_proposals_for_the_others(tmp_path: Path) -> None:
    columns = {"MaNha": "text", "SoTang": "integer", "ChieuCao": "number", "GhiChu": "text"}
    frame = pd.DataFrame({"MaNha": ["a", "b"], "SoTang": [1, 2], "ChieuCao": [3.5, 4.5], "GhiChu": ["x", "y"]})
    (tmp_path / "m.toml").write_text('[fields]\nname = "GhiChu"\nlevels = ""\n')
    matches = given_matches(
        read_mapping_file(tmp_path / "m.toml"), BUILDINGS, columns, "m.toml", propose_matches(frame, BUILDINGS)
    )
    assert taken(matches) == {"name": "GhiChu", "height": "ChieuCao"}
    assert matches.id == "MaNha"


def test_of_several_years_the_latest_is_taken_and_the_year_with_it() -> None:
    sample = pd.DataFrame(
        {"Pop_2009": [1.0, 2.0], "Pop_2019": [3.0, 4.0], "Den_2009": [1.0, 2.0], "Den_2019": [3.0, 5.0]}
    )
    matches = propose_matches(sample, theme("population"))
    assert taken(matches) == {"population": "Pop_2019", "density": "Den_2019", "year": None}
    assert matches.taken[-1].source.constant == 2019


def test_what_a_program_measured_in_map_units_is_no_area_and_an_export_number_no_id() -> None:
    sample = pd.DataFrame({"OBJECTID": [1, 2, 3], "SHAPE_Area": [0.1, 0.2, 0.3], "ST_Area": [0.1, 0.2, 0.3]})
    matches = propose_matches(sample, theme("boundaries"))
    assert taken(matches) == {} and matches.id is None
    assert "OBJECTID" in matches.id_reason.en


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"OBJECTID": [1, 2, 3], "MaCT": ["a", "b", "c"]}, "MaCT"),
        ({"id": [7, 8, 9], "code": ["a", "b", "c"]}, "id"),
        ({"ma_phuong": ["a", "a", "b"]}, None),
        ({"ten": ["a", "b", "c"]}, None),
        ({"code": ["a", None, None]}, None),
        ({"id": [0.5, 1.5, 2.5]}, None),
    ],
)
def test_the_id_is_a_column_named_like_one_that_tells_features_apart(columns: dict, found: str | None) -> None:
    matches = propose_matches(pd.DataFrame(columns), BUILDINGS)
    assert matches.id == found
    assert matches.id_reason.en and matches.id_reason.vi


def test_a_proposal_written_as_a_file_reads_back_as_the_same_mapping(tmp_path: Path) -> None:
    sample = pd.DataFrame(
        {
            "Mã \"CT\"": ["a", "b", "c", "d"], "SoTang": [1, 2, 3, 4], "công năng\n2": ["CHUNG CU", "Y tế", "house", "x"],
            "DT_XD": [1.5, 2.5, 3.5, 4.5], "thừa": ["a", "b", "c", "d"],
        }
    )  # fmt: skip
    columns = dict.fromkeys(sample.columns, "text")
    for language in ("vi", "en"):
        matches = propose_matches(sample, BUILDINGS)
        file = tmp_path / f"{language}.toml"
        with speaking(language):
            file.write_text(to_toml(matches, "tệp\n.shp", columns, "EPSG:9210", {"thừa": "vni"}), "utf-8")
        read = read_mapping(file, columns)
        assert [(m.field, m.source) for m in read.taken] == [(m.field, m.source) for m in matches.taken]
        assert (read.id, read.rows.encodings) == (matches.id, {"thừa": "vni"})
        assert read.given and not matches.given


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fields = 3", "fields"), ("[fields]\nhight = 'a'", "hight"), ("[fields]\nheight = 'z'", "z"), ("id = 'nope'", "nope"),
        ("not toml", "cannot be used"), ("colour = 'red'", "colour"), ("[encodings]\na = 'latin-9'", "encodings"),
    ],
)  # fmt: skip
def test_a_mapping_file_that_does_not_fit_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=message):
        read_mapping(file, {"a": "text"})


@pytest.mark.parametrize(
    ("value", "term"),
    [
        ("Nhà ở", "house"), ("nha o", "house"), ("Chung cư cao tầng", "apartments"), ("Kho bãi", "industrial"), ("Truong hoc", "education"),
        ("Offices", "office"), ("Văn phòng, thương mại", None), ("lâu đài", None), ("", None), ("—", None), ("a", None),
    ],
)  # fmt: skip
def test_a_term_is_offered_for_a_value_that_is_like_one_only(value: str, term: str | None) -> None:
    assert likely_term(value, BUILDINGS.by_name["use"]) == term


def test_values_that_are_no_terms_stand_in_the_file_ready_to_be_translated(tmp_path: Path) -> None:
    uses = ["Chung cư", "Chung cư", "Chung cư cao tầng", "CHUNG CU", 'lâu "đài"\n']
    matches = propose_matches(pd.DataFrame({"CongNang": uses, "id": [*"abcde"]}), BUILDINGS)
    assert matches.taken[0].unknown == ("Chung cư cao tầng", 'lâu "đài"\n')
    written = to_toml(matches, "x", {"CongNang": "text", "id": "text"}, "EPSG:4326", {})
    (offered,) = [line for line in written.splitlines() if line.startswith("# use = ")]
    file = tmp_path / "mapping.toml"
    kept = "\n".join(line for line in written.splitlines() if not line.startswith("use = "))
    file.write_text(kept.replace(offered, offered.removeprefix("# ").replace("…", "public")), "utf-8")
    (use,) = read_mapping(file, {"CongNang": "text", "id": "text"}).taken
    assert use.source.values == {
        "CHUNG CU": "apartments", "Chung cư cao tầng": "apartments", 'lâu "đài"\n': "public",
    }  # fmt: skip
    assert use.source.other == "other"
    assert all(key in written for key in BUILDINGS.by_name["use"].vocabulary or {})


def test_of_very_many_values_that_are_no_terms_some_are_named() -> None:
    uses = ["house"] * 200 + [f"loại {i}" for i in range(100)]
    written = to_toml(propose_matches(pd.DataFrame({"use": uses}), BUILDINGS), "x", {"use": "text"}, "EPSG:4326", {})
    assert written.count('"loại ') == 20 and "and more" in written


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"SoNha": ["1", "2"], "TenDuong": ["Lê Lợi", "Hàm Nghi"]}, "{SoNha} {TenDuong}"),
        ({"addr:street": ["Lê Lợi", "Hàm Nghi"], "addr:housenumber": ["1", "2"]}, "{addr:housenumber} {addr:street}"),
        ({"DUONG": ["Lê Lợi", "Hàm Nghi"]}, None),
        ({"SoNha": ["1", "2"], "DiaChi": ["1 Lê Lợi", "2 Hàm Nghi"]}, None),
        ({"SoNha": ["1", "2"]}, None), ({"{SoNha": ["1", "2"], "duong": ["Lê Lợi", "Hàm Nghi"]}, None),
    ],
)  # fmt: skip
def test_an_address_in_two_columns_is_joined(columns: dict[str, list[str]], expected: str | None) -> None:
    found = {m.field: m.source for m in propose_matches(pd.DataFrame(columns), BUILDINGS).taken}
    assert "name" not in found
    if expected is not None:
        assert found["address"].template == expected
    else:
        assert "address" not in found or found["address"].column in columns


def test_an_export_of_quarantine_is_known_by_its_notes_and_not_by_their_names_alone() -> None:
    sample = pd.DataFrame(
        {
            "feature_id": ["a", "b"], "reason": ["field.type", "geometry.missing"], "problem": ["x", "y"], "detail": ["", ""],
            "ma": ["1", "2"], "levels": ["3", "4"], "geometry_as_written": [None, "POLYGON (("],
        }
    )  # fmt: skip
    matches = propose_matches(sample, BUILDINGS)
    assert (matches.id, matches.drop) == ("feature_id", ("reason", "problem", "detail", "geometry_as_written"))
    assert taken(matches) == {"levels": "levels"}
    other = propose_matches(sample.assign(reason=["vỡ", "cũ"]), BUILDINGS)
    assert (other.id, other.drop) == ("ma", ())


def test_a_column_with_a_field_s_own_name_is_taken_though_it_is_empty_unless_another_has_the_values() -> None:
    nothing = pd.Series([None] * 4, dtype=object)
    assert taken(propose_matches(pd.DataFrame({"use": nothing}), BUILDINGS)) == {"use": "use"}
    both = pd.DataFrame({"use": nothing, "CongNang": ["Chung cư", "Y tế", "Khác", "house"]})
    assert taken(propose_matches(both, BUILDINGS)) == {"use": "CongNang"}


@settings(max_examples=80, deadline=None)
@given(
    names=st.lists(st.text(max_size=15), min_size=1, max_size=6, unique=True),
    values=st.lists(st.one_of(st.none(), st.text(max_size=8), st.integers(), st.floats()), min_size=4, max_size=4),
)
def test_any_columns_end_in_a_proposal_that_is_valid_toml(names: list[str], values: list) -> None:
    sample = pd.DataFrame({n: pd.Series(values, dtype=object) for n in names})
    matches = propose_matches(sample, BUILDINGS)
    written = to_toml(matches, "x", dict.fromkeys(names, "text"), "EPSG:4326", {})
    assert set(tomllib.loads(written)["fields"]) == {m.field for m in matches.taken}


def test_names_are_taken_apart_alike_however_they_are_written() -> None:
    for name in ("SoTang", "so_tang", "Số tầng", "SO TANG", "số-tầng"):
        assert words_of(name) == ("so", "tang")


def test_an_abbreviation_is_made_of_beginnings_of_all_the_words() -> None:
    assert abbreviates("dtxd", ("dien", "tich", "xay", "dung"))
    assert abbreviates("dtich", ("dien", "tich")) and abbreviates("sotang", ("so", "tang"))
    assert not abbreviates("dtx", ("dien", "tich")) and not abbreviates("td", ("dien", "tich"))


def test_numbers_in_a_name_do_not_hide_it() -> None:
    assert likeness("pop_2019", theme("population").by_name["population"]).score > 0.9
    assert np.isclose(likeness("zzz", theme("population").by_name["population"]).score, 0)
