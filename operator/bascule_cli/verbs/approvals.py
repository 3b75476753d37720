"""`bascule approve` and `bascule reject`: a person's decision on what a run waits for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bascule_api import approvals, names
from bascule_api.approvals import ApprovalState, Decision
from bascule_api.conditions import WaitKind
from bascule_api.runs import WaitingFor
from bascule_cli import terminal
from bascule_cli.cluster import FIELD_MANAGER, Cluster, Json, path
from bascule_cli.errors import CliError, ExitCode
from bascule_cli.options import NameArgument, TimeoutOption, YesOption, speech, verb
from bascule_cli.resources import Item, find
from bascule_cli.rights import Right
from bascule_cli.views.approvals import Approver, approval_of, question
from bascule_cli.watching import until

SubjectOption = Annotated[
    str | None,
    typer.Option("--subject", help="Decide only if this digest is what is waited for. For scripts that checked it."),
]


def register(app: typer.Typer) -> None:
    verb(app, "approve")(approve)
    verb(app, "reject")(reject)


def approve(
    cluster: Cluster,
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for those who read it later.")] = "",
    subject: SubjectOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 60,
) -> None:
    """Approve what a run waits for, and wait until that has counted.

    Shows what would be approved and asks. The Approval that it creates names resource, run, gate, the digest of what
    is approved, and you, as the cluster knows you: it opens this gate and no other. That needs the ClusterRole
    `bascule-approve`.

    Exit code 0: it counted. 1: it was refused, came too late, or nothing waits for an approval. 5: the operator has
    not answered yet; the Approval stays.

    **Examples:** `bascule approve web` · `bascule approve web -y --reason "tested on staging"`
    """
    _decide(cluster, name, Decision.APPROVE, reason, subject, yes, timeout)


def reject(
    cluster: Cluster,
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why. Asked for when it is missing.")] = "",
    subject: SubjectOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 60,
) -> None:
    """Reject what a run waits for: the run fails and takes back what it did.

    Exit codes are those of `approve`.

    **Example:** `bascule reject web --reason "wrong base image"`
    """
    _decide(cluster, name, Decision.REJECT, reason, subject, yes, timeout)


def _decide(
    cluster: Cluster, name: str, decision: Decision, reason: str, subject: str | None, yes: bool, timeout: int
) -> None:
    item = find(cluster, name)
    waits = _waiting(cluster, item)
    if subject is not None and subject != waits.subject:
        raise CliError(ExitCode.FAILED, f"it waits for an approval of {waits.subject}, not of {subject}")
    approver = _whoami(cluster)
    if not yes:
        _confirm(item, waits, decision, approver)
    if decision is Decision.REJECT and not reason:
        reason = _asked("Why is it rejected? ") if terminal.interactive() else ""
        if not reason:
            raise CliError(ExitCode.USAGE, "a rejection needs --reason")
    where = path(approvals.KIND, item.namespace)
    right = Right("create", approvals.KIND.plural, item.namespace)
    body = approval_of(item, waits, decision, approver, reason)
    made = cluster.request("POST", where, right, query={"fieldManager": FIELD_MANAGER}, body=body)
    _follow(cluster, item, made, timeout)


def _waiting(cluster: Cluster, item: Item) -> WaitingFor:
    """The approval that the run waits for. Raises CliError where it waits for none."""
    waits = item.status.waiting_for
    if waits is None or waits.kind is not WaitKind.APPROVAL or item.status.run is None:
        what = f"waits for {waits.kind}, not for an approval" if waits else "does not wait for an approval"
        now = f"it is {item.status.phase}" if item.status.phase else "nobody has looked at it yet"
        raise CliError(ExitCode.FAILED, f"{item.reference} {what}: {now}", speech(cluster).verb(item, "explain"))
    return waits


def _whoami(cluster: Cluster) -> Approver:
    """Who the API server says we are."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    right = Right("create", "selfsubjectreviews", group="authentication.k8s.io")
    answer = cluster.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", right, body=review)
    user = answer["status"]["userInfo"]
    return Approver(str(user["username"]), tuple(user.get("groups") or ()))


def _confirm(item: Item, waits: WaitingFor, decision: Decision, approver: Approver) -> None:
    if not terminal.interactive():
        raise CliError(ExitCode.USAGE, "nobody can be asked here: say --yes")
    console = terminal.error_console()
    for line in question(item, waits, decision, approver, datetime.now(UTC)):
        console.print(line)
    if _asked(f"{decision}? [y/N] ").lower() not in ("y", "yes"):
        raise CliError(ExitCode.FAILED, "nothing was decided")


def _asked(prompt: str) -> str:
    """An answer from the terminal; the question goes to stderr, so that stdout stays the result."""
    typer.echo(prompt, err=True, nl=False)
    try:
        return input().strip()
    except EOFError:
        return ""


def _follow(cluster: Cluster, item: Item, made: Json, timeout: int) -> None:
    """Wait until the Approval has counted or has not. Raises CliError unless it counted."""
    name = made["metadata"]["name"]
    look = f"kubectl get {approvals.KIND.plural}.{names.GROUP} {name} -n {item.namespace}"

    def judged(body: Json) -> bool:
        return bool((body.get("status") or {}).get("state"))

    try:
        found = until(cluster, approvals.KIND, made, judged, timeout)
    except CliError as error:
        terminal.note(f"the Approval {name} is created; what became of it is not known yet: {look}")
        raise error from None
    if found is None:
        raise CliError(ExitCode.FAILED, f"the Approval {name} was deleted before it was looked at")
    status: dict[str, Any] = found["status"]
    why = f": {status['reason']}" if status.get("reason") else ""
    if status["state"] != ApprovalState.COUNTED:
        raise CliError(ExitCode.FAILED, f"it did not count, {str(status['state']).lower()}{why}", look)
    words = "approved" if made["spec"]["decision"] == Decision.APPROVE else "rejected"
    run, gate, approver = made["spec"]["run"], made["spec"]["gate"], made["spec"]["approver"]
    typer.echo(terminal.clean(f"{item.namespace}/{item.reference}: run {run} {words} at {gate} by {approver} ({name})"))
