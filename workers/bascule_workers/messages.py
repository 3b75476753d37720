"""Messages between workflows and activities. No secret value is ever in one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from bascule_api.base import ApiModel, ParameterValue
from bascule_api.conditions import WaitKind
from bascule_api.image_builds import BuildArtifact, GitSource, Publication, PublishedTag
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunIdentity, TenantFacts

T = TypeVar("T")


class Done(ApiModel, Generic[T]):
    """An activity's answer: the step is carried out."""

    kind: Literal["Done"] = "Done"
    value: T
    log: str = ""
    """Digest of the step's whole log, where it is kept."""
    message: str = ""
    """What people should know of a step that succeeded."""


class NotYet(ApiModel):
    """An activity's answer: nothing is wrong, ask again."""

    kind: Literal["NotYet"] = "NotYet"
    reason: str
    """What goes on, for people; handed back with the next call."""
    waits_for: WaitKind | None = None
    subject: str = ""
    again_after: int = 0
    """Seconds."""
    cursor: str = ""
    """How far it came: handed back with the next call, unread by workflows."""


class ErrorDetails(ApiModel):
    """What a failed activity says besides type and message."""

    new_job: bool = False
    log: str = ""
    log_end: str = ""
    results: dict[str, str] = {}
    """What the step's container reported although it failed."""


class StepRequest(ApiModel):
    """What every activity's input begins with: policy and audit read it."""

    run: RunIdentity
    tenant: TenantFacts
    step: str
    compensating: bool = False
    note: str = ""
    """The reason of the last NotYet."""
    cursor: str = ""
    """That of the last NotYet."""
    job_attempt: int = 1
    """Rises when a Job was lost or failed in a way that may be repeated."""


class SecretUse(ApiModel):
    """A Secret of the resource's namespace that the run wants to use."""

    field: str
    """Where the spec names it."""
    name: str
    use: Literal["git", "signing", "registry", "ssh", "http", "backup"]
    hosts: list[str] = []
    """Where its content would be sent."""


class PrepareRequest(StepRequest):
    secrets: list[SecretUse]


class StopJobsRequest(StepRequest):
    finished_too: bool = False
    namespace: str = ""
    """Where the Jobs run; empty: in the tenant's steps namespace."""


class Earlier(StrEnum):
    """Which copies of logins that earlier runs of the resource kept are deleted."""

    NONE = "None"
    REPLACED = "Replaced"
    """Those of the same Secret: their logins are in the new copy too."""
    ALL = "All"


class ReleaseRequest(StepRequest):
    """Deleting a run's copies."""

    keep: bool = False
    """Whether a copy of the registry's login stays, since something may still have to be undone with it."""
    secret: str = ""
    """Name of the tenant's Secret that the login was copied from."""
    earlier: Earlier = Earlier.NONE


class Left(ApiModel):
    """What a counterweight could not take back, each as a reference that a person can look up."""

    items: list[str] = []
    found: int = 0
    """How much it took back."""


class GitPin(ApiModel):
    url: str
    commit: str
    path: str = ""
    login: bool = False
    """Whether the run's Secret holds credentials for it."""


class SourcePin(ApiModel):
    """What a run builds from, until its end."""

    revision: str
    git: GitPin | None = None
    part: str = ""
    """Of a run with several sources from ConfigMaps: which one; part of the name of the run's copy."""


class ResolveRequest(StepRequest):
    git: GitSource | None = None
    config_map: str | None = None


class ProcedureRequest(StepRequest):
    """A step that a Procedure's Job carries out."""

    procedure: PinnedProcedure
    parameters: dict[str, ParameterValue]
    source: SourcePin | None = None
    """What the step finds at `/bascule/source`."""
    timeout_seconds: int
    keep_seconds: int
    """How long the finished Job and its log stay."""
    namespace: str = ""
    """Where the Job runs; empty: in the tenant's steps namespace."""

    @property
    def job_namespace(self) -> str:
        return self.namespace or self.tenant.steps_namespace


