"""ImageBuild: resolve → build → candidate → tests in parallel → SBOM → sign → attest → verify → publish."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from bascule_api import revisions
from bascule_api.base import (
    ATOMIC,
    ApiModel,
    Column,
    Digest,
    DnsLabel,
    Kind,
    ObjectName,
    Parameters,
    Repository,
    Resource,
    SecretReference,
    ShortText,
    Tag,
    Timeout,
    rules,
)
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunInput, RunResult, UndoInput
from bascule_api.runs import ApprovalSpec, RunSpec, RunStatus


class GitSource(ApiModel):
    """A commit of a git repository."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!self.url.matches('^https://[^/]*@') && !self.url.matches('^ssh://[^/@]*:[^/@]*@')",
                "credentials do not belong into the url: put them into a Secret and name it in source.git.secretRef",
            ),
            (
                "!has(self.path) || !self.path.matches('(^|/)[.][.](/|$)')",
                "source.git.path must stay within the repository: it cannot have .. in it",
            ),
        )
    }
    url: Annotated[str, StringConstraints(pattern=r"^(https|ssh)://[^\s@/]+@?[^\s/]+/.+$", max_length=1024)]
    """`https://…` or `ssh://…`; credentials belong into the Secret, never into the URL."""
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$", max_length=255)] = "HEAD"
    """A branch, a tag or a commit. A run pins the commit that it resolves to."""
    path: Annotated[str, StringConstraints(pattern=r"^[^/].*$|^$", max_length=512)] = ""
    """Folder within the repository."""
    secret_ref: SecretReference | None = None
    """Secret labelled `bascule.dev/use: git` with the annotation `bascule.dev/host`."""

    @property
    def host(self) -> str:
        """Host and port that credentials may be sent to."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class ConfigMapSource(ApiModel):
    """Files from a ConfigMap of the resource's namespace; each key is a file."""

    name: ObjectName
    """Name of the ConfigMap."""


class Source(ApiModel):
    """Where the files to build come from."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.git) != has(self.configMap)", "set exactly one of source.git and source.configMap")
        )
    }
    git: GitSource | None = None
    """A commit of a git repository."""
    config_map: ConfigMapSource | None = None
    """The keys of a ConfigMap as files."""


class Build(ApiModel):
    """How the image is built."""

    procedure: ObjectName = "buildah"
    """A Procedure with the use `ImageBuild/build`."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    timeout: Timeout | None = None
    """Limit of one attempt; default: the Procedure's."""


class Test(ApiModel):
    """A test that the candidate must pass. Tests run in parallel."""

    __test__ = False  # a model, not a test case of pytest's

    name: Annotated[DnsLabel, StringConstraints(max_length=40)]
    """Name of the test, unique in the list; its step is `test-<name>`."""
    procedure: ObjectName = "run-image"
    """A Procedure with the use `ImageBuild/test`."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    timeout: Timeout | None = None
    """Limit of one attempt; default: the Procedure's."""


class Sign(ApiModel):
    """With which key the image is signed."""

    key_secret_ref: SecretReference
    """Secret labelled `bascule.dev/use: signing` with the keys `cosign.key` and `cosign.password`."""


