"""Label selectors against the labels that a tenant's nodes carry. Pure: no node is looked at."""

from __future__ import annotations

from collections.abc import Mapping

from bascule_api.selectors import LabelSelector, SelectorOperator, SelectorRequirement

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
"""Labels of nodes that no campaign touches."""


def contradiction(selector: LabelSelector, within: Mapping[str, str]) -> str:
    """Why nothing that carries the labels `within` can match; empty when something may."""
    for key, value in selector.match_labels.items():
        if within.get(key, value) != value:
            return f"matchLabels asks for {key}={value}"
    for item in selector.match_expressions:
        if item.key in within and not _may_be(item, within[item.key]):
            values = f" ({', '.join(item.values[:5])})" if item.values else ""
            return f"matchExpressions asks for {item.key} {item.operator}{values}"
    return ""


def _may_be(item: SelectorRequirement, value: str) -> bool:
    match item.operator:
        case SelectorOperator.IN:
            return value in item.values
        case SelectorOperator.NOT_IN:
            return value not in item.values
        case SelectorOperator.EXISTS:
            return True
        case SelectorOperator.DOES_NOT_EXIST:
            return False


def asks_for(selector: LabelSelector, labels: tuple[str, ...]) -> str:
    """The first of these labels that whatever matches has to carry; empty when it needs none."""
    wants = (SelectorOperator.IN, SelectorOperator.EXISTS)
    asked = {*selector.match_labels, *(item.key for item in selector.match_expressions if item.operator in wants)}
    return next((label for label in labels if label in asked), "")


def overlap(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether an object may carry both sets of labels. An empty one stands for no object at all."""
    return bool(one and other) and all(other.get(key, value) == value for key, value in one.items())
