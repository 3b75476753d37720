"""What is said about metrics is true: every one is in the documentation, and every one that is used exists."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import bascule_operator.metrics
import bascule_workers.metrics
from hack import gen_observability as made
from hack import generated

METRICS = [*made.metrics_of(bascule_operator.metrics), *made.metrics_of(bascule_workers.metrics)]
UNBOUNDED = {"uid", "name", "namespace", "resource_name", "workflow", "run", "run_id", "url", "message"}
ALERTS = yaml.safe_load((made.FOLDER / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]


def series(metric: MetricWrapperBase) -> set[str]:
    name = made.exposed(metric)
    return {name + suffix for suffix in ("_bucket", "_sum", "_count")} if metric._type == "histogram" else {name}


EXIST = {name for metric in METRICS for name in series(metric)} | made.TEMPORAL.keys()


def used(query: str) -> set[str]:
    return set(re.findall(r"\b(?:bascule|temporal)_\w+", query)) - {"temporal_namespace"}


def test_what_is_committed_is_current() -> None:
    assert generated.differences(made.files()) == ""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_metric_of_an_alert_exists_and_somebody_is_told_what_to_do(rule: dict[str, str]) -> None:
    assert used(rule["expr"])
    assert used(rule["expr"]) <= EXIST
    assert (
        f"**{rule['alert']}" in made.INTRODUCTION.read_text() or f", {rule['alert']}" in made.INTRODUCTION.read_text()
    )


def test_every_metric_of_the_dashboard_exists() -> None:
    queries = [target["expr"] for panel in json.loads(made.dashboard())["panels"] for target in panel["targets"]]
    assert len(queries) == len(made.PANELS)
    assert set().union(*(used(query) for query in queries)) <= EXIST


def test_labels_that_queries_name_are_those_that_the_metrics_have() -> None:
    known = {label for metric in METRICS for label in metric._labelnames} | {
        "le", "namespace", "worker_type", "workflow_type",
    }  # fmt: skip
    queries = [rule["expr"] for rule in RULES] + [query for _, query, _ in made.PANELS]
    named = {label for query in queries for label in re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query)}
    named |= {
        label.strip() for query in queries for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(",")
    }
    assert named <= known


@pytest.mark.parametrize("metric", METRICS, ids=made.exposed)
def test_labels_are_few_and_none_grows_with_what_people_make(metric: MetricWrapperBase) -> None:
    assert len(metric._labelnames) <= 3
    assert not UNBOUNDED & set(metric._labelnames)
    assert metric._documentation.endswith(".")