class Publish(ApiModel):
    """Where the image goes when all is well."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.candidateRepository) || self.candidateRepository != self.repository",
                "candidateRepository must differ from repository: deleting a candidate deletes every tag of its digest",
            )
        )
    }
    repository: Repository
    """Host and path, such as `registry.example.com/team/web`."""
    candidate_repository: Repository | None = None
    """Default: `<repository>-candidates`."""
    tags: Annotated[
        list[Tag], Field(min_length=1, max_length=16, json_schema_extra=ATOMIC | {"x-kubernetes-list-type": "set"})
    ]
    """Tags to move to the image once it is verified."""
    secret_ref: SecretReference | None = None
    """Secret of type `kubernetes.io/dockerconfigjson` labelled `bascule.dev/use: registry`."""
    approval: ApprovalSpec = ApprovalSpec()
    """Whether a person has to agree before the tags are moved."""

    @property
    def candidates(self) -> str:
        return self.candidate_repository or f"{self.repository}-candidates"

    @property
    def host(self) -> str:
        return self.repository.partition("/")[0]


class ImageBuildSpec(RunSpec):
    """What to build, how to test it, and where to publish it."""

    source: Source
    """Where the files to build come from."""
    build: Build = Build()
    """How the image is built."""
    tests: Annotated[
        list[Test],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """What the candidate has to pass before it is signed. Tests run in parallel."""
    sign: Sign
    """With which key the image is signed."""
    publish: Publish
    """Where the image goes when all is well."""


class SourceStatus(ApiModel):
    """What the source was resolved to."""

    revision: ShortText
    """The resolved commit, or the digest of the ConfigMap's content."""


