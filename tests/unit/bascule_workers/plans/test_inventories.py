"""The hosts of an inventory, as tenants write them: well, badly, and with malice."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import MAX_TARGETS
from bascule_workers.errors import PlanRefusedError
from bascule_workers.plans import inventories

GOOD = """
# databases
- {name: db-1, address: 10.0.0.1, port: 2222, user: admin, zone: a}
- name: db-2
  address: db-2.example.com
- name: db_3.example.com
- {name: v6, address: "2001:db8::1"}
"""


def test_an_inventory_is_read() -> None:
    assert inventories.hosts(GOOD) == [
        Target(name="db-1", address="10.0.0.1", port=2222, user="admin", zone="a"),
        Target(name="db-2", address="db-2.example.com"),
        Target(name="db_3.example.com", address="db_3.example.com"),
        Target(name="v6", address="2001:db8::1"),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "---\n[]\n..."], ids=["empty", "comment", "list", "marked"])
def test_an_inventory_may_be_empty(text: str) -> None:
    assert inventories.hosts(text) == []


BOMB = "a: &a [x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        pytest.param("- {name: a}\n- {name: b}\n- {name: a, address: x}", 3, "the host a is in line 1", id="twice"),
        pytest.param("- {name: a, address: x}\n- {name: b, address: X}", 2, "is at X:22, as a is", id="a place twice"),
        pytest.param("- {address: 10.0.0.1}", 1, "without a name", id="no name"),
        pytest.param("- {name: 'a b'}", 1, "'a b' is no name", id="a space in a name"),
        pytest.param("- {name: -oProxyCommand=x}", 1, "is no name", id="a name that is an option of ssh"),
        pytest.param("- {name: a, address: -oProxyCommand=x}", 1, "neither a host's name", id="an option as address"),
        pytest.param("- {name: a, user: -lroot}", 1, "is no user", id="an option as user"),
        pytest.param("- {name: a, address: 'fe80::1%$(x)'}", 1, "neither a host's name", id="a scope"),
        pytest.param("- {name: a, port: 0}", 1, "'0' is no port", id="port 0"),
        pytest.param("- {name: a, port: 65536}", 1, "'65536' is no port", id="a port too high"),
        pytest.param("- {name: a, port: 1e9}", 1, "'1e9' is no port", id="a port that is no whole number"),
        pytest.param("- {name: a, zone: 'x y'}", 1, "is no zone", id="zone"),
        pytest.param("- {name: a}\n- {name: b, shell: rm}", 2, "'shell' is no field", id="an unknown field"),
        pytest.param("- {name: a, name: b}", 1, "name is there twice", id="a field twice"),
        pytest.param("- {name: [a]}", 1, "plain text", id="a list as a name"),
        pytest.param("- {name: {a: b}}", 1, "plain text", id="a map as a name"),
        pytest.param("- {[a]: b}", 1, "this is no field", id="a list as a field"),
        pytest.param("hosts: [a]", 1, "no list of hosts", id="a map"),
        pytest.param("just text", 1, "no list of hosts", id="a text"),
        pytest.param("- a\n", 1, "this is no host", id="a name alone"),
        pytest.param("- {name: a}\n- [[[[[[[x]]]]]]]", 2, "this is no host", id="nested lists"),
        pytest.param("- {name: a}\n---\n- {name: b}", 3, "more than one list", id="two documents"),
        pytest.param("- &x {name: a}\n- *x", 1, "anchors and aliases", id="an anchor"),
        pytest.param(BOMB, 1, "no list of hosts", id="a bomb that is a map"),
        pytest.param(f"- &a {{name: a}}\n- [{', '.join(['*a'] * 99)}]", 1, "anchors", id="a bomb that is a list"),
        pytest.param("- !!python/object/apply:os.system ['id']", 1, "tags", id="a tag"),
        pytest.param("- {name: !!binary aGk=}", 1, "tags", id="a tag on a value"),
        pytest.param("- {name: a\n- {name: b}", 2, "this is no YAML", id="no YAML"),
        pytest.param("- {name: a}\n\t- {name: b}", 2, "this is no YAML", id="a tab"),
    ],
)
def test_a_bad_inventory_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(PlanRefusedError) as refused:
        inventories.hosts(text)
    assert f"line {line} of the inventory: " in str(refused.value)
    assert said in str(refused.value)


def test_too_many_hosts_are_refused_by_the_first_one_too_many() -> None:
    text = "\n".join(f"- {{name: h{index}}}" for index in range(MAX_TARGETS + 2))
    with pytest.raises(PlanRefusedError, match=f"line {MAX_TARGETS + 1} .* more than {MAX_TARGETS}"):
        inventories.hosts(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 500_000, id="half a million lists"),
        pytest.param("- {name: a, user: " + "x" * 900_000 + "}", id="a long value"),
        pytest.param("- {name: a, ? " * 50_000, id="half a million keys"),
        pytest.param("\x00\x01", id="control characters"),
    ],
)
def test_malice_is_refused_in_bounded_time_and_space(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(PlanRefusedError) as refused:
        inventories.hosts(text)
    assert len(str(refused.value)) < 400
    assert time.process_time() - begun < 20


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = inventories.hosts(text)
    except PlanRefusedError:
        return
    assert all(not host.address.startswith("-") for host in found)
