"""Label selectors select as Kubernetes' do."""

from __future__ import annotations

from typing import Any

import pytest

from hack.cluster.network_policies.selectors import ContainerPort, Pod, pod_of, selects

LABELS = {"app": "web", "tier": "front"}


def needs(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({}, True, id="an empty one selects everything"),
        pytest.param({"matchLabels": {"app": "web"}}, True, id="a label that is so"),
        pytest.param({"matchLabels": {"app": "db"}}, False, id="a label that is another"),
        pytest.param({"matchLabels": {"zone": ""}}, False, id="a label that is missing is not an empty one"),
        pytest.param({"matchLabels": {"app": "web", "tier": "back"}}, False, id="all labels have to be so"),
        pytest.param(needs("app", "In", "db", "web"), True, id="one of some values"),
        pytest.param(needs("app", "In", "db"), False, id="none of some values"),
        pytest.param(needs("zone", "In", "a"), False, id="a missing label has no value"),
        pytest.param(needs("app", "NotIn", "web"), False, id="a value that must not be"),
        pytest.param(needs("zone", "NotIn", "a"), True, id="a missing label is none of the values"),
        pytest.param(needs("tier", "Exists"), True, id="a label that has to be there"),
        pytest.param(needs("zone", "Exists"), False, id="a label that is not there"),
        pytest.param(needs("zone", "DoesNotExist"), True, id="a label that must not be there"),
        pytest.param(needs("tier", "DoesNotExist"), False, id="a label that is there all the same"),
        pytest.param({"matchLabels": {"app": "web"}} | needs("tier", "In", "back"), False, id="labels and expressions"),
    ],
)
def test_what_a_selector_selects(selector: dict[str, Any], expected: bool) -> None:
    assert selects(selector, LABELS) is expected


def test_an_unknown_operator_is_no_reason_to_let_anything_through() -> None:
    with pytest.raises(ValueError, match="Sometimes"):
        selects(needs("app", "Sometimes"), LABELS)


def test_a_pod_has_the_named_ports_of_all_its_containers() -> None:
    item = {
        "metadata": {"namespace": "home", "name": "server", "labels": LABELS},
        "spec": {
            "initContainers": [{"ports": [{"name": "side", "containerPort": 1, "protocol": "UDP"}]}],
            "containers": [{"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]}, {}],
        },
    }

    ports = (ContainerPort("side", "UDP", 1), ContainerPort("web", "TCP", 80))
    assert pod_of(item, ["10.0.0.1"]) == Pod("home", "server", LABELS, ("10.0.0.1",), ports)
