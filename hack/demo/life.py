"""The life of a run: an approval, a suspend, a deletion in mid-flight, one after the fact, and a force refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hack import installation
from hack.demo import life_proofs, proofs, story
from hack.demo.acting import PATIENCE, Body, Cast, make_cast, perform, until
from hack.demo.proofs import Proof
from hack.demo.stage import Stage
from hack.people import Person


def play(stage: Stage) -> list[Proof]:
    """Tell the story. Returns what was proven."""
    with tempfile.TemporaryDirectory() as folder:
        stage.say("two people: dora, who edits in acme-dev, and ada, who may approve there and nothing else")
        cast = make_cast(stage, Path(folder))
        stage.say("two ImageBuilds: web wants an approval before it is published, doomed tests for an hour")
        _apply(stage, "web", "doomed")
        acts = (_approval, _suspend, _deletion, _undo, _force)
        return [proof for act in acts for proof in act(stage, cast)]


def next_steps(stage: Stage) -> list[str]:
    """What may be tried with the cluster that was kept."""
    space = stage.tenant.namespace
    return [
        f"bascule get -n {space} --watch",
        f"bascule history nightly -n {space}",
        f"bascule rerun nightly -n {space} --wait",
        f"kubectl get approvals -n {space}",
    ]


def _apply(stage: Stage, *names: str) -> None:
    lives = story.lives(stage.cluster, stage.tenant)
    installation.apply(stage.cluster, *(document for name in names for document in lives[name]))


def _approval(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(1, "a build waits for a person")
    body = _until(stage, "web", lambda found: found["status"].get("phase") == "Waiting", "waiting")
    subject = body["status"]["waitingFor"]["subject"]
    perform(stage, cast.dora, "kubectl", "bascule", "get", "web")
    perform(stage, cast.dora, "kubectl", "bascule", "explain", "web")
    before = proofs.nothing_published(stage.cluster, body["spec"]["publish"]["repository"])
    stage.show(before)
    stage.say("dora made it, and may not approve it")
    refused = perform(stage, cast.dora, "kubectl", "bascule", "approve", "web", "--yes")
    stage.say("ada may; what she approves is this digest, at this gate, of this run")
    counted = perform(stage, cast.ada, "kubectl", "bascule", "approve", "web", "--yes", "--reason", "tested on staging")
    _until(stage, "web", lambda found: found["status"].get("phase") == "Succeeded", "published")
    perform(stage, cast.dora, "kubectl", "bascule", "get", "web")
    found = [
        life_proofs.ended(
            "who lacks the right cannot approve", "kubectl bascule approve web --yes   (as dora)", refused, 4
        ),
        life_proofs.ended("ada's approval counted", "kubectl bascule approve web --yes   (as ada)", counted, 0),
        life_proofs.decided(stage.cluster, stage.tenant, body, "ada"),
        life_proofs.published(stage.cluster, body, subject),
    ]
    stage.show(*found)
    return [before, *found]


def _suspend(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(2, "suspend and resume: a step comes to its end, the next one waits")
    _apply(stage, "nightly")
    _until(stage, "nightly", lambda found: _state(found, "test-slow") == "Running", "testing")
    perform(stage, cast.dora, "kubectl", "bascule", "suspend", "nightly")
    body = _until(stage, "nightly", lambda found: found["status"].get("phase") == "Suspended", "suspended")
    perform(stage, cast.dora, "kubectl", "bascule", "explain", "nightly")
    idle = life_proofs.nothing_runs(stage.cluster, stage.tenant, body)
    stage.show(idle)
    perform(stage, cast.dora, "kubectl", "bascule", "resume", "nightly")
    body = _until(stage, "nightly", lambda found: found["status"].get("phase") == "Succeeded", "published")
    perform(stage, cast.dora, "kubectl", "bascule", "history", "nightly")
    found = life_proofs.one_run(body)
    stage.show(found)
    return [idle, found]


def _deletion(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(3, "a deletion in mid-flight: the image is built, its candidate pushed, a test of an hour runs")
    body = _until(stage, "doomed", lambda found: _state(found, "test-soak") == "Running", "testing")
    perform(stage, cast.dora, "kubectl", "bascule", "get", "doomed")
    repository = body["spec"]["publish"]["repository"]
    there = life_proofs.candidate_there(stage.cluster, repository)
    stage.show(there)
    perform(stage, cast.dora, "kubectl", "delete", "imagebuild", "doomed", "--wait=false")
    _follow_to_the_end(stage, cast.dora, "doomed")
    uid = body["metadata"]["uid"]
    found = [
        life_proofs.gone(stage.cluster, stage.tenant, "doomed"),
        proofs.candidates_gone(stage.cluster, repository, "doomed was deleted half-way"),
        proofs.nothing_published(stage.cluster, repository),
        proofs.no_leftovers(stage.cluster, stage.tenant, uid),
    ]
    stage.show(*found)
    return [there, *found]


def _undo(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(4, "a deletion after the fact: web is published and says onDelete: Always")
    body = _until(stage, "web", lambda found: found["status"].get("phase") == "Succeeded", "published")
    perform(stage, cast.dora, "kubectl", "delete", "imagebuild", "web", "--wait=false")
    _follow_to_the_end(stage, cast.dora, "web")
    found = [
        life_proofs.gone(stage.cluster, stage.tenant, "web"),
        life_proofs.unpublished(stage.cluster, body),
    ]
    stage.show(*found)
    return found


def _force(stage: Stage, cast: Cast) -> list[Proof]:
    stage.act(5, "dora may delete, which undoes; to let go of what is left is a right of its own")
    refused = perform(
        stage, cast.dora, "kubectl", "bascule", "force-delete", "nightly", "--yes", "--reason", "impatience"
    )
    annotation = "bascule.dev/force-delete=impatience"
    by_hand = perform(stage, cast.dora, "kubectl", "annotate", "imagebuild", "nightly", annotation)
    found = [
        life_proofs.ended(
            "a force-delete without the verb force is refused",
            "kubectl bascule force-delete nightly   (as dora)",
            refused,
            4,
        ),
        life_proofs.ended(
            "and by the API server, whatever the tool",
            "kubectl annotate imagebuild nightly bascule.dev/force-delete=…   (as dora)",
            by_hand,
            1,
        ),
        life_proofs.untouched(stage.cluster, stage.tenant, "nightly"),
    ]
    stage.show(*found)
    return found


def _follow_to_the_end(stage: Stage, person: Person, name: str) -> None:
    """`get --watch` ends when the resource has gone."""
    perform(stage, person, "kubectl", "bascule", "get", name, "--watch", seconds=PATIENCE)


def _until(stage: Stage, name: str, wanted: Callable[[Body], bool], what: str) -> Body:
    return until(stage, "imagebuild", name, wanted, what, PATIENCE)


def _state(body: Body, step: str) -> str:
    return next((found["state"] for found in body["status"].get("steps", []) if found["name"] == step), "")
