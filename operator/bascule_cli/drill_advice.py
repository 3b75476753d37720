"""What to do about a DRDrill that waits, failed, or did not meet its objectives: words, and the exact command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from pydantic import ValidationError

from bascule_api.conditions import WaitKind
from bascule_api.dr_drill_status import DRDrillStatus, DrillStatus, VerdictReason
from bascule_api.failures import FailureType
from bascule_api.runs import WaitingFor
from bascule_cli import advice
from bascule_cli.advice import Advice, edit
from bascule_cli.resources import Item
from bascule_cli.views.wording import Speech

_PLATFORM = "for the platform team"
KEEP_GATE = "keep"
"""Gate at which a drill's namespace stays for people to look at."""


def forbidden(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            f"see which tenants may rehearse, and what their namespaces are ({_PLATFORM}: spec.drills.enabled); a "
            "drill then starts by itself",
            "kubectl get tenants -o custom-columns="
            "TENANT:.metadata.name,DRILLS:.spec.drills.enabled,NAMESPACES:.spec.namespaces",
        ),
        Advice("or correct the field that the message names", edit(item, speech)),
    ]


def waiting(item: Item, speech: Speech) -> list[Advice]:
    """By what is waited for."""
    waits = item.status.waiting_for
    if waits is None:
        return advice.waiting(item, speech)
    if waits.kind is WaitKind.SOAK and waits.gate == KEEP_GATE:
        return [*_look(item), Advice("it is torn down when the time is over, or at once", _cancel(item, speech))]
    told = _WAITS.get(waits.kind)
    return told(waits, item, speech) if told else advice.waiting(item, speech)


def _approval(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("approve it if you may (ClusterRole bascule-approve): the drill begins", speech.verb(item, "approve")),
        Advice("or reject it: nothing is provisioned", speech.verb(item, "reject", "--reason", "WHY")),
    ]


def _check(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("nothing: it is looked at again by itself, until its time is up", speech.verb(item, "get", "--watch")),
        *_look(item),
    ]


_WAITS: dict[WaitKind, Callable[[WaitingFor, Item, Speech], list[Advice]]] = {
    WaitKind.APPROVAL: _approval,
    WaitKind.CHECK: _check,
}


def missed(item: Item, speech: Speech) -> list[Advice]:
    """By why the drill did not meet its objectives."""
    drill = _drill(item)
    told = _VERDICTS.get(drill.reason) if drill.reason else None
    return [
        *(told(item, speech) if told else []),
        Advice("compare it with the drills before", _history(item, speech)),
        Advice("then rehearse again", speech.verb(item, "rerun")),
    ]


def failed(item: Item, speech: Speech) -> list[Advice]:
    """By what failed; what failed of the recovery itself is a verdict as well."""
    failure = item.status.failure
    told = _FAILURES.get(failure.type) if failure is not None else None
    return told(item, speech) if told else advice.failed(item, speech)


def cancelled(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("its namespace is torn down, and nothing was measured; to rehearse after all", _rerun(item, speech))]


def _rto(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("see which part took so long: status.drill.timeline", speech.verb(item, "get")),
        Advice("make that faster; or be content with a slower recovery: spec.objectives.rto", edit(item, speech)),
    ]


def _rpo(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("back up more often; or be content with older data: spec.objectives.rpo", edit(item, speech)),
    ]


def _probe(item: Item, speech: Speech) -> list[Advice]:
    steps = [f"probe-{probe.name}" for probe in _drill(item).probes if probe.required and probe.passed_at is None]
    return [Advice("see what the probe saw", speech.verb(item, "logs", step)) for step in steps[:3]] + [
        Advice("keep the namespace of the next such drill to look at it: spec.keepFor", edit(item, speech))
    ]


def _restore(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("see what the restore wrote", speech.verb(item, "logs", "restore"))]


def _environment(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "correct the manifests, or give them more time: spec.environment.timeout (a drill then starts by itself)",
            edit(item, speech),
        ),
        Advice("keep the namespace of the next such drill to look at it: spec.keepFor", edit(item, speech)),
    ]


