"""Names that both banks of the bridge agree on: labels, annotations, workflow ids, queues, Jobs."""

from __future__ import annotations

import hashlib
import re

GROUP = "bascule.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/compensate"
TENANT_FINALIZER = f"{GROUP}/tenant"

# annotations that people write
REQUESTED_AT = f"{GROUP}/requested-at"
CANCEL = f"{GROUP}/cancel"
FORCE_DELETE = f"{GROUP}/force-delete"

# reasons that a run's cancellation carries
CANCEL_DELETED = "the resource is deleted"
CANCEL_DELETED_RELEASES_ONLY = "the resource is deleted: releases only"
"""`spec.compensation.onDelete` is `Never`: the run releases what it holds, and undoes nothing."""

# labels and annotations on what runs make
LABEL_TENANT = f"{GROUP}/tenant"
LABEL_RUN = f"{GROUP}/run"
LABEL_STEP = f"{GROUP}/step"
LABEL_TARGET = f"{GROUP}/target"
LABEL_SPEC_HASH = f"{GROUP}/spec-hash"
LABEL_SECURITY_PROFILE = f"{GROUP}/security-profile"
"""On the Jobs of Host Procedures and their pods: `Host`. The admission policies let only those have a node itself."""
LABEL_KIND = f"{GROUP}/kind"
LABEL_STEPS_OF = f"{GROUP}/steps-of"
"""On a steps namespace: its tenant. The admission policies hold where it is."""
LABEL_DRILL_OF = f"{GROUP}/drill-of"
"""On the namespace of a drill: its tenant. The admission policies hold where it is."""
LABEL_EGRESS = f"{GROUP}/egress"
EGRESS_RESTORE = "restore"
"""The label's value on the only pod of a drill that may reach out of the drill's namespace."""
LABEL_DRILL = f"{GROUP}/drill"
"""On what a drill applied: its run, as `run_label`."""
ANNOTATION_APPLY = f"{GROUP}/apply"
"""On a manifest of a drill's environment: `AfterRestore`."""
ANNOTATION_RUN = f"{GROUP}/run"
ANNOTATION_RESOURCE = f"{GROUP}/resource"
LABEL_CORDONED_BY = f"{GROUP}/cordoned-by"
"""On a node, beside `bascule.dev/run`: the run that cordoned it, as `run_label`. Absent: somebody else had before."""
ANNOTATION_TRACEPARENT = f"{GROUP}/traceparent"
"""On a step's Job and pod: the trace that it belongs to, as its containers find it in `TRACEPARENT`."""
LABEL_KEPT_FOR = f"{GROUP}/kept-for"
"""On a copy of a registry's login that outlives its run: uid of the resource whose publications it can undo."""
ANNOTATION_SECRET = f"{GROUP}/secret"
"""On such a copy: name of the Secret that it was copied from."""

# what a tenant's Secret must carry to be used
LABEL_USE = f"{GROUP}/use"
ANNOTATION_HOST = f"{GROUP}/host"

IMAGE_RUN_ANNOTATION = "dev.bascule.run"
"""Annotation in an image's manifest: `<uid>/<number>`, so that a digest belongs to one run."""

# Temporal
MEMO_PROGRESS = "progress"
MEMO_RESULT = "result"
MEMO_RUN = "run"
MEMO_PATCHED = "patched"
"""Of a PatchCampaign: which targets it patched, as `bascule_workers.plans.patched` packs them."""
MEMO_BATCHES = "batches"
"""Of a PatchCampaign: the first and last number of its batches, by wave and by `<wave>/rollback`. The memo `patched` of
each says what it patched, or rolled back: exact even where the campaign was ended before it heard of it."""
SEARCH_UPDATED_AT = "BasculeUpdatedAt"
SEARCH_KIND = "BasculeKind"
SEARCH_UID = "BasculeUid"
SEARCH_PHASE = "BasculePhase"
SIGNAL_DESIRED = "desired"
UPDATE_APPROVAL = "approval"
SIGNAL_REPORT = "report"
"""From a campaign's batch to the campaign."""
SIGNAL_HALT = "halt"
"""From a campaign to its batches: bring to its end what has begun, and begin no more."""

_NAME_LIMIT = 63


def workflow_id(kind: str, uid: str, number: int) -> str:
    """`imagebuild/<uid>/<number>`: one id per run, for ever."""
    return f"{kind.lower()}/{uid}/{number}"


def undo_workflow_id(kind: str, uid: str, number: int, attempt: int) -> str:
    """`imagebuild/<uid>/<number>/undo/<attempt>`: taking back what a run left, after the run itself is over."""
    return f"{workflow_id(kind, uid, number)}/undo/{attempt}"


def undo_workflow(kind: str) -> str:
    """Name of the workflow that takes back what a run of this kind left."""
    return f"{kind}Undo"


def task_queue(tenant: str) -> str:
    return f"bascule-{tenant}"


def steps_namespace(tenant: str) -> str:
    """The namespace in which all Jobs of a tenant's runs live."""
    return f"bascule-steps-{tenant}"


def drill_namespace(uid: str, number: int) -> str:
    """The namespace of one run of a DRDrill."""
    return f"bascule-drill-{hashlib.sha256(run_of(uid, number).encode()).hexdigest()[:20]}"


def run_label(uid: str, number: int) -> str:
    """The value of the label `bascule.dev/run`: fits a label, unlike the `<uid>/<number>` of the annotation."""
    return f"{uid}.{number}"


def run_of(uid: str, number: int) -> str:
    """`<uid>/<number>`, as annotations and image manifests carry it."""
    return f"{uid}/{number}"


def object_name(uid: str, number: int, *parts: str) -> str:
    """A name of at most 63 characters for what a run makes, readable first and unique by its hash.

    The hash covers all parts unshortened, so that two long step names never meet in one object.
    """
    digest = hashlib.sha256("\0".join((uid, str(number), *parts)).encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")[: _NAME_LIMIT - 20].strip("-")
    return "-".join(part for part in (f"r{number}", readable, digest) if part)


def lease_name(repository: str) -> str:
    """The Lease under which a repository's tags are moved."""
    return f"publish-{hashlib.sha256(repository.encode()).hexdigest()[:20]}"


def target_lease_name(target: str) -> str:
    """The Lease in the steps namespace that a campaign holds while it works on a node or host."""
    return f"target-{hashlib.sha256(target.encode()).hexdigest()[:20]}"


def target_label(target: str) -> str:
    """The value of the label `bascule.dev/target`: the name itself where it fits a label."""
    if len(target) <= _NAME_LIMIT and re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", target):
        return target
    return target_lease_name(target)


def batch_workflow_id(parent: str, wave: str, batch: int, *, rollback: bool = False) -> str:
    """`patchcampaign/<uid>/<number>/canary/3`: the child workflow that works on a batch of a wave's targets."""
    return f"{parent}/{wave}/{'rollback/' if rollback else ''}{batch}"
