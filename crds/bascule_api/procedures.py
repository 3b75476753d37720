"""Procedure: an admin-owned, parameterised pod template that carries out a step."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bascule_api.base import (
    ATOMIC,
    BY_TYPE,
    ApiModel,
    Column,
    DnsLabel,
    Duration,
    Kind,
    LongText,
    ObjectName,
    ParameterName,
    Resource,
    rules,
)
from bascule_api.conditions import Condition
from bascule_api.parameters import Parameter


class Use(StrEnum):
    """For which step of which kind a Procedure may be named."""

    IMAGE_BUILD_BUILD = "ImageBuild/build"
    """Builds the candidate image; must report the result `digest`."""
    IMAGE_BUILD_TEST = "ImageBuild/test"
    """Tests the candidate image."""
    IMAGE_BUILD_UNDO = "ImageBuild/undo"
    """Deletes what a build made outside of the registry."""
    PATCH_CAMPAIGN_PATCH = "PatchCampaign/patch"
    """Patches a target."""
    PATCH_CAMPAIGN_ROLLBACK = "PatchCampaign/rollback"
    """Takes a patch back."""
    PATCH_CAMPAIGN_REBOOT = "PatchCampaign/reboot"
    """Reboots a target whose patch, or rollback, reported `rebootRequired`."""
    PATCH_CAMPAIGN_VERIFY = "PatchCampaign/verify"
    """Checks a target after its patch."""
    PATCH_CAMPAIGN_GATE = "PatchCampaign/gate"
    """Decides whether a campaign goes on."""
    DR_DRILL_RESTORE = "DRDrill/restore"
    """Restores into a drill's namespace."""
    DR_DRILL_PROBE = "DRDrill/probe"
    """Checks what was restored."""


class Placement(StrEnum):
    """On which node a step's pod runs."""

    ANYWHERE = "Anywhere"
    """Wherever the scheduler puts it."""
    ON_TARGET = "OnTarget"
    """On the node that is the step's target."""


class SecurityProfile(StrEnum):
    """What the pod may do."""

    RESTRICTED = "Restricted"
    """Pod Security `restricted`: not root, no capabilities, seccomp RuntimeDefault."""
    BUILD = "Build"
    """Pod Security `baseline`: root with the default capabilities, as image builders need."""
    HOST = "Host"
    """The node itself; typed parameters only."""


class ResultDeclaration(ApiModel):
    """A value that the container reports in its termination message."""

    name: ParameterName
    """Name of the result."""
    description: LongText = ""
    """What the result means."""


class Retry(ApiModel):
    """How a failed attempt is repeated."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How often a step is tried in all."""
    backoff: Duration = Duration("10s")
    """How long to wait before the second attempt; longer before each further one."""
    non_retryable_exit_codes: Annotated[
        list[Annotated[int, Field(ge=1, le=255)]], Field(max_length=32, json_schema_extra=ATOMIC)
    ] = []
    """Exit codes after which trying again cannot help. Empty: every exit code of the container is final, and only
    what the platform did (eviction, lost node, image that cannot be pulled yet) is repeated."""


