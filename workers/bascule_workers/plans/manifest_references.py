"""What the pods of a drill's manifests name has to be among the manifests, or they would never start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bascule_api import names
from bascule_workers.plans.manifest_files import Document

_ALWAYS = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}


def check_references(found: Sequence[Document]) -> list[str]:
    """Problems with what pods name. What is applied after the restore may use what the restore brings."""
    stages = {(document.body["kind"], document.body["metadata"]["name"]): _is_late(document.body) for document in found}
    problems = []
    for document in found:
        late = _is_late(document.body)
        for path, kind, name, optional in _named(document.body):
            if optional or not isinstance(name, str) or (kind, name) in _ALWAYS:
                continue
            must_be_there = kind in ("ServiceAccount", "pull Secret")
            key = ("Secret" if kind == "pull Secret" else kind, name)
            if key not in stages and (must_be_there or not late):
                problems.append(f"{document.place}: {path}: there is no {key[0]} {name[:80]} among the manifests")
            elif stages.get(key) and not late:
                problems.append(
                    f"{document.place}: {path}: {key[0]} {name[:80]} is applied after the restore, this before it: "
                    f"give both the annotation {names.ANNOTATION_APPLY}, or neither"
                )
    return problems


def _is_late(body: Mapping[str, Any]) -> bool:
    return names.ANNOTATION_APPLY in (body["metadata"].get("annotations") or {})


def _named(body: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, bool]]:
    """Path, kind, name, and whether it may be missing."""
    if body["kind"] == "ServiceAccount":
        for index, reference in enumerate(_list(body.get("imagePullSecrets"))):
            yield f"imagePullSecrets[{index}]", "pull Secret", reference.get("name"), False
        return
    template = _get(body, "spec", "template", "spec")
    if not template:
        return
    path = "spec.template.spec"
    for index, reference in enumerate(_list(template.get("imagePullSecrets"))):
        yield f"{path}.imagePullSecrets[{index}]", "pull Secret", reference.get("name"), False
    for name in ("serviceAccountName", "serviceAccount"):
        if template.get(name):
            yield f"{path}.{name}", "ServiceAccount", template[name], False
    # Claims of a StatefulSet's own stand in for volumes of the same name.
    own = {_get(claim, "metadata").get("name") for claim in _list(_get(body, "spec").get("volumeClaimTemplates"))}
    for index, volume in enumerate(_list(template.get("volumes"))):
        if volume.get("name") not in own:
            yield from _of_volume(f"{path}.volumes[{index}]", volume)
    for part in ("initContainers", "containers"):
        for index, container in enumerate(_list(template.get(part))):
            yield from _of_container(f"{path}.{part}[{index}]", container)


def _of_volume(path: str, volume: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, bool]]:
    sources = [(path, volume)]
    projected = _list(_get(volume, "projected").get("sources"))
    sources += [(f"{path}.projected.sources[{index}]", source) for index, source in enumerate(projected)]
    for where, source in sources:
        config, secret, claim = (_get(source, name) for name in ("configMap", "secret", "persistentVolumeClaim"))
        if config:
            yield f"{where}.configMap", "ConfigMap", config.get("name"), bool(config.get("optional"))
        if secret:
            name = secret.get("secretName") or secret.get("name")
            yield f"{where}.secret", "Secret", name, bool(secret.get("optional"))
        if claim:
            yield f"{where}.persistentVolumeClaim", "PersistentVolumeClaim", claim.get("claimName"), False


def _of_container(path: str, container: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, bool]]:
    kinds = {
        "configMapKeyRef": "ConfigMap",
        "secretKeyRef": "Secret",
        "configMapRef": "ConfigMap",
        "secretRef": "Secret",
    }
    entries: list[tuple[str, Mapping[str, Any]]] = [
        (f"{path}.env[{index}].valueFrom", _get(variable, "valueFrom"))
        for index, variable in enumerate(_list(container.get("env")))
    ]
    entries += [(f"{path}.envFrom[{index}]", source) for index, source in enumerate(_list(container.get("envFrom")))]
    for where, source in entries:
        for field, kind in kinds.items():
            if reference := _get(source, field):
                yield f"{where}.{field}", kind, reference.get("name"), bool(reference.get("optional"))


def _get(value: Any, *keys: str) -> dict[str, Any]:
    """The object at that path; an empty one where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