def _recovery_point(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "the restore has to report the result recoveryPoint, a time before the disaster: name a Procedure that "
            "does, or ask for no objectives.rpo",
            edit(item, speech),
        )
    ]


def _contradicted(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            f"the backup is older than it says, or not whole: see what is backed up ({_PLATFORM})",
            speech.verb(item, "get"),
        )
    ]


def _isolation(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            f"the cluster's network does not enforce NetworkPolicies: use one that does ({_PLATFORM}); or, where "
            "restored workloads may reach live systems, set spec.environment.isolation to None",
            edit(item, speech),
        )
    ]


_VERDICTS: dict[VerdictReason, Callable[[Item, Speech], list[Advice]]] = {
    VerdictReason.RTO_EXCEEDED: _rto,
    VerdictReason.RPO_EXCEEDED: _rpo,
    VerdictReason.PROBE_FAILED: _probe,
    VerdictReason.RESTORE_FAILED: _restore,
    VerdictReason.ENVIRONMENT_FAILED: _environment,
    VerdictReason.RECOVERY_POINT_UNKNOWN: _recovery_point,
    VerdictReason.RECOVERY_POINT_CONTRADICTED: _contradicted,
    VerdictReason.ISOLATION_NOT_ENFORCED: _isolation,
}


def _manifests(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("correct the document and the field that the message names"),
        Advice("then rehearse again; nothing was applied", speech.verb(item, "rerun")),
    ]


def _backup(item: Item, speech: Speech) -> list[Advice]:
    return [
        *_restore(item, speech),
        Advice("see that there is such a backup, whole and readable; then rehearse again", _rerun(item, speech)),
        Advice("or name another one in spec.restore (a drill then starts by itself)", edit(item, speech)),
    ]


def _failed_environment(item: Item, speech: Speech) -> list[Advice]:
    return [*_environment(item, speech), Advice("then rehearse again", _rerun(item, speech))]


def _taken(item: Item, speech: Speech) -> list[Advice]:
    words = ["kubectl", "get", "namespace", _drill(item).namespace or "NAMESPACE", "--show-labels"]
    return [
        Advice(f"see whose namespace it is ({_PLATFORM})", shlex.join(words)),
        Advice("then rehearse again: every drill has a namespace of its own", _rerun(item, speech)),
    ]


def _conditions(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "correct the condition of the probe that the message names (a drill then starts by itself)",
            edit(item, speech),
        ),
    ]


_FAILURES: dict[FailureType, Callable[[Item, Speech], list[Advice]]] = {
    FailureType.PLAN_REFUSED: _conditions,
    FailureType.MANIFESTS_REFUSED: _manifests,
    FailureType.ENVIRONMENT_FAILED: _failed_environment,
    FailureType.BACKUP_NOT_FOUND: _backup,
    FailureType.BACKUP_UNREACHABLE: _backup,
    FailureType.BACKUP_FORBIDDEN: _backup,
    FailureType.RESTORE_FAILED: _backup,
    FailureType.DRILL_NAMESPACE_TAKEN: _taken,
}


def _look(item: Item) -> list[Advice]:
    namespace = _drill(item).namespace
    if not namespace:
        return []
    words = ["kubectl", "get", "all", "-n", namespace]
    return [Advice("look at what is there, as far as your rights go", shlex.join(words))]


def _drill(item: Item) -> DrillStatus:
    try:
        return DRDrillStatus.model_validate(item.body.get("status") or {}).drill or DrillStatus()
    except ValidationError:
        return DrillStatus()


def _history(item: Item, speech: Speech) -> str:
    return speech.verb(item, "drill history")


def _rerun(item: Item, speech: Speech) -> str:
    return speech.verb(item, "rerun")


def _cancel(item: Item, speech: Speech) -> str:
    return speech.verb(item, "cancel", "--reason", "WHY")