class JobRequest(ProcedureRequest):
    """A step of an ImageBuild that a Job carries out."""

    candidate: str
    """`repository:tag` of the candidate."""
    image: str = ""
    """`repository@digest` of the candidate, once there is one."""
    cache: str = ""
    """The repository that keeps layers for later builds; empty: none does."""
    registry_login: bool = False


class BaseImage(ApiModel):
    """An image that a build was made from."""

    reference: str
    """`host/path`, with `:tag` if it was asked for by one."""
    digest: str


class Candidate(ApiModel):
    """An image that the run built."""

    repository: str
    digest: str
    media_type: str
    size: int
    """Bytes of manifest, configuration and layers."""
    bases: list[BaseImage] = []
    """What the build reported that it pulled."""
    artifacts: list[BuildArtifact] | None = None
    """What the build made outside of the registry; None where it did not say."""

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


class BuildRequest(JobRequest):
    repository: str
    """Where it will be published; asked first, so that a registry that refuses ends the run before the build."""
    candidates: str
    tag: str


class DeleteArtifactsRequest(StepRequest):
    """Deletes what a build made outside of the registry."""

    artifacts: list[BuildArtifact]
    """As far as they are known."""
    job: JobRequest | None = None
    """The step that deletes them; None where the build's Procedure names none."""
    problem: str = ""
    """Why there is no such step although something may be there: it is left, and told along with what is known."""


class TestReport(ApiModel):
    __test__ = False  # a message, not a test case of pytest's

    message: str = ""


class ImageRequest(StepRequest):
    """A step on the candidate."""

    image: Candidate
    registry_login: bool = False


class SbomRequest(ImageRequest):
    created: int
    """Epoch seconds that the document bears: the same for every repetition."""


class UsedProcedure(ApiModel):
    """A pinned Procedure, and the steps that it carried out."""

    name: str
    generation: int
    hash: str
    steps: list[str]


class BuildFacts(ApiModel):
    """What a run's provenance tells besides who ran; the workflow knows it, so that repetitions tell the same."""

    source: SourcePin
    parameters: dict[str, Any]
    """What the tenant asked for: the spec's source, build and tests."""
    procedures: list[UsedProcedure]
    bases: list[BaseImage] = []
    invocation: str
    """Temporal namespace, workflow and its run."""
    started: int
    finished: int
    """Epoch seconds, of the run's start and the build's end."""


class AttestRequest(ImageRequest):
    facts: BuildFacts


class Attached(ApiModel):
    """What became of an attestation."""

    attached: bool
    reason: str = ""
    """Why there is none."""


class VerifyAttestationsRequest(AttestRequest):
    sbom: bool
    provenance: bool
    """Which of them there must be."""


class VerifiedAttestations(ApiModel):
    """Digests of the attestations' manifests; absent where there is none by design."""

    sbom: str | None = None
    provenance: str | None = None


class Verified(ApiModel):
    signature: str
    """Digest of the signature's manifest."""


class PublishRequest(ImageRequest):
    repository: str
    tags: list[str]


class Published(ApiModel):
    tags: list[PublishedTag]


class RestoreTagsRequest(PublishRequest):
    pass


class RemoveCandidateRequest(StepRequest):
    candidates: str
    tag: str
    digest: str | None = None
    """Absent: found by the tag."""
    registry_login: bool = False
    secret: SecretUse | None = None
    """After the run's end: the tenant's Secret as it is now comes before the run's copy."""


class UndoPublicationsRequest(StepRequest):
    """Taking back what runs of one resource published in one repository, after their end."""

    repository: str
    tags: list[str] = []
    """Tags that the run itself may have moved."""
    candidates: str = ""
    """Where the run's candidate tells which digest is the run's; empty: nothing of the run itself is here."""
    tag: str = ""
    """The candidate's tag."""
    standing: list[Publication] = []
    """Publications of finished runs that go as well."""
    secret: SecretUse | None = None