class BuildArtifact(ApiModel):
    """Something that a build made outside of the registry, such as an image at a cloud provider."""

    builder: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """What made it, such as `mitchellh.amazonebs`."""
    id: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Its id there, such as `eu-west-1:ami-0123456789abcdef0`."""


class ImageStatus(ApiModel):
    """The image, as far as it is made."""

    reference: Annotated[str, StringConstraints(max_length=400)] = ""
    """`repository@digest`, once published."""
    digest: Digest
    """Digest of the image's manifest."""
    media_type: ShortText = ""
    """Media type of the image's manifest."""
    size: Annotated[int, Field(ge=0)] = 0
    """Bytes of manifest, configuration and layers."""
    candidate: Annotated[str, StringConstraints(max_length=400)] = ""
    """`candidateRepository@digest`, while it exists."""
    signature: Digest | None = None
    """Digest of the signature's manifest, once verified."""
    provenance: Digest | None = None
    """Digest of the provenance attestation's manifest, once verified."""
    sbom: Digest | None = None
    """Digest of the bill of materials' manifest, an attestation, once verified."""
    artifacts: Annotated[list[BuildArtifact], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """What the build made outside of the registry, while it exists."""


class PublishedTag(ApiModel):
    """A tag that this build moved."""

    name: Tag
    """The tag."""
    digest: Digest
    """What the build made it point at."""
    previous_digest: Digest | None = None
    """What the tag pointed at before; absent: it is new."""
    superseded_by: ShortText = ""
    """`namespace/name` of the ImageBuild that moved the tag later."""


class PublishedStatus(ApiModel):
    """What was published where."""

    repository: Annotated[str, StringConstraints(max_length=255)] = ""
    """Repository of the tags."""
    tags: Annotated[list[PublishedTag], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """The tags that were moved."""


class Publication(ApiModel):
    """Tags of one repository that still stand as this resource's runs moved them."""

    run: Annotated[int, Field(ge=1)]
    """Number of the run that moved them last."""
    repository: Repository
    """Repository of the tags."""
    digest: Digest
    """What they point at."""
    tags: Annotated[list[PublishedTag], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """The tags; `previousDigest` is where each was before the first of this resource's runs moved it."""
    secret: ShortText = ""
    """Name of the Secret with the registry's login."""
    kept: bool = False
    """Whether its run kept a copy of that login. An undo workflow deletes it, releases only where effects stay."""


class Elsewhere(ApiModel):
    """What one run made, or may have made, outside of the registry."""

    run: Annotated[int, Field(ge=1)]
    """Number of the run."""
    procedure: ShortText = ""
    """Name of the Procedure that deletes it; empty: none was named when the run started."""
    artifacts: Annotated[list[BuildArtifact], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """What the build reported. The Procedure looks by the run's name as well."""


class ImageBuildEffects(ApiModel):
    """The closed record that undoing works from, written by the operator and checked against the registry."""

    repository: Repository
    """Where the current or last run publishes."""
    candidates: Repository
    """Where its candidate is."""
    tags: Annotated[list[Tag], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """Tags that it may have moved."""
    secret: ShortText = ""
    """Name of the Secret with the registry's login."""
    standing: Annotated[list[Publication], Field(max_length=4, json_schema_extra=ATOMIC)] = []
    """Publications of finished runs that stand, the latest first."""
    undo_procedure: ShortText = ""
    """Name of the Procedure that deletes what the current or last run makes outside of the registry, if there is
    one."""
    elsewhere: Annotated[list[Elsewhere], Field(max_length=5, json_schema_extra=ATOMIC)] = []
    """What finished runs made there and what still stands, the latest first."""
    reported: Annotated[list[BuildArtifact], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """What a build that failed said that it had made there, until it is deleted."""


class ImageBuildStatus(RunStatus):
    """How the build stands."""

    source: SourceStatus | None = None
    """What the source was resolved to."""
    image: ImageStatus | None = None
    """The image, as far as it is made."""
    published: PublishedStatus | None = None
    """What was published where."""
    effects: ImageBuildEffects | None = None
    """What undoing works from; written with the intent of a run."""

    @property
    def stands(self) -> bool:
        effects = self.effects
        return bool(effects.standing or effects.elsewhere) if effects else self.published is not None

    @property
    def keeps(self) -> bool:
        return self.effects is not None and any(publication.kept for publication in self.effects.standing)

    @property
    def may_hold(self) -> bool:
        effects = self.effects
        return effects is not None and any((effects.secret, *(known.secret for known in effects.standing), self.keeps))

    @property
    def recorded(self) -> bool:
        return self.effects is not None


class ImageBuild(Resource):
    """A golden image: built, tested, signed, verified, published; and taken back when that is what deletion means."""

    spec: ImageBuildSpec
    status: ImageBuildStatus | None = None

    @property
    def revision(self) -> str:
        return revisions.revision(self.spec, REVISION_FIELDS)

    @property
    def procedures(self) -> dict[str, str]:
        """Step name to the name of its Procedure."""
        return {"build": self.spec.build.procedure} | {f"test-{test.name}": test.procedure for test in self.spec.tests}


REVISION_FIELDS = ("source", "build", "tests", "sign", "publish")


class ImageBuildInput(RunInput):
    """Input of the workflow `ImageBuild`."""

    spec: ImageBuildSpec
    procedures: dict[str, PinnedProcedure]
    """Pinned Procedures by name, for every step of the run and its counterweights."""


class ImageBuildResult(RunResult):
    """What the workflow `ImageBuild` found and made, as far as it came."""

    source: SourceStatus | None = None
    image: ImageStatus | None = None
    published: PublishedStatus | None = None
    reported: list[BuildArtifact] = []
    """What a build that failed said that it had made outside of the registry, unless it was deleted."""
    kept: bool = False
    """Whether a copy of the registry's login was kept, so that the publication can be undone when the resource goes."""


class ImageBuildUndoInput(UndoInput):
    """Input of the workflow `ImageBuildUndo`."""

    effects: ImageBuildEffects
    """`standing` has only the publications that are to be taken back too: none while the resource lives on, none where
    what finished runs published stays. What the run itself did is taken back as well, published or not. A publication
    without tags was overtaken by later ones: its digest goes unless a tag points at it. `elsewhere` has what is to be
    deleted outside of the registry: that of the run itself, and with those publications that of the runs before."""
    procedures: dict[str, PinnedProcedure] = {}
    """Procedures that `effects.elsewhere` names, as they are now: the latest one knows best what to delete."""
    unpinned: dict[str, str] = {}
    """Those of them that cannot be used, by name, with the reason: what they would delete is left and told."""


KIND = Kind(
    kind="ImageBuild",
    plural="imagebuilds",
    short_names=("ib",),
    model=ImageBuild,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Progress", ".status.progress.summary"),
        Column("Image", ".status.image.reference"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Run", ".status.run.number", "integer", priority=1),
        Column("Next", ".status.schedule.next", priority=1),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Workflow", ".status.run.url", priority=1),
    ),
)
