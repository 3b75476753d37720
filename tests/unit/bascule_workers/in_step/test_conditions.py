"""Success conditions: what is refused before a run, and what they say of values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_workers.in_step import conditions
from bascule_workers.in_step.conditions import ConditionError


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        pytest.param("result < 0.05", "", id="a number"),
        pytest.param("results.all(r, r < 1.0) && size(results) > 2", "", id="all series"),
        pytest.param("results.filter(x, x > 1).size() == 0", "", id="a macro's own name"),
        pytest.param("result <", "is no CEL expression: 1:9: Syntax error", id="no expression"),
        pytest.param("", "is no CEL expression: ", id="nothing"),
        pytest.param("resutl < 0.05", "names resutl; there are result, results", id="a name that there is not"),
        pytest.param("result < 1 || status == 200", "names status; ", id="a name of the other kind of gate"),
        pytest.param("len(results) == 1", "calls len; there are contains, ", id="a function that there is not"),
        pytest.param("(" * 500 + "1" + ")" * 500, "is no CEL expression: ", id="too deep"),
    ],
)
def test_what_is_wrong_with_a_condition(expression: str, said: str) -> None:
    found = conditions.problem(expression, conditions.PROMETHEUS_NAMES)
    assert found.startswith(said) if said else found == ""
    assert len(found) < 300


@pytest.mark.parametrize(
    ("expression", "values", "holds"),
    [
        pytest.param("result < 0.05", {"result": 0.004}, True, id="less"),
        pytest.param("result < 1", {"result": 0.5}, True, id="a number with a point and one without"),
        pytest.param("json.ready == json.wanted", {"json": {"ready": 3, "wanted": 3.0}}, True, id="the same in JSON"),
        pytest.param("result < 0.05", {"result": float("inf")}, False, id="infinity"),
        pytest.param("json == null", {"json": None}, True, id="no JSON"),
        pytest.param("has(json.ready) && json.ready", {"json": {}}, False, id="a field that is not there"),
        pytest.param("body.matches('^ok')", {"body": "ok\n"}, True, id="a text"),
    ],
)
def test_what_a_condition_says(expression: str, values: dict[str, Any], *, holds: bool) -> None:
    assert conditions.holds(expression, values) is holds


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        pytest.param("json.ready > 2", {"json": None}, id="a field of nothing"),
        pytest.param("json.ready", {"json": {"ready": 3}}, id="a number is no answer"),
        pytest.param("result < 1", {"results": [1.0, 2.0]}, id="the one number of several"),
        pytest.param("1 / status == 0", {"status": 0}, id="divided by zero"),
    ],
)
def test_what_cannot_be_told(expression: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConditionError, match=r"^the condition "):
        conditions.holds(expression, values)


WORDS = st.sampled_from(
    ["(", ")", "[", "]", "{", "}", "1", "1.5", "'a'", "&&", "||", "!", "-", "?", ":", ".", "a", "result", "size", ","]
)


@given(st.lists(WORDS, max_size=120).map("".join))
def test_checking_bears_whatever_a_tenant_writes(expression: str) -> None:
    assert isinstance(conditions.problem(expression, conditions.PROMETHEUS_NAMES), str)