class EnvironmentVariable(ApiModel):
    """An environment variable of a container."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
    """Name of the variable."""
    value: LongText = ""
    """Its value, taken literally."""


class Resources(ApiModel):
    """Requests and limits, as Kubernetes quantities."""

    requests: Annotated[dict[str, Annotated[str, StringConstraints(max_length=32)]], Field(max_length=8)] = {}
    """What the scheduler reserves."""
    limits: Annotated[dict[str, Annotated[str, StringConstraints(max_length=32)]], Field(max_length=8)] = {}
    """What the container may use at most."""


class VolumeMount(ApiModel):
    """Where a container finds a volume."""

    name: DnsLabel
    """Name of the volume."""
    mount_path: Annotated[str, StringConstraints(pattern=r"^/[^:]*$", max_length=256)]
    """Absolute path in the container."""
    read_only: bool = False
    """Whether it may only be read."""


class Container(ApiModel):
    """A container of the step's pod."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.image) != has(self.imageFrom)", "set exactly one of image and imageFrom"),
        )
    }
    name: DnsLabel = "step"
    """Name of the container."""
    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    """An image of the platform, best by digest."""
    image_from: Literal["Candidate"] | None = None
    """`Candidate`: the image that the run built, by digest."""
    command: Annotated[
        list[Annotated[str, StringConstraints(max_length=16_384)]], Field(max_length=64, json_schema_extra=ATOMIC)
    ] = []
    """The program and its words; default: the image's entrypoint."""
    args: Annotated[
        list[Annotated[str, StringConstraints(max_length=16_384)]], Field(max_length=64, json_schema_extra=ATOMIC)
    ] = []
    """Words after the command."""
    working_dir: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Folder to start in; default: the image's."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    """Environment variables besides those that Bascule sets."""
    resources: Resources = Resources()
    """Requests and limits."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """Volumes of the template, besides `/bascule`."""


class Volume(ApiModel):
    """A volume of the step's pod: an emptyDir, a ConfigMap of the platform's, in a drill a claim of its namespace, or
    with the profile `Host` a path of its node."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.configMap) || (!has(self.hostPath) && !has(self.sizeLimit))",
                "a volume is one of an emptyDir, a configMap, a hostPath and a claim",
            ),
            (
                "!has(self.claimFrom) || (!has(self.configMap) && !has(self.hostPath) && !has(self.sizeLimit))",
                "a volume is one of an emptyDir, a configMap, a hostPath and a claim",
            ),
        )
    }
    name: DnsLabel
    """Name of the volume."""
    size_limit: Annotated[str, StringConstraints(max_length=32)] | None = None
    """Limit of the emptyDir."""
    host_path: Annotated[str, StringConstraints(pattern=r"^/[^:]*$", max_length=256)] | None = None
    """A path of the node; only with the profile `Host`."""
    config_map: ObjectName | None = None
    """Name of a ConfigMap in the tenant's steps namespace, where the platform puts it. Empty while there is none."""
    claim_from: ParameterName | None = None
    """Name of the parameter whose value names a PersistentVolumeClaim of the drill's namespace."""


class Template(ApiModel):
    """A typed, bounded subset of a pod template."""

    init_containers: Annotated[list[Container], Field(max_length=4, json_schema_extra=ATOMIC)] = []
    """Containers that run before, one after the other."""
    container: Container
    """The container whose exit code and termination message are the step's result."""
    volumes: Annotated[list[Volume], Field(max_length=8, json_schema_extra=ATOMIC)] = []
    """Volumes of the pod."""
    active_deadline: Duration | None = None
    """Reserved; `timeout` limits a step."""


class Submodules(StrEnum):
    """What becomes of a source's git submodules."""

    REFUSE = "Refuse"
    """A source with submodules fails the step."""
    ALLOW = "Allow"
    """They are fetched, each at the commit that the source names, with the source's credentials only from its host."""


class SourceRules(ApiModel):
    """What the step takes of a source. The platform's choice: no tenant can change it."""

    submodules: Submodules = Submodules.REFUSE
    """Whether a git source may have submodules."""


