"""What to do about a PatchCampaign that waits or failed: words, and the exact command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from bascule_api.conditions import CompensationState, WaitKind
from bascule_api.failures import FailureType
from bascule_api.fleets import TargetPhase
from bascule_api.patch_campaign_status import PatchCampaignStatus, TargetInProgress
from bascule_api.runs import WaitingFor
from bascule_cli import advice
from bascule_cli.advice import Advice, edit
from bascule_cli.resources import Item
from bascule_cli.views.wording import Speech

_PLATFORM = "for the platform team"
_ALSO_FAILED = {
    "Halt": "what is patched stays patched",
    "RollbackWave": "this wave is rolled back",
    "RollbackAll": "all that it patched is rolled back",
}


def progressing(item: Item, speech: Speech) -> list[Advice]:
    """Targets that are held up come first: the run goes on, they may not."""
    held_up = [target for target in _in_progress(item) if target.message]
    phases = {target.phase: target for target in reversed(held_up)}
    told = [_HELD_UP[phase](target, item, speech) for phase, target in phases.items() if phase in _HELD_UP]
    return [*(advice for group in told for advice in group), _watch(item, speech)]


def waiting(item: Item, speech: Speech) -> list[Advice]:
    """By what is waited for."""
    waits = item.status.waiting_for
    told = _WAITS.get(waits.kind) if waits is not None else None
    if waits is None or told is None:
        return advice.waiting(item, speech)
    return [*told(waits, item, speech), _watch(item, speech)]


def failed(item: Item, speech: Speech) -> list[Advice]:
    """By what failed. A new run of the same spec goes on where this one stopped."""
    failure = item.status.failure
    told = _FAILURES.get(failure.type, _cause) if failure is not None else _cause
    return [Advice("see which targets failed, and why", _show(item, speech)), *told(item, speech)]


def cancelled(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("see what is patched, and what is not", _show(item, speech)),
        Advice("go on with the rest: what this run patched is not patched again", speech.verb(item, "rerun")),
    ]


def compensating(item: Item, speech: Speech) -> list[Advice]:
    found = item.status.compensation
    stuck = found is not None and found.state is CompensationState.RUNNING and found.last_error
    text = (
        "mend what the last error names: it is tried again by itself"
        if stuck
        else "nothing: targets are being rolled back and given back to scheduling"
    )
    return [Advice(text, _show(item, speech, "--watch"))]


def _approval(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    policy = item.spec.get("failurePolicy") or {}
    then = _ALSO_FAILED.get(policy.get("action", "Halt"), "")
    return [
        Advice("look at what is to be approved: which target is in which wave", speech.verb(item, "campaign plan")),
        Advice("and at what was patched so far", _show(item, speech)),
        Advice("approve it if you may (ClusterRole bascule-approve)", speech.verb(item, "approve")),
        Advice(f"or reject it: the run fails, and {then}", speech.verb(item, "reject", "--reason", "WHY")),
    ]


def _soak(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    gates = "then its gates are asked" if item.spec.get("gates") else "then the next wave begins"
    return [Advice(f"nothing: it goes on by itself when the time is over, {gates}")]


def _window(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("nothing: it goes on by itself when the maintenance window opens"),
        Advice(
            "or change spec.windows: that is another spec, so this run ends and a new one begins",
            edit(item, speech),
        ),
    ]


def _check(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    name = waits.gate.partition("/")[2]
    gate: dict[str, Any] = next((found for found in item.spec.get("gates") or [] if found.get("name") == name), {})
    limit = gate.get("failureLimit", 0)
    return [
        Advice(
            f"mend what the gate {name or waits.gate} looks at: it is asked again by itself, "
            f"and fails the wave once more than {limit} measurements failed"
        )
    ]


def _disruption(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    draining = [target for target in _in_progress(item) if target.phase is TargetPhase.DRAINING]
    return _drain_of(draining[0].name if draining else "", item, speech)


def _drain_of(node: str, item: Item, speech: Speech) -> list[Advice]:
    limit = (item.spec.get("drain") or {}).get("timeout", "15m")
    told = [
        Advice(
            "see which PodDisruptionBudget lets no pod go; another replica, or a pod that becomes Ready, frees it. "
            f"The eviction is tried again by itself; after {limit} (spec.drain.timeout) the node counts as failed",
            "kubectl get poddisruptionbudgets -A",
        )
    ]
    if node:
        words = ["kubectl", "get", "pods", "-A", "-o", "wide", "--field-selector", f"spec.nodeName={node}"]
        told.append(Advice(f"see what is left on {node}", shlex.join(words)))
    return told


def _lease(waits: WaitingFor, item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "nothing: another campaign works on the target, and it goes on when that one has given it back",
            "kubectl get patchcampaigns -A",
        )
    ]


def _on_drain(target: TargetInProgress, item: Item, speech: Speech) -> list[Advice]:
    return _drain_of(target.name, item, speech)


def _on_acquire(target: TargetInProgress, item: Item, speech: Speech) -> list[Advice]:
    return [Advice(f"{target.name}: {target.message}", "kubectl get patchcampaigns -A")]


def _on_verify(target: TargetInProgress, item: Item, speech: Speech) -> list[Advice]:
    return [Advice(f"see how {target.name} is ({_PLATFORM})", _describe(target.name))]


_HELD_UP: dict[TargetPhase, Callable[[TargetInProgress, Item, Speech], list[Advice]]] = {
    TargetPhase.ACQUIRING: _on_acquire,
    TargetPhase.DRAINING: _on_drain,
    TargetPhase.REBOOTING: _on_verify,
    TargetPhase.VERIFYING: _on_verify,
}
_WAITS: dict[WaitKind, Callable[[WaitingFor, Item, Speech], list[Advice]]] = {
    WaitKind.APPROVAL: _approval,
    WaitKind.SOAK: _soak,
    WaitKind.WINDOW: _window,
    WaitKind.CHECK: _check,
    WaitKind.DISRUPTION: _disruption,
    WaitKind.LEASE: _lease,
}


def _plan(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("correct spec.targets or spec.waves, as the message says (a run then starts)", edit(item, speech)),
        Advice("`mode: Plan` shows what would be patched, and touches nothing"),
    ]


def _targets(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("mend those targets, then go on: what is patched is not patched again", speech.verb(item, "rerun")),
        Advice("or let more fail: spec.failurePolicy.maxFailures", edit(item, speech)),
    ]


def _gate(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "mend what the gate looks at, then go on: what is patched is not patched again", speech.verb(item, "rerun")
        ),
        Advice("or correct the gate in spec.gates (a run then starts by itself, and patches all)", edit(item, speech)),
    ]


def _inconclusive(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("see that what the gate asks answers, then go on", speech.verb(item, "rerun")),
        Advice("or bear more silence: inconclusiveLimit in spec.gates", edit(item, speech)),
    ]


def _refused(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "only nodes within the Tenant's spec.nodeSelector are patched, and never those of the control plane "
            f"({_PLATFORM})",
            "kubectl get tenants -o custom-columns=TENANT:.metadata.name,NODES:.spec.nodeSelector",
        ),
        Advice("or select others: spec.targets", edit(item, speech)),
    ]


def _rejected(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("change what was objected to (a run then starts by itself)", edit(item, speech)),
        Advice("or ask again: what is patched is not patched again", speech.verb(item, "rerun")),
    ]


def _cause(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "mend the cause that the message names, then go on: what is patched is not patched again",
            speech.verb(item, "rerun"),
        )
    ]


def _again(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("ask again: what is patched is not patched again", speech.verb(item, "rerun"))]


_FAILURES: dict[FailureType, Callable[[Item, Speech], list[Advice]]] = {
    FailureType.PLAN_REFUSED: _plan,
    FailureType.TOO_MANY_FAILURES: _targets,
    FailureType.DRAIN_BLOCKED: _targets,
    FailureType.REBOOT_TIMED_OUT: _targets,
    FailureType.TARGET_NOT_READY: _targets,
    FailureType.TARGET_GONE: _targets,
    FailureType.TARGET_REFUSED: _refused,
    FailureType.GATE_FAILED: _gate,
    FailureType.GATE_INCONCLUSIVE: _inconclusive,
    FailureType.APPROVAL_REJECTED: _rejected,
    FailureType.APPROVAL_TIMED_OUT: _again,
}


def _in_progress(item: Item) -> list[TargetInProgress]:
    try:
        status = PatchCampaignStatus.model_validate(item.body.get("status") or {})
    except ValidationError:
        return []
    return list(status.targets.in_progress) if status.targets else []


def _show(item: Item, speech: Speech, *options: str) -> str:
    return speech.verb(item, "campaign show", *options)


def _watch(item: Item, speech: Speech) -> Advice:
    return Advice("watch it", _show(item, speech, "--watch"))


def _describe(node: str) -> str:
    return shlex.join(["kubectl", "describe", "node", node])
