"""Which right a request needs, and who can give it: what a user reads who lacks it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bascule_api import names

_READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True)
class Right:
    """One verb on one resource; an empty namespace means all of them, `group` is "" for Kubernetes' core."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    group: str = names.GROUP

    def missing(self, user: str) -> str:
        """Who lacks what, where."""
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        where = f"in the namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{user or 'you'} may not {self.verb} {resource} {where}"

    @property
    def hint(self) -> str:
        """Who grants it, and how to see what one has."""
        subresource = self.resource.partition("/")[2]
        plain = f"{self.resource.partition('/')[0]}.{self.group}" if self.group else self.resource.partition("/")[0]
        options = f" --subresource={subresource}" if subresource else ""
        where = f" -n {self.namespace}" if self.namespace else " -A"
        check = f"check with: kubectl auth can-i {self.verb} {plain}{options}{where}"
        role = self._role
        return f"the ClusterRole {role} grants it; {check}" if role else check

    @property
    def _role(self) -> str:
        if self.group != names.GROUP:
            return ""
        if self.verb == "force":
            return "bascule-force"
        if self.resource == "approvals" and self.verb not in _READS:
            return "bascule-approve"
        if self.verb in _READS:
            return "bascule-view"
        return "bascule-edit" if self.verb in ("create", "update", "patch", "delete") else ""
