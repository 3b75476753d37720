"""What a PatchCampaign may ask for, and what its run is given."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.conditions import Phase, Reason
from bascule_api.procedures import Procedure, Use
from bascule_api.progress import RunIdentity
from bascule_operator.decisions.grounds import find_grounds
from bascule_operator.decisions.moves import identity_of
from bascule_operator.decisions.patch_campaigns import continued, forbidden, refused, wants, workflow_input
from bascule_operator.decisions.views import Grounds, Problem
from tests.support.campaign_subjects import (
    PROCEDURES,
    ACampaign,
    a_spec,
    campaign,
    grounds,
    inventory,
    procedure,
    revision_of,
    spec,
    with_nodes,
)

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
MASTER = "node-role.kubernetes.io/master"


def selecting(*expressions: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"targets": {"nodes": {"selector": {"matchLabels": labels, "matchExpressions": list(expressions)}}}}


def where(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def sized(*sizes: int | str | None) -> dict[str, Any]:
    return {"waves": [{"name": f"w{at}"} | ({"size": size} if size else {}) for at, size in enumerate(sizes)]}


def test_every_procedure_is_wanted_where_the_spec_names_it() -> None:
    gates = [
        {"name": "errors", "http": {"url": "http://a"}},
        {"name": "own", "procedure": {"name": "check", "parameters": {"limit": 1}}},
    ]
    made = a_spec(verify={"procedure": "check-host"}, gates=gates)
    assert [(want.path, want.field, want.use, want.procedure) for want in wants(made)] == [
        ("spec.patch", "procedure", Use.PATCH_CAMPAIGN_PATCH, "apt-upgrade"),
        ("spec.rollback", "procedure", Use.PATCH_CAMPAIGN_ROLLBACK, "apt-rollback"),
        ("spec.verify", "procedure", Use.PATCH_CAMPAIGN_VERIFY, "check-host"),
        ("spec.gates[1].procedure", "name", Use.PATCH_CAMPAIGN_GATE, "check"),
    ]
    assert wants(made)[-1].parameters == {"limit": 1}


FINE = [
    pytest.param(spec(), id="a number, then the rest"),
    pytest.param(spec(**sized(1, 5, "10%", "100%")), id="numbers, then percentages, that rise each"),
    pytest.param(spec(**sized(5, "10%", None)), id="a number and a percentage, which only the targets can compare"),
    pytest.param(
        spec(windows=[{"start": "22:00", "end": "04:00", "timeZone": "Europe/Berlin"}]), id="a time zone that there is"
    ),
]


@pytest.mark.parametrize("body", FINE)
def test_what_can_be_run_is_not_refused(body: dict[str, Any]) -> None:
    assert refused(a_spec(**body)) is None


def window(zone: str) -> dict[str, Any]:
    return {"windows": [{"start": "22:00", "end": "04:00", "timeZone": zone}]}


REFUSED = [
    pytest.param(sized(5, 5, None), "spec.waves[1].size: 5 is not more than 5", id="waves that stay"),
    pytest.param(sized("20%", "10%"), "spec.waves[1].size: 10% is not more than 20%", id="waves that fall"),
    pytest.param(sized(5, "50%", 5), "spec.waves[2].size: 5 is not more than 5", id="not beside each other"),
    pytest.param(window("Europe/Atlantis"), "spec.windows[0].timeZone: Europe/Atlantis is no", id="no such time zone"),
    pytest.param(window("Europe"), "Europe is no time zone", id="a folder of time zones"),
    pytest.param(window("../../etc/passwd"), "is no time zone", id="a path out of them"),
    pytest.param(
        {"rollback": {"procedure": "apt-rollback", "parameters": {"list": "x" * 5000}}},
        "the limit is 4096",
        id="a rollback that the status could not keep",
    ),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_no_run_could_be_made_of_is_refused(changes: dict[str, Any], words: str) -> None:
    told = refused(a_spec(**changes))
    assert told is not None
    assert (told.reason, told.final) == (Reason.SPEC_INVALID, True)
    assert words in told.message


WITHIN = [
    pytest.param(selecting(pool="web"), id="the Tenant's label"),
    pytest.param(selecting(zone="a"), id="another label, beside which the Tenant's holds"),
    pytest.param(selecting(where("pool", "In", "web", "db")), id="among others"),
    pytest.param(selecting(where("pool", "NotIn", "db")), id="not another"),
    pytest.param(selecting(where("pool", "Exists")), id="whatever the label says"),
    pytest.param(selecting(where(CONTROL_PLANE, "DoesNotExist")), id="whatever is no control plane"),
    pytest.param(inventory(patch={"procedure": "playbook"}, rollback={"procedure": "playbook"}), id="hosts"),
]


@pytest.mark.parametrize("changes", WITHIN)
def test_targets_that_the_tenant_may_have_are_not_forbidden(changes: dict[str, Any]) -> None:
    assert forbidden(a_spec(**changes), grounds()) is None


OUTSIDE = [
    pytest.param(selecting(pool="db"), "matchLabels asks for pool=db, but the tenant acme", id="another value"),
    pytest.param(selecting(where("pool", "In", "db", "cache")), "pool In (db, cache)", id="none of these"),
    pytest.param(selecting(where("pool", "NotIn", "web")), "pool NotIn (web)", id="anything but the Tenant's"),
    pytest.param(selecting(where("pool", "DoesNotExist")), "pool DoesNotExist", id="without the Tenant's label"),
    pytest.param(selecting(**{CONTROL_PLANE: ""}), f"{CONTROL_PLANE} is on nodes of the control plane", id="control"),
    pytest.param(selecting(where(MASTER, "Exists")), f"{MASTER} is on nodes of the control plane", id="master"),
    pytest.param(selecting(where(CONTROL_PLANE, "In", "")), "control plane", id="control plane by its value"),
]


@pytest.mark.parametrize(("changes", "words"), OUTSIDE)
def test_targets_that_the_tenant_may_not_have_are_forbidden(changes: dict[str, Any], words: str) -> None:
    told = forbidden(a_spec(**changes), grounds())
    assert told is not None
    assert (told.reason, told.final) == (Reason.TARGETS_FORBIDDEN, True)
    assert words in told.message


def test_a_tenant_without_nodes_patches_none() -> None:
    told = forbidden(a_spec(), grounds(with_nodes()))
    assert told is not None
    assert told.reason is Reason.TARGETS_FORBIDDEN
    assert "the tenant acme may patch no nodes" in told.message


def test_a_tenant_to_whom_the_control_plane_was_given_does_not_get_it() -> None:
    told = forbidden(a_spec(), grounds(with_nodes(**{CONTROL_PLANE: ""})))
    assert told is not None
    assert told.reason is Reason.TARGETS_FORBIDDEN


def test_a_tenant_without_nodes_may_patch_hosts() -> None:
    made = a_spec(**inventory(patch={"procedure": "playbook"}, rollback={"procedure": "playbook"}))
    assert forbidden(made, grounds(with_nodes())) is None


PLAYBOOK = {"procedure": "playbook"}
MISUSED = [
    pytest.param(
        {"patch": {"procedure": "apt-upgrade", "files": {"name": "site"}}},
        "spec.patch.files: the Procedure apt-upgrade has the securityProfile Host",
        id="files for a host Procedure",
    ),
    pytest.param(
        {"patch": {"procedure": "playbook"}, "rollback": {"procedure": "apt-rollback", "files": {"name": "site"}}},
        "spec.rollback.files: the Procedure apt-rollback has the securityProfile Host",
        id="files for a host rollback",
    ),
    pytest.param(inventory(), "spec.patch: the Procedure apt-upgrade runs on a node, and hosts", id="a host's patch"),
    pytest.param(
        inventory(patch={"procedure": "playbook"}),
        "spec.rollback: the Procedure apt-rollback runs on a node",
        id="a host's rollback",
    ),
    pytest.param(
        inventory(patch=PLAYBOOK, rollback=PLAYBOOK, verify={"procedure": "check-host"}),
        "spec.verify: the Procedure check-host runs on a node",
        id="a host's check",
    ),
    pytest.param(
        inventory(patch={"procedure": "restarting-playbook"}, rollback=PLAYBOOK),
        "spec.patch: the Procedure restart runs on a node",
        id="a host's reboot",
    ),
    pytest.param(
        {"gates": [{"name": "own", "procedure": {"name": "check-node"}}]},
        "spec.gates[0].procedure: the Procedure check-node runs on a node, and a gate has no target",
        id="a gate on a node",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), MISUSED)
def test_procedures_that_do_not_fit_are_forbidden(changes: dict[str, Any], words: str) -> None:
    told = forbidden(a_spec(**changes), grounds())
    assert told is not None
    assert (told.reason, told.final) == (Reason.PROCEDURE_FORBIDDEN, True)
    assert words in told.message


def test_files_for_a_procedure_without_host_access_are_allowed() -> None:
    made = a_spec(patch={"procedure": "playbook", "files": {"name": "site"}})
    assert forbidden(made, grounds()) is None


# What reboots

REBOOTS: list[Any] = [
    pytest.param(procedure("restart", "reboot"), None, id="for that use"),
    pytest.param(None, (Reason.PROCEDURE_NOT_FOUND, "restart, which spec.reboot of the Procedure"), id="not there"),
    pytest.param(procedure("restart", "patch"), (Reason.PROCEDURE_FORBIDDEN, "cannot reboot"), id="for another use"),
    pytest.param(
        procedure("restart", "reboot", parameters=[{"name": "how", "required": True}]),
        (Reason.PROCEDURE_FORBIDDEN, "needs parameters"),
        id="asks for a parameter",
    ),
    pytest.param(
        procedure("restart", "reboot", tenants=["others"]), None, id="offered to others: not the tenant's choice"
    ),
]


@pytest.mark.parametrize(("restart", "problem"), REBOOTS)
def test_what_reboots_after_a_patch_is_pinned_along_with_it(
    restart: Procedure | None, problem: tuple[Reason, str] | None
) -> None:
    procedures = {name: item for name, item in PROCEDURES.items() if name != "restart"}
    procedures |= {"restart": restart} if restart else {}
    wanted = wants(a_spec(patch={"procedure": "restarting-playbook"}))
    found = find_grounds("acme-dev", wanted, {"acme": with_nodes(pool="web")}, procedures)
    if problem is None:
        assert isinstance(found, Grounds)
        assert set(found.procedures) == {"restarting-playbook", "restart", "apt-rollback"}
    else:
        assert isinstance(found, Problem)
        assert found.reason is problem[0]
        assert problem[1] in found.message


# What a run continues


def past(number: int, phase: Phase = Phase.FAILED, revision: str = "") -> dict[str, Any]:
    return {
        "number": number, "revision": revision or revision_of(spec()), "trigger": "Request", "phase": str(phase),
    }  # fmt: skip


def history(*runs: dict[str, Any]) -> ACampaign:
    return campaign().saying(history=list(runs))


CONTINUED = [
    pytest.param(history(past(1)).recording(1), [1], id="a failed run is continued"),
    pytest.param(history(past(1, Phase.CANCELLED)).recording(1), [1], id="a cancelled one too"),
    pytest.param(history(past(1, Phase.SUCCEEDED)).recording(1), [], id="after a success all is patched again"),
    pytest.param(history(past(1, revision="1-other")).recording(1), [], id="another revision is not continued"),
    pytest.param(history(past(3), past(2), past(1)).recording(3, 1), [3, 1], id="all in a row, less those without"),
    pytest.param(
        history(past(3), past(2, Phase.SUCCEEDED), past(1)).recording(3, 2, 1), [3], id="back to the last success"
    ),
    pytest.param(history(past(2), past(1, revision="1-other")).recording(2, 1), [2], id="back to the last edit"),
    pytest.param(history(past(1)).recording(), [], id="what was taken back is not left out"),
    pytest.param(history(past(1)), [], id="no record"),
    pytest.param(campaign(), [], id="the first run"),
]


@pytest.mark.parametrize(("made", "numbers"), CONTINUED)
def test_a_run_continues_those_of_its_revision_that_did_not_succeed(made: ACampaign, numbers: list[int]) -> None:
    found = continued(made.status, revision_of(spec()))
    assert [run.number for run in found] == numbers
    assert all(run.workflow_id.endswith(f"/{run.number}") for run in found)


def test_the_input_has_what_the_run_may_touch_and_what_it_leaves_out() -> None:
    made = history(past(1)).recording(1).running(number=2, run_id="")
    run: RunIdentity = identity_of(made.subject, made.status.run) if made.status.run else pytest.fail("no run")
    told = workflow_input(a_spec(), made.status, run, grounds())
    assert told.node_selector == {"pool": "web"}
    assert [(run.number, run.run_id) for run in told.continues] == [(1, "run-1")]
    assert set(told.procedures) >= {"apt-upgrade", "apt-rollback"}
    assert (told.run.number, told.timeout_seconds) == (2, 7200)
