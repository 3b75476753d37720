"""What a node knows of pods: those of the API server, and the sandboxes that its CNI plugin tells of. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hack.cluster.network_policies.rules import Surroundings, rules_of
from hack.cluster.network_policies.selectors import JsonObject, Labels, Pod, pod_of

_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Sandbox:
    """A pod's network on this node. It is told of before anything runs in it, and until nothing does any more."""

    id: str
    uid: str
    """The pod's."""
    address: str


@dataclass(frozen=True)
class KnownPod:
    """A pod of the API server's."""

    pod: Pod
    """With the addresses of its status."""
    uid: str
    node: str
    ended: bool
    """Whether nothing of it runs any more, so that its address may be another's."""


@dataclass(frozen=True)
class Namespace:
    """A namespace of the API server's."""

    name: str
    labels: Labels

    @classmethod
    def of(cls, item: JsonObject) -> Namespace:
        """Read one."""
        return cls(item["metadata"]["name"], item["metadata"].get("labels") or {})


def known_pod(item: JsonObject) -> KnownPod | None:
    """Read a pod of the API server's; None for one without a network of its own, which policies pass over."""
    spec, status = item["spec"], item.get("status") or {}
    if spec.get("hostNetwork"):
        return None
    addresses = [each["ip"] for each in status.get("podIPs") or () if _is_v4(each["ip"])]
    ended = status.get("phase") in _ENDED
    return KnownPod(pod_of(item, addresses), item["metadata"]["uid"], spec.get("nodeName", ""), ended)


def _is_v4(address: str) -> bool:
    return ipaddress.ip_address(address).version == 4


@dataclass
class Standing:
    """All that one node's rules follow from."""

    node: str
    pods: dict[str, KnownPod] = field(default_factory=dict)
    """By uid."""
    departed: dict[str, KnownPod] = field(default_factory=dict)
    """Pods that were deleted while something of them may still run here: their policies hold on."""
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    policies: dict[str, JsonObject] = field(default_factory=dict)
    sandboxes: Mapping[str, Sandbox] = field(default_factory=dict)
    """By id."""
    servers: tuple[Pod, ...] = ()
    """Servers that are no pods but count as such."""

    def forget(self, uid: str) -> None:
        """Take note of a pod's deletion."""
        if known := self.pods.pop(uid, None):
            self.departed[uid] = known

    def see(self, sandboxes: Iterable[Sandbox]) -> None:
        """Take note of the sandboxes that there are now."""
        self.sandboxes = {sandbox.id: sandbox for sandbox in sandboxes}
        alive = {sandbox.uid for sandbox in self.sandboxes.values()}
        self.departed = {uid: known for uid, known in self.departed.items() if uid in alive}

    def guarded(self) -> set[str]:
        """Return the ids of the sandboxes whose pods are known."""
        return {each.id for each in self.sandboxes.values() if each.uid in self.pods or each.uid in self.departed}

    def rules(self) -> str:
        """Return this node's ruleset."""
        # A pod that was just deleted is no peer any more, but what is left of it here is held to its policies.
        mine = [known for known in self._everyone() if known.node == self.node and known.pod.addresses]
        peers = [known.pod for known in self._everyone() if known.uid in self.pods and known.pod.addresses]
        guarded = self.guarded()
        unknown = [each.address for each in self.sandboxes.values() if each.id not in guarded]
        namespaces = {namespace.name: namespace.labels for namespace in self.namespaces.values()}
        around = Surroundings((*peers, *self.servers), namespaces)
        policies = [self.policies[uid] for uid in sorted(self.policies)]
        return rules_of([known.pod for known in mine], unknown, around, policies)

    def _everyone(self) -> Iterable[KnownPod]:
        """All pods, each with the addresses that it has now: its sandboxes know them before its status does."""
        here: dict[str, list[str]] = {}
        for sandbox in self.sandboxes.values():
            here.setdefault(sandbox.uid, []).append(sandbox.address)
        for known in (*self.departed.values(), *self.pods.values()):
            if addresses := here.get(known.uid):
                yield replace(known, pod=replace(known.pod, addresses=tuple(addresses)))
            elif not known.ended:
                yield known
