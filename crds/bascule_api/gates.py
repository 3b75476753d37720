"""Gates and probes: what is asked of the world before work goes on. All is asked from within the tenant's network."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api.base import ApiModel, DnsLabel, ObjectName, Parameters, SecretReference, Timeout, rules

PROCEDURE_MEASUREMENTS = 100
"""Measurements of a gate that is a Procedure, at most: each is a Job."""

Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s@/]+(/\S*)?$", max_length=1024),
    Field(json_schema_extra=rules(("isURL(self)", "must be a URL such as https://prometheus.example.com:9090"))),
]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class HttpCheck(ApiModel):
    """A request to a target."""

    scheme: Annotated[str, StringConstraints(pattern=r"^https?$", max_length=5)] = "http"
    """`http` or `https`."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """Port of the target."""
    path: Annotated[str, StringConstraints(pattern=r"^/\S*$", max_length=512)] = "/"
    """Path on the target."""
    interval: Timeout = Timeout("5s")
    """How long to wait before it is asked again."""


class HttpMeasure(ApiModel):
    """A request to a URL."""

    url: Url
    """`http://…` or `https://…`."""
    secret_ref: SecretReference | None = None
    """Secret labelled `bascule.dev/use: http` with the key `authorization`, sent as that header to the URL's host."""


class PrometheusMeasure(ApiModel):
    """An instant query."""

    address: Url
    """Of the Prometheus server."""
    query: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """In PromQL."""
    secret_ref: SecretReference | None = None
    """Secret labelled `bascule.dev/use: http` with the key `authorization`, sent as that header to that host."""


class ProcedureMeasure(ApiModel):
    """A Procedure whose end is the verdict."""

    name: ObjectName
    """A Procedure with the use `PatchCampaign/gate`, one Job per measurement. Exit code 0 passes, unless its result
    `verdict` says `Fail` or `Inconclusive`; another exit code fails."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""


class Gate(ApiModel):
    """A check that is asked several times. Pass: `count` measurements passed. Fail: more than `failureLimit` failed.
    Inconclusive: more than `inconclusiveLimit` said nothing."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "[has(self.http), has(self.prometheus), has(self.procedure)].filter(x, x).size() == 1",
                "set exactly one of http, prometheus and procedure",
            ),
            (
                "!has(self.prometheus) || has(self.successCondition)",
                "a Prometheus query needs a successCondition, such as result < 0.05",
            ),
            (
                "!has(self.procedure) || !has(self.successCondition)",
                "successCondition is for http and prometheus: a Procedure says itself how it ends",
            ),
            (
                "!has(self.procedure) || "
                f"self.count + self.failureLimit + self.inconclusiveLimit <= {PROCEDURE_MEASUREMENTS}",
                "each measurement of a Procedure is a Job: count, failureLimit and inconclusiveLimit together "
                f"may be {PROCEDURE_MEASUREMENTS} at most",
            ),
        )
    }
    name: Annotated[DnsLabel, StringConstraints(max_length=40)]
    """Name of the gate, unique in the list."""
    http: HttpMeasure | None = None
    """A request to a URL."""
    prometheus: PrometheusMeasure | None = None
    """An instant query."""
    procedure: ProcedureMeasure | None = None
    """A Procedure whose end is the verdict."""
    interval: Timeout = Timeout("30s")
    """How long to wait between two measurements."""
    count: Annotated[int, Field(ge=1, le=1_000)] = 1
    """How many measurements have to pass."""
    success_condition: Expression | None = None
    """A CEL expression that is true when a measurement passes. Prometheus: `result` (the number of the only series),
    `results` (the numbers of all). HTTP: `status`, `body` (text), `json` (the parsed body, or null); default:
    `status >= 200 && status < 300`. What cannot be evaluated says nothing."""
    failure_limit: Annotated[int, Field(ge=0, le=1_000)] = 0
    """How many measurements may fail."""
    inconclusive_limit: Annotated[int, Field(ge=0, le=1_000)] = 0
    """How many measurements may say nothing: no answer, no series, not a number."""
    timeout: Timeout = Timeout("10s")
    """How long one measurement by HTTP or Prometheus may take. A Procedure has its own timeout."""


class Verdict(StrEnum):
    """What a gate, or one measurement, comes to."""

    PASS = "Pass"  # noqa: S105 - a verdict, no secret
    """It holds."""
    FAIL = "Fail"
    """It does not hold."""
    INCONCLUSIVE = "Inconclusive"
    """It could not be told."""
