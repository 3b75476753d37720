"""The record of what a run patched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.patch_campaign_specs import MAX_TARGETS
from bascule_workers.plans import patched

names = st.sets(st.text(min_size=1, max_size=30), max_size=60)


@given(names, names)
def test_a_record_knows_its_names_and_no_others(given: set[str], others: set[str]) -> None:
    found = patched.unpacked(patched.packed(given))

    assert len(found) == len(given)
    assert all(name in found for name in given)
    assert not any(name in found for name in others - given)


def test_the_record_is_the_same_in_whatever_order() -> None:
    assert patched.packed(["b", "a", "a"]) == patched.packed(["a", "b"])
    assert patched.packed([]) == ""
    assert len(patched.unpacked("")) == 0


def test_a_full_record_fits_a_memo() -> None:
    assert len(patched.packed(f"node-{index}" for index in range(MAX_TARGETS))) < 54_000


@pytest.mark.parametrize("record", ["not base64!", "YWJj"], ids=["no base64", "cut off"])
def test_what_is_no_record_is_refused(record: str) -> None:
    with pytest.raises(ValueError, match="the record of patched targets"):
        patched.unpacked(record)
