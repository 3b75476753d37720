"""What to do about each reason: words, and the exact command. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from bascule_api import names
from bascule_api.conditions import StepState, WaitKind
from bascule_api.failures import FailureType
from bascule_cli.resources import Item
from bascule_cli.views.wording import Speech

SYSTEM_NAMESPACE = "bascule-system"
_PLATFORM = "for the platform team"


@dataclass(frozen=True)
class Advice:
    """One thing to do; `command` may be typed as it stands, unless it has words in capitals."""

    text: str
    command: str = ""


def nothing(item: Item, speech: Speech) -> list[Advice]:
    return []


def operator_silent(item: Item, speech: Speech) -> list[Advice]:
    return [Advice(f"if it lasts, see whether the operator runs ({_PLATFORM})", _pods("operator"))]


def tenant_missing(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            f"one Tenant has to name the namespace {item.namespace} in spec.namespaces ({_PLATFORM}); "
            "the run then starts by itself",
            "kubectl get tenants",
        )
    ]


def tenant_not_ready(item: Item, speech: Speech) -> list[Advice]:
    return [Advice(f"see what the Tenant lacks ({_PLATFORM}); the run starts by itself then", "kubectl get tenants")]


def procedure(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("see which Procedures there are, and for whom", _PROCEDURES),
        Advice("name another one, or have the platform team offer this one", edit(item, speech)),
    ]


def targets(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "see which nodes the Tenant may patch (spec.nodeSelector)",
            "kubectl get tenants -o custom-columns=TENANT:.metadata.name,NODES:.spec.nodeSelector",
        ),
        Advice(
            f"select among those; or have the Tenant allow more ({_PLATFORM}): a run then starts by itself",
            edit(item, speech),
        ),
    ]


def parameters(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice("see which parameters the Procedure takes", "kubectl get procedure NAME -o yaml"),
        Advice("correct the parameter that the message names; a run then starts by itself", edit(item, speech)),
    ]


def spec(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("correct the field that the message names; a run then starts by itself", edit(item, speech))]


def temporal(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "nothing for you to do: nothing is lost, and it goes on by itself once Temporal answers; "
            f"see whether Temporal runs ({_PLATFORM})",
            "kubectl get tenants",
        )
    ]


def starting(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(f"nothing; if no worker takes it up in a minute, see whether one runs ({_PLATFORM})", _pods("worker"))
    ]


def progressing(item: Item, speech: Speech) -> list[Advice]:
    again = [step.name for step in item.status.steps if step.state is StepState.RUNNING and step.attempts > 1]
    live = [step.name for step in item.status.steps if step.state is StepState.RUNNING]
    told = [Advice(f"{', '.join(again)} failed before and is tried again by itself")] if again else []
    logs = [Advice("see what the step writes", speech.verb(item, "logs", step, "--follow")) for step in live[:1]]
    return [*told, *logs, Advice("watch it", speech.verb(item, "get", "--watch"))]


def waiting(item: Item, speech: Speech) -> list[Advice]:
    """By what is waited for."""
    waits = item.status.waiting_for
    if waits is None:
        return [Advice("watch it", speech.verb(item, "get", "--watch"))]
    if waits.kind is WaitKind.APPROVAL:
        return [
            Advice(
                "look at what is to be approved, and approve it if you may (ClusterRole bascule-approve)",
                speech.verb(item, "approve"),
            ),
            Advice("or reject it: the run fails and takes back what it did", _reject(item, speech)),
        ]
    return [Advice(_WAITS[waits.kind], speech.verb(item, "get", "--watch"))]


_WAITS = {
    WaitKind.SOAK: "nothing: it goes on by itself when the time is over",
    WaitKind.WINDOW: "nothing: it goes on by itself when the maintenance window opens",
    WaitKind.CHECK: "mend what the check looks at; it is asked again by itself",
    WaitKind.POLICY: f"see why the policy decision point gives no answer ({_PLATFORM}); it is asked again by itself",
    WaitKind.CAPACITY: "nothing: it goes on when another run of the tenant is over; or raise the Tenant's limits",
    WaitKind.LEASE: "nothing: it goes on when the other run has published, or is done with the target",
    WaitKind.DISRUPTION: "see which PodDisruptionBudget lets no pod go (kubectl get pdb -A); tried again by itself",
    WaitKind.AUDIT: f"see why the audit sink takes no record ({_PLATFORM}); it is tried again by itself",
}


def suspended(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("let it go on", speech.verb(item, "resume"))]


def compensating(item: Item, speech: Speech) -> list[Advice]:
    found = item.status.compensation
    stuck = found is not None and found.last_error
    text = "mend what the last error names: it is tried again by itself" if stuck else "nothing: it goes on by itself"
    return [Advice(text, speech.verb(item, "get", "--watch"))]


def superseded(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "nothing: the run of the new spec starts when this one has taken back what it did",
            speech.verb(item, "get", "--watch"),
        )
    ]


def throttled(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            f"nothing: it starts by itself at that time. If it comes again and again, something writes the annotation "
            f"{names.REQUESTED_AT} each time, such as a GitOps template",
            speech.verb(item, "history"),
        )
    ]


def scheduled(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("run it now", speech.verb(item, "rerun"))]


def failed(item: Item, speech: Speech) -> list[Advice]:
    """By what failed."""
    failure = item.status.failure
    step = failure.step if failure else ""
    told = [Advice("see all that the step wrote", speech.verb(item, "logs", step))] if _has_log(item, step) else []
    if failure is None:
        return [*told, Advice("run it again", speech.verb(item, "rerun"))]
    if failure.type in (FailureType.APPROVAL_REJECTED, FailureType.POLICY_DENIED):
        why = "it was decided against" if failure.type is FailureType.APPROVAL_REJECTED else "the policy denies it"
        return [
            *told,
            Advice(f"{why}: change what was objected to (a run then starts by itself)", edit(item, speech)),
            Advice("or ask again", speech.verb(item, "rerun")),
        ]
    if failure.retryable or failure.type in _OUTSIDE:
        return [*told, Advice("mend the cause that the message names, then run it again", speech.verb(item, "rerun"))]
    return [
        *told,
        Advice("correct the spec (a run then starts by itself)", edit(item, speech)),
        Advice("or mend what it builds from, and run it again", speech.verb(item, "rerun")),
    ]


_OUTSIDE = frozenset(
    {
        FailureType.SOURCE_UNREACHABLE,
        FailureType.SECRET_MISSING,
        FailureType.SECRET_NOT_USABLE,
        FailureType.REGISTRY_REFUSED,
        FailureType.REGISTRY_UNAVAILABLE,
        FailureType.APPROVAL_TIMED_OUT,
        FailureType.INTERNAL,
    }
)
"""Failures whose cause is outside the spec."""


def timed_out(item: Item, speech: Speech) -> list[Advice]:
    limit = item.spec.get("timeout", "2h")
    return [
        Advice("see which step took so long", speech.verb(item, "get")),
        Advice(f"give it more time: spec.timeout, now {limit}; a longer one alone starts nothing", edit(item, speech)),
        Advice("then run it again", speech.verb(item, "rerun")),
    ]


def cancelled(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("to run it after all", speech.verb(item, "rerun"))]


def lost(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("what it had made was looked for and taken back: run it again", speech.verb(item, "rerun"))]


def left_over(item: Item, speech: Speech) -> list[Advice]:
    failure, told = item.status.failure, []
    if failure is not None and failure.type is FailureType.RUN_LOST and item.status.run is not None:
        label = f"{names.LABEL_RUN}={names.run_label(item.meta.uid, item.status.run.number)}"
        command = f"kubectl get jobs,pods,secrets,configmaps -A -l {label}"
        told = [Advice(f"see what the lost run left among the steps ({_PLATFORM})", command)]
    return [
        *told,
        Advice("mend the cause, then have the rest taken back", speech.verb(item, "rerun")),
        Advice(
            "as the last resort let go of what is left, which stays where it is (needs the verb force)",
            speech.verb(item, "force-delete", "--reason", "WHY"),
        ),
    ]


def forced(item: Item, speech: Speech) -> list[Advice]:
    left = item.status.compensation.left if item.status.compensation else []
    return [Advice(f"remove by hand what was left: {', '.join(left)}")] if left else []


def unverified(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "see that the Secret of spec.sign.keySecretRef holds the key whose public half is in the Tenant's "
            "spec.signing.publicKey; no tag was moved",
            "kubectl get tenants -o custom-columns=TENANT:.metadata.name,KEY:.spec.signing.publicKey",
        )
    ]


def tag_moved(item: Item, speech: Speech) -> list[Advice]:
    return [Advice("to publish this one again", speech.verb(item, "rerun"))]


def code_fails(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            f"the fault is Bascule's: see the workers' logs ({_PLATFORM}); the run goes on once a worker is fixed",
            f"kubectl logs -n {SYSTEM_NAMESPACE} -l app.kubernetes.io/component=worker --tail=50",
        )
    ]


def paused_in_temporal(item: Item, speech: Speech) -> list[Advice]:
    run = item.status.run
    command = "temporal workflow unpause"
    if run is not None:
        command = shlex.join([*command.split(), "-w", run.workflow_id, "-n", run.temporal_namespace])
    return [Advice(f"take the pause back in Temporal ({_PLATFORM}); to pause a run, use suspend", command)]


def namespace_taken(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "give this Tenant another spec.temporal.namespace",
            "kubectl get tenants -o custom-columns=TENANT:.metadata.name,TEMPORAL:.spec.temporal.namespace",
        )
    ]


def nodes_overlap(item: Item, speech: Speech) -> list[Advice]:
    return [
        Advice(
            "give the nodes of both Tenants a label with different values, and have both name it in spec.nodeSelector",
            "kubectl get tenants -o custom-columns=TENANT:.metadata.name,NODES:.spec.nodeSelector",
        )
    ]


def steps_missing(item: Item, speech: Speech) -> list[Advice]:
    spaces = item.spec.get("namespaces") or ["NAMESPACE"]
    options = " ".join(f"-n {space}" for space in spaces)
    return [
        Advice(
            "make it, with what belongs to it",
            f"bascule tenant manifests {item.name} {options} | kubectl apply --server-side -f -",
        )
    ]


def _reject(item: Item, speech: Speech) -> str:
    return speech.verb(item, "reject", "--reason", "WHY")


def edit(item: Item, speech: Speech) -> str:
    return speech.kubectl(item, "edit", item.kind.kind.lower(), item.name)


def _has_log(item: Item, step: str) -> bool:
    return any(found.name == step and (found.log or found.message) for found in item.status.steps)


def _pods(component: str) -> str:
    return f"kubectl get pods -n {SYSTEM_NAMESPACE} -l app.kubernetes.io/component={component}"


_PROCEDURES = "kubectl get procedures -o wide"
