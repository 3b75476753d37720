"""Whether a GitOps controller manages a resource, so that a change made by hand will not last. Pure."""

from __future__ import annotations

from bascule_cli.resources import Item

_ANNOTATIONS = {"argocd.argoproj.io/tracking-id": "Argo CD"}
_LABELS = {
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "argocd.argoproj.io/instance": "Argo CD",
}


def managed_by(item: Item) -> str:
    """Name of the controller; empty where none shows."""
    for marks, there in ((_ANNOTATIONS, item.meta.annotations), (_LABELS, item.meta.labels)):
        for mark, name in marks.items():
            if mark in there:
                return name
    return ""
