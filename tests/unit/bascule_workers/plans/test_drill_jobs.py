"""Jobs of a drill: where they run, what they may read and reach, and the times that their containers report."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api import names
from bascule_api.parameters import Parameter
from bascule_api.procedures import (
    Container,
    PinnedProcedure,
    ProcedureSpec,
    SecurityProfile,
    Template,
    Use,
    Volume,
    VolumeMount,
)
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.dr_drills import RestoreRequest
from bascule_workers.errors import StepFailedError
from bascule_workers.plans import drill_jobs
from bascule_workers.plans.credentials import RunCredentials
from bascule_workers.plans.jobs import JobSettings, render_job

UID = "0b1c6d1e"
NAMESPACE = names.drill_namespace(UID, 2)
RUN = RunIdentity(kind="DRDrill", namespace="acme-dev", name="shop", uid=UID, number=2, revision="1-a", tenant="acme")
TENANT = TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="steps")
SETTINGS = JobSettings("tools:1", "bascule-ca")


def pinned(*volumes: Volume, **more: Any) -> PinnedProcedure:
    mounts = [VolumeMount(name=volume.name, mount_path=f"/{volume.name}") for volume in volumes]
    spec = ProcedureSpec(
        uses=[Use.DR_DRILL_RESTORE],
        parameters=[Parameter(name="claim"), Parameter(name="other")],
        template=Template(container=Container(image="restore:1", volume_mounts=mounts), volumes=list(volumes)),
        **more,
    )
    return PinnedProcedure(name="restore", generation=1, hash="h", spec=spec)


def request(procedure: PinnedProcedure | None = None, **more: Any) -> RestoreRequest:
    fields = {
        "run": RUN,
        "tenant": TENANT,
        "step": "restore",
        "namespace": NAMESPACE,
        "procedure": procedure or pinned(),
        "parameters": {},
        "timeout_seconds": 600,
        "keep_seconds": 600,
    }
    return RestoreRequest.model_validate(fields | more)


def pod(of: RestoreRequest) -> dict[str, Any]:
    spec: dict[str, Any] = render_job(of, SETTINGS, drill_jobs.restore_traits(of))["spec"]["template"]["spec"]
    return spec


def test_a_restore_runs_in_the_drills_namespace_as_its_own_service_account() -> None:
    job = render_job(request(), SETTINGS, drill_jobs.restore_traits(request()))
    assert job["metadata"]["namespace"] == NAMESPACE
    assert pod(request())["serviceAccountName"] == "default"
    assert pod(request())["automountServiceAccountToken"] is False


def test_only_the_restores_pod_bears_the_label_that_lets_it_out() -> None:
    restore = render_job(request(), SETTINGS, drill_jobs.restore_traits(request()))
    probe = render_job(request(), SETTINGS, drill_jobs.probe_traits(request(), "rows", 1, "", 0))
    labels = [job["spec"]["template"]["metadata"]["labels"].get(names.LABEL_EGRESS) for job in (restore, probe)]
    assert labels == [names.EGRESS_RESTORE, None]


def test_secrets_reach_the_steps_own_container_only_and_as_files() -> None:
    spec = pod(request(secret=True, environment_secret="db"))
    [main], prepare = spec["containers"], spec["initContainers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in main["volumeMounts"]}
    assert mounted["bascule-backup"] == "/run/bascule/backup"
    assert mounted["bascule-environment"] == "/run/bascule/environment"
    assert not [m for c in prepare for m in c["volumeMounts"] if m["name"] in ("bascule-backup", "bascule-environment")]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    copy = drill_jobs.backup_secret_name(request())
    assert secrets == {"bascule-backup": copy, "bascule-environment": "db"}


def test_a_probe_sees_the_claimed_recovery_point_and_never_the_backups_keys() -> None:
    of = request(secret=True)
    traits = drill_jobs.probe_traits(of, "rows", 2, "db", 1_763_816_741)
    spec = render_job(of, SETTINGS, traits)["spec"]["template"]["spec"]
    env = {entry["name"]: entry.get("value") for entry in spec["containers"][0]["env"]}
    assert env["BASCULE_RECOVERY_POINT"] == "2025-11-22T13:05:41Z"
    assert [volume["name"] for volume in spec["volumes"] if "secret" in volume] == ["bascule-environment"]


def test_the_copy_of_the_keys_holds_those_for_the_backup_and_no_others() -> None:
    own = RunCredentials({"backup.access-key": "A", "git.password": "G", "backup.config.json": "{}"})
    copy = drill_jobs.backup_secret(request(), own)
    assert sorted(copy["data"]) == ["access-key", "config.json"]
    assert copy["metadata"]["namespace"] == NAMESPACE
    assert copy["metadata"]["labels"][names.LABEL_RUN] == names.run_label(UID, 2)


def test_a_claim_is_mounted_by_the_parameter_that_names_it() -> None:
    of = request(pinned(Volume(name="data", claim_from="claim")), parameters={"claim": "files"})
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "files"}} in pod(of)["volumes"]


@pytest.mark.parametrize("claim", ["", "../x", "Files", "a" * 300, "a b"])
def test_what_names_no_claim_is_refused(claim: str) -> None:
    with pytest.raises(StepFailedError, match="names no PersistentVolumeClaim"):
        pod(request(pinned(Volume(name="data", claim_from="claim")), parameters={"claim": claim}))


def test_no_step_outside_of_a_drill_mounts_a_claim() -> None:
    of = request(pinned(Volume(name="data", claim_from="claim")), parameters={"claim": "files"}, namespace="")
    with pytest.raises(StepFailedError, match="it is for drills"):
        pod(of)


@pytest.mark.parametrize(
    ("procedure", "namespace", "match"),
    [
        pytest.param(None, NAMESPACE, "not pinned", id="none"),
        pytest.param(pinned(security_profile=SecurityProfile.HOST), NAMESPACE, "securityProfile Host", id="host"),
        pytest.param(pinned(), "acme-dev", "is not the namespace of this drill", id="a live namespace"),
    ],
)
def test_a_procedure_has_to_be_fit_for_a_drill(procedure: PinnedProcedure | None, namespace: str, match: str) -> None:
    with pytest.raises(StepFailedError, match=match):
        drill_jobs.checked(request(namespace=namespace), procedure, Use.DR_DRILL_RESTORE)


def test_a_procedure_for_another_use_is_refused() -> None:
    with pytest.raises(StepFailedError, match="not for DRDrill/probe"):
        drill_jobs.checked(request(), pinned(), Use.DR_DRILL_PROBE)


@pytest.mark.parametrize(
    ("said", "seconds", "why"),
    [
        pytest.param("2025-11-22T13:05:41Z", 1_763_816_741, "", id="UTC"),
        pytest.param("2025-11-22T14:05:41.999+01:00", 1_763_816_741, "", id="an offset and a fraction: rounded down"),
        pytest.param("", 0, "", id="not reported"),
        pytest.param("yesterday", 0, "is no RFC 3339 time", id="no time"),
        pytest.param("2025-11-22T13:05:41", 0, "has no offset", id="a local time says nothing"),
        pytest.param("0001-01-01T00:00:00+00:00", 0, "before 1970", id="before all"),
    ],
)
def test_a_reported_time_is_read(said: str, seconds: int, why: str) -> None:
    found, problem = drill_jobs.moment({"recoveryPoint": said}, "recoveryPoint")
    assert found == seconds
    assert why in problem