class ProcedureSpec(ApiModel):
    """What the Procedure is for, what it asks for, and the pod that carries it out."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "self.securityProfile == 'Host' || !has(self.template.volumes) || "
                "self.template.volumes.all(v, !has(v.hostPath))",
                "template.volumes[].hostPath needs securityProfile Host",
            ),
            (
                "self.securityProfile != 'Host' || !has(self.parameters) || "
                "self.parameters.all(p, p.type == 'boolean' || p.type == 'integer' || "
                "(has(p.enum) && size(p.enum) > 0) || (has(p.pattern) && size(p.pattern) > 0))",
                "with securityProfile Host every parameter needs an enum or a pattern",
            ),
            (
                "self.securityProfile != 'Host' || self.placement == 'OnTarget'",
                "securityProfile Host needs placement OnTarget: no other node than the target is anybody's to touch",
            ),
            (
                "!has(self.template.volumes) || self.template.volumes.all(v, !has(v.claimFrom) || "
                "(self.uses.all(u, u.startsWith('DRDrill/')) && has(self.parameters) && "
                "self.parameters.exists(p, p.name == v.claimFrom && p.type == 'string' && "
                "has(p.required) && p.required)))",
                "template.volumes[].claimFrom names a required parameter of type string, and only a drill's Procedures "
                "have it: no other step's pod may mount a tenant's claims",
            ),
            (
                "!has(self.registryLogin) || !self.registryLogin || !has(self.template.container.imageFrom)",
                "registryLogin is for the platform's images: the candidate would get the credentials that publish it",
            ),
            (
                "!has(self.undo) || self.uses.exists(u, u == 'ImageBuild/build')",
                "undo is for Procedures with the use ImageBuild/build: it names what deletes what a build made",
            ),
            (
                "!has(self.reboot) || self.uses.exists(u, u == 'PatchCampaign/patch' || u == 'PatchCampaign/rollback')",
                "reboot is for Procedures with the use PatchCampaign/patch or PatchCampaign/rollback",
            ),
        )
    }
    description: LongText = ""
    """What it does, for people."""
    uses: Annotated[list[Use], Field(min_length=1, max_length=8, json_schema_extra=ATOMIC)]
    """The steps for which the Procedure may be named."""
    parameters: Annotated[list[Parameter], Field(max_length=32, json_schema_extra=ATOMIC)] = []
    """What a resource may set."""
    results: Annotated[list[ResultDeclaration], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """What the container reports. Declare what something hangs on (`rebootRequired`, `recoveryPoint`, `backup`,
    `dataAsOf`, `verdict`): if the pod of a step that ended well is gone before it can be asked, the step is carried out
    again, within `retry.attempts`. What is not declared counts as not reported then."""
    tenants: Annotated[
        list[Annotated[str, StringConstraints(max_length=63)]], Field(max_length=500, json_schema_extra=ATOMIC)
    ] = ["*"]
    """Names of the tenants that may use it; `*` for all."""
    placement: Placement = Placement.ANYWHERE
    """On which node the pod runs."""
    security_profile: SecurityProfile = SecurityProfile.RESTRICTED
    """What the pod may do."""
    registry_login: bool = False
    """Whether a test's container gets the registry's login, to attach something to the candidate; a build's always
    does."""
    timeout: Duration = Duration("30m")
    """Limit of one attempt, unless the resource says otherwise."""
    undo: ObjectName | None = None
    """Of a build that makes things outside of the registry: the Procedure with the use `ImageBuild/undo` that deletes
    them when a run is taken back. It is pinned along with this one, and gets the parameter `artifacts`."""
    reboot: ObjectName | None = None
    """Of a patch or rollback that may need a reboot: the Procedure with the use `PatchCampaign/reboot` that is carried
    out on the target when the result `rebootRequired` is `true`. It is pinned along with this one, and takes no
    parameters. Its timeout is how long a node may take to come back with a new boot id. Absent: that result says that
    this Procedure has asked the node itself, which is waited for."""
    retry: Retry = Retry()
    """How a failed attempt is repeated."""
    source: SourceRules = SourceRules()
    """What the step takes of a source."""
    template: Template
    """The pod."""


class ProcedureStatus(ApiModel):
    """How the Procedure stands."""

    observed_generation: int = -1
    """Generation that this status speaks of; -1: never seen."""
    conditions: Annotated[list[Condition], Field(max_length=8, json_schema_extra=BY_TYPE)] = []
    """What holds of the Procedure."""


class Procedure(Resource):
    """An admin-owned, parameterised pod template that carries out a step; tenants name one and give parameters."""

    spec: ProcedureSpec
    status: ProcedureStatus | None = None


class PinnedProcedure(ApiModel):
    """A Procedure as a run uses it from its start to the end of its compensation."""

    name: str
    generation: int
    hash: str
    spec: ProcedureSpec

    @classmethod
    def of(cls, procedure: Procedure) -> PinnedProcedure:
        text = json.dumps(procedure.spec.to_wire(), sort_keys=True, separators=(",", ":"))
        return cls(
            name=procedure.metadata.name,
            generation=procedure.metadata.generation,
            hash=hashlib.sha256(text.encode()).hexdigest(),
            spec=procedure.spec,
        )


KIND = Kind(
    kind="Procedure",
    plural="procedures",
    short_names=("proc",),
    model=Procedure,
    namespaced=False,
    columns=(
        Column("Uses", ".spec.uses"),
        Column("Profile", ".spec.securityProfile"),
        Column("Tenants", ".spec.tenants", priority=1),
        Column("Description", ".spec.description", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
