"""What the platform states about how an image came to be: the predicate of SLSA's provenance, version 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bascule_api.image_builds import ImageBuildInput
from bascule_workers.messages import AttestRequest, BaseImage, BuildFacts, SourcePin, UsedProcedure
from bascule_workers.plans.image_builds import BUILD, run_of, test_step

BUILD_TYPE = "https://bascule.dev/build-types/image-build/v1"
"""Says how to read the parameters; docs/image-builds.md tells."""


def facts(
    build: ImageBuildInput,
    source: SourcePin,
    bases: Sequence[BaseImage],
    invocation: str,
    started: int,
    finished: int,
) -> BuildFacts:
    """What the run knows of its build."""
    steps = {BUILD: build.spec.build.procedure} | {test_step(test): test.procedure for test in build.spec.tests}
    procedures = []
    for name in sorted(set(steps.values())):
        pinned = build.procedures[name]
        used = [step for step, procedure in steps.items() if procedure == name]
        procedures.append(UsedProcedure(name=name, generation=pinned.generation, hash=pinned.hash, steps=used))
    spec = build.spec.to_wire()
    return BuildFacts(
        source=source,
        parameters={name: spec[name] for name in ("source", "build", "tests") if spec.get(name)},
        procedures=procedures,
        bases=list(bases),
        invocation=invocation,
        started=started,
        finished=finished,
    )


def predicate(request: AttestRequest, builder: str, version: str) -> dict[str, Any]:
    """The predicate. `builder` is the URI under which the platform is trusted."""
    run, told = request.run, request.facts
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": told.parameters,
            "internalParameters": {
                "run": run_of(run),
                "uid": run.uid,
                "number": run.number,
                "namespace": run.namespace,
                "name": run.name,
                "revision": run.revision,
                "tenant": request.tenant.name,
            },
            "resolvedDependencies": [_source(request), *map(_base, told.bases), *map(_procedure, told.procedures)],
        },
        "runDetails": {
            "builder": {"id": builder, "version": {"bascule": version}},
            "metadata": {
                "invocationId": told.invocation,
                "startedOn": _time(told.started),
                "finishedOn": _time(told.finished),
            },
        },
    }


def wrong(found: Mapping[str, Any], request: AttestRequest, builder: str) -> str:
    """In what a provenance differs from what the run knows, or nothing; the version may, after an upgrade."""
    wanted = predicate(request, builder, "")
    for path in (
        ("buildDefinition", "buildType"),
        ("buildDefinition", "internalParameters", "run"),
        ("buildDefinition", "internalParameters", "tenant"),
        ("runDetails", "builder", "id"),
        ("runDetails", "metadata", "invocationId"),
    ):
        if (told := _at(found, path)) != (expected := _at(wanted, path)):
            return f"the provenance has the {path[-1]} {told}, not {expected}"
    source = _source(request)
    dependencies = _at(found, ("buildDefinition", "resolvedDependencies"))
    digests = [item.get("digest") for item in dependencies or [] if isinstance(item, Mapping)]
    if source["digest"] not in digests:
        return f"the provenance does not name the source {request.facts.source.revision}"
    missing = [base for base in request.facts.bases if _base(base)["digest"] not in digests]
    return f"the provenance does not name the base image {missing[0].reference}" if missing else ""


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _source(request: AttestRequest) -> dict[str, Any]:
    source = request.facts.source
    if source.git is not None:
        name = {"name": source.git.path} if source.git.path else {}
        return {"uri": f"git+{source.git.url}@{source.git.commit}", "digest": {"gitCommit": source.git.commit}} | name
    config_map = ((request.facts.parameters.get("source") or {}).get("configMap") or {}).get("name", "")
    return {
        "uri": f"kubernetes:configmaps/{request.run.namespace}/{config_map}",
        "digest": {"sha256": source.revision.removeprefix("sha256:")},
    }


def _base(base: BaseImage) -> dict[str, Any]:
    return {"uri": f"docker://{base.reference}", "digest": {"sha256": base.digest.removeprefix("sha256:")}}


def _procedure(used: UsedProcedure) -> dict[str, Any]:
    return {
        "uri": f"kubernetes:procedures.bascule.dev/{used.name}",
        "digest": {"sha256": used.hash},
        "annotations": {"generation": used.generation, "steps": used.steps},
    }


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
