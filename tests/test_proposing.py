"""What a contract proposes of a file's texts is what the checks make of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks.contract_proposal import FITTING, _type
from ingest.checks.values import as_type
from tests.examples import examples

WRITTEN = st.one_of(
    st.integers(-(10**9), 10**9).map(str), st.floats(-1e6, 1e6).map(str), st.floats(0, 1e6).map(lambda f: f"{f:.2f}".replace(".", ",")),
    st.dates().map("{0:%d/%m/%Y}".format), st.datetimes().map(str), st.sampled_from(["", ".5", "5.", "inf", "12A", "1,234", "0123", "ba"]),
    st.text(max_size=6),
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(
    values=st.lists(WRITTEN, min_size=1, max_size=6) | st.lists(st.floats(-1e6, 1e6).map(str), min_size=1, max_size=6)
)
def test_a_type_is_proposed_only_where_the_checks_take_nearly_all_values_for_it(values: list[str]) -> None:
    texts = pd.Series(values, dtype=object)
    kind, _, odd = _type("text", texts)
    _, wrong = as_type(texts, kind)
    assert np.mean(wrong) <= 1 - FITTING
    assert set(odd) <= {value.strip()[:60] for value in values}


@pytest.mark.parametrize(
    ("values", "kind", "odd"),
    [
        (["10,2", "3,4"], "number", []), ([".5", "1"], "number", []), (["1", "2"], "integer", []), (["12 A", "3 B"], "text", []),
        (["01", "2"], "text", []), (["1,234", "2,500"], "text", []), (["05/03/2024", "2024-03-05"], "date", []),
        (["05/03/2024 10:00"], "time", []), (["1"] * 200 + ["ba"], "integer", ["ba"]), (["1"] * 20 + ["ba"], "text", []), ([], "text", []),
    ],
)  # fmt: skip
def test_texts_are_proposed_as_what_nearly_all_of_them_are(values: list[str], kind: str, odd: list[str]) -> None:
    found, _, left = _type("text", pd.Series(values, dtype=object))
    assert (found, left) == (kind, odd)
