"""`bascule suspend`, `resume`, `rerun`, `cancel` and `force-delete`: what is asked of runs, by spec and annotations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_cli import terminal
from bascule_cli.cluster import Cluster, Json
from bascule_cli.errors import CliError, ExitCode, ForbiddenError
from bascule_cli.options import NameArgument, YesOption, speech, verb
from bascule_cli.resources import Item, find
from bascule_cli.rights import Right
from bascule_cli.terminal import clean
from bascule_cli.verbs.waiting import WaitOption, WaitSecondsOption, wait_for_compensation, wait_for_run
from bascule_cli.views.managed import managed_by

_REASON_LIMIT = 256


def register(app: typer.Typer) -> None:
    for function in (suspend, resume, rerun, cancel):
        verb(app)(function)
    verb(app, "force-delete")(force_delete)


def suspend(cluster: Cluster, name: NameArgument) -> None:
    """Pause: nothing starts, and a run stops at its next step boundary.

    Sets `spec.suspend`. A step that runs comes to its end; soaks and windows run on, deadlines do not. Deleting and
    cancelling work as ever.

    **Example:** `bascule suspend web`
    """
    _set_suspend(cluster, find(cluster, name), True)


def resume(cluster: Cluster, name: NameArgument) -> None:
    """Go on after a suspend: the run continues, or the latest that is wanted starts.

    **Example:** `bascule resume web`
    """
    _set_suspend(cluster, find(cluster, name), False)


def _set_suspend(cluster: Cluster, item: Item, wanted: bool) -> None:
    if item.suspended == wanted:
        _say(item, "is suspended already" if wanted else "is not suspended")
        return
    _patch(cluster, item, {"spec": {"suspend": wanted}})
    if wanted:
        _say(item, "pauses at its next step" if item.unfinished else "starts nothing until it is resumed")
    else:
        _say(item, "goes on" if item.unfinished else "may start runs again")
    manager = managed_by(item)
    if manager:
        terminal.note(f"{manager} manages it and may set spec.suspend back: change it in git as well")


def rerun(cluster: Cluster, name: NameArgument, wait: WaitOption = False, timeout: WaitSecondsOption = 3600) -> None:
    """Run again without a change. After a failed compensation: try again to take back what is left.

    Sets the annotation `bascule.dev/requested-at` to now. While a run is unfinished, the latest request is kept and
    starts after it; at most one a minute and ten an hour start. With `--wait`: exit code 0 if the run succeeded (or all
    is taken back), 1 if not.

    **Examples:** `bascule rerun web` · `bascule rerun web --wait --timeout 1800`
    """
    item = find(cluster, name)
    retried = item.status.compensation is not None and item.status.compensation.state is CompensationState.FAILED
    if item.deleting and not retried:
        raise CliError(ExitCode.FAILED, f"{item.reference} is being deleted: nothing starts any more")
    before = item.status.run.number if item.status.run else 0
    request = datetime.now(UTC).isoformat(timespec="microseconds")
    body = _patch(cluster, item, {"metadata": {"annotations": {names.REQUESTED_AT: request}}})
    after = Item.of(item.kind, body)
    _say(item, "tries again to take back what is left" if retried else _starts(item))
    if wait and retried:
        wait_for_compensation(cluster, after, request, timeout)
    elif wait:
        wait_for_run(cluster, after, request, before, timeout)


def _starts(item: Item) -> str:
    if item.suspended:
        return "runs again once it is resumed"
    if item.status.phase is Phase.REJECTED:
        return "runs again once what keeps it from starting is mended"
    if item.unfinished and item.status.run is not None:
        return f"runs again when run {item.status.run.number} is over"
    return "runs again"


def cancel(
    cluster: Cluster,
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for those who read it later.")],
    wait: WaitOption = False,
    timeout: WaitSecondsOption = 3600,
) -> None:
    """Stop the run that is going on; it takes back what it did, and the resource stays.

    Sets the annotation `bascule.dev/cancel`. With `--wait`: until that has settled; exit code 1 if something could not
    be taken back.

    **Example:** `bascule cancel web --reason "wrong branch"`
    """
    item = find(cluster, name)
    if not item.unfinished or item.status.run is None:
        now = f"it is {item.status.phase}" if item.status.phase else "nothing runs yet"
        raise CliError(ExitCode.FAILED, f"{item.reference} has nothing to cancel: {now}")
    number = item.status.run.number
    if item.status.run.cancel_cause is not None:
        _say(item, f"run {number} is being cancelled already")
    else:
        _patch(cluster, item, {"metadata": {"annotations": {names.CANCEL: _new_reason(item, reason)}}})
        _say(item, f"run {number} is cancelled and takes back what it did")
    if wait:
        wait_for_run(cluster, item, "", number - 1, timeout, cancelled=True)


def _new_reason(item: Item, reason: str) -> str:
    """The reason, told apart from an annotation that cancelled an earlier run: the same text would cancel nothing."""
    words = clean(reason)[:_REASON_LIMIT]
    if not words:
        raise CliError(ExitCode.USAGE, "--reason must not be empty")
    handled = item.status.handled.cancel if item.status.handled else ""
    if words not in (item.meta.annotations.get(names.CANCEL), handled):
        return words
    stamp = f" ({datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ})"
    return words[: _REASON_LIMIT - len(stamp)] + stamp


def force_delete(
    cluster: Cluster,
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it is audited.")],
    yes: YesOption = False,
) -> None:
    """Delete a resource without taking back what its runs left. The last resort.

    `kubectl delete` undoes and waits until that is settled; this lets go of what could not be undone, for example of a
    registry that is gone for good. What is left stays where it is. It needs the ClusterRole `bascule-force`, is
    audited, and sets the annotation `bascule.dev/force-delete`.

    **Example:** `bascule force-delete web --reason "the registry was switched off"`
    """
    item = find(cluster, name)
    words = clean(reason)[:_REASON_LIMIT]
    if not words:
        raise CliError(ExitCode.USAGE, "--reason must not be empty")
    _demand_force(cluster, item)
    if not yes:
        _confirm_letting_go(cluster, item)
    _patch(cluster, item, {"metadata": {"annotations": {names.FORCE_DELETE: words}}})
    if not item.deleting:
        right = Right("delete", item.kind.plural, item.namespace, item.name)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": item.meta.uid}}
        cluster.delete(item.kind, item.namespace, item.name, right, body)
    _say(item, "is let go of; what its runs left stays where it is")


def _demand_force(cluster: Cluster, item: Item) -> None:
    """Ask for the right before anything else: it is the exception that few people have."""
    attributes = {
        "verb": "force",
        "group": names.GROUP,
        "resource": item.kind.plural,
        "namespace": item.namespace,
        "name": item.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    right = Right("create", "selfsubjectaccessreviews", group="authorization.k8s.io")
    answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", right, body=review)
    if not answer["status"].get("allowed"):
        force = Right("force", item.kind.plural, item.namespace, item.name)
        instead = speech(cluster).kubectl(item, "delete", item.kind.kind.lower(), item.name)
        raise ForbiddenError(force.missing(""), force.hint, f"to undo and delete: {instead}")


def _confirm_letting_go(cluster: Cluster, item: Item) -> None:
    if not terminal.interactive():
        raise CliError(ExitCode.USAGE, "nobody can be asked here: say --yes")
    compensation = item.status.compensation
    left = ", ".join(compensation.left) if compensation and compensation.left else "whatever its runs made"
    typer.echo(f"{item.namespace}/{item.reference}: not taken back will be: {clean(left)}", err=True)
    typer.echo(f"Type the name {item.name} to let go of it: ", err=True, nl=False)
    try:
        answer = input().strip()
    except EOFError:
        answer = ""
    if answer != item.name:
        raise CliError(ExitCode.FAILED, "nothing was deleted")


def _patch(cluster: Cluster, item: Item, body: dict[str, Any]) -> Json:
    """Merge into this very resource, not into another that has taken its name."""
    guarded = body | {"metadata": {**body.get("metadata", {}), "uid": item.meta.uid}}
    return cluster.patch(item.kind, item.namespace, item.name, guarded)


def _say(item: Item, what: str) -> None:
    typer.echo(f"{item.namespace}/{item.reference} {what}")
