"""What the two canaries of a drill prove together."""

from __future__ import annotations

import pytest

from bascule_api import names
from bascule_workers.plans import canaries
from bascule_workers.plans.canaries import Seen
from bascule_workers.plans.jobs import JobSettings, job_name, render_job
from tests.support.drill_environments import ADrill


@pytest.mark.parametrize(
    ("may", "must_not", "enforced", "words"),
    [
        pytest.param(True, False, True, "out of reach", id="as it should be"),
        pytest.param(True, True, False, "reached the API server", id="both get through"),
        pytest.param(False, False, False, "nothing is proven", id="nobody gets through: there may be nobody"),
        pytest.param(False, True, False, "reached the API server", id="the wrong one gets through"),
    ],
)
def test_isolation_is_enforced_when_one_gets_through_and_the_other_does_not(
    may: bool, must_not: bool, enforced: bool, words: str
) -> None:
    report = canaries.verdict(Seen(may, "m", 10), Seen(must_not, "n", 12))
    assert (report.enforced, report.at) == (enforced, 12)
    assert words in report.message


def test_a_canary_that_says_nothing_saw_nothing() -> None:
    assert canaries.seen({}, "", 0) is None
    assert canaries.seen({"reached": "perhaps"}, "", 0) is None
    assert canaries.seen({"reached": "false"}, "x", 7) == Seen(reached=False, text="x", at=7)


def test_only_the_one_that_may_carries_the_label_that_lets_it_out() -> None:
    request = ADrill("acme", "acme-dev", "3f1c5a8e-0000-4000-8000-000000000001").isolated()
    rendered = {may: canaries.job(request, JobSettings("tools:1"), may=may) for may in (True, False)}
    jobs = {may: render_job(asked, JobSettings("tools:1"), traits) for may, (asked, traits) in rendered.items()}
    labels = {may: job["spec"]["template"]["metadata"]["labels"] for may, job in jobs.items()}
    assert labels[True][names.LABEL_EGRESS] == names.EGRESS_RESTORE
    assert names.LABEL_EGRESS not in labels[False]
    assert {job["metadata"]["namespace"] for job in jobs.values()} == {request.namespace}
    assert len({job_name(asked, traits) for asked, traits in rendered.values()}) == 2
