"""The packet filter of a node that enforces network policies, as text for `nft -f`. Pure.

Addresses are judged after kube-proxy put a pod's in place of a Service's. What a pod's chain does not let through is
dropped; `return` goes back to the base chain, where the other end's policies are asked. What the node itself sends, as
the kubelet's probes are, passes none of the base chains.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from hack.cluster.network_policies.selectors import JsonObject, Labels, Pod, selects

TABLE = "bascule-policies"
_NAMES_PER_COMMENT = 100
# What a server that counts as a pod is reached by, where a policy names no protocol.
_SERVED = ("tcp", "udp")
_BASE = """\
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		ip saddr vmap @egress
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		ip saddr . ip daddr @itself accept
		ip saddr vmap @egress
		ip daddr vmap @ingress
	}
"""
# Whoever speaks anything else on the pods' bridge would not pass the filter above. The cluster has IPv4 only.
_BRIDGE = f"""\
table bridge {TABLE}
delete table bridge {TABLE}
table bridge {TABLE} {{
	chain prerouting {{
		type filter hook prerouting priority -300; policy accept;
		ether type != {{ ip, arp }} drop
	}}
}}
"""


class Direction(Enum):
    """Which way traffic goes, seen from the pod that a policy selects: the policy's type, rules and peers."""

    INGRESS = ("Ingress", "ingress", "from", "saddr")
    EGRESS = ("Egress", "egress", "to", "daddr")

    @property
    def type(self) -> str:
        """The word of `policyTypes`."""
        return self.value[0]

    @property
    def rules(self) -> str:
        """The policy's field of rules, and what everything of this direction is called here."""
        return self.value[1]

    @property
    def peers(self) -> str:
        """The rule's field of peers."""
        return self.value[2]

    @property
    def other_end(self) -> str:
        """The packet's field with the peer's address."""
        return self.value[3]


@dataclass(frozen=True)
class Surroundings:
    """What rules are resolved against: all pods, and the labels of all namespaces by name."""

    pods: Sequence[Pod]
    namespaces: Mapping[str, Labels]


@dataclass(frozen=True)
class Match:
    """One condition on the other end: an expression, and the pods that it stands for, where it stands for pods."""

    expression: str
    pods: tuple[Pod, ...] | None = None
    only_port: int | None = None
    """Set where it stands for a server that is reached at this port alone."""


def rules_of(
    local: Sequence[Pod],
    unknown: Iterable[str],
    surroundings: Surroundings,
    policies: Sequence[JsonObject],
) -> str:
    """Return a node's whole ruleset, which replaces the one before in one transaction.

    `local`: the node's own pods, which alone it guards. `unknown`: addresses that it gave to pods of which the API
    server said nothing, and which therefore may talk to nobody.
    """
    chains: dict[str, str] = {}
    maps: dict[Direction, dict[str, str]] = {direction: {} for direction in Direction}
    for pod in local:
        for direction, jumps in maps.items():
            chosen = [policy for policy in policies if _applies(policy, pod, direction)]
            if not chosen:
                continue
            name, text = _chain(chosen, pod, direction, surroundings)
            chains[name] = text
            jumps.update(dict.fromkeys(pod.addresses, f"jump {name}"))
    for jumps in maps.values():
        jumps.update(dict.fromkeys(unknown, "drop"))
    itself = sorted({address for jumps in maps.values() for address, verdict in jumps.items() if verdict != "drop"})
    body = [
        *(_map(direction.rules, jumps) for direction, jumps in maps.items()),
        _elements("\tset itself {\n\t\ttype ipv4_addr . ipv4_addr", [f"{each} . {each}" for each in itself]),
        *(chains[name] for name in sorted(chains)),
        _BASE,
    ]
    table = f"table inet {TABLE}"
    return f"{table}\ndelete {table}\n{table} {{\n{''.join(body)}}}\n{_BRIDGE}"


def _applies(policy: JsonObject, pod: Pod, direction: Direction) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    mine = policy["metadata"]["namespace"] == pod.namespace and selects(spec.get("podSelector") or {}, pod.labels)
    return mine and direction.type in types


def _chain(policies: Sequence[JsonObject], pod: Pod, direction: Direction, around: Surroundings) -> tuple[str, str]:
    """Return a chain's name and text. Pods to which the same applies share one: its name is made of its rules."""
    rules: dict[str, None] = {}
    for policy in policies:
        for rule in policy["spec"].get(direction.rules) or ():
            rules.update(dict.fromkeys(_allowed(rule, policy["metadata"]["namespace"], pod, direction, around)))
    names = sorted(f"{policy['metadata']['namespace']}/{policy['metadata']['name']}" for policy in policies)
    comment = f'\t\tcomment "{" ".join(names)[:_NAMES_PER_COMMENT]}"\n'
    content = comment + "".join(f"\t\t{rule}\n" for rule in rules) + "\t\tdrop\n"
    name = f"{direction.rules}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return name, f"\tchain {name} {{\n{content}\t}}\n"


def _allowed(rule: JsonObject, namespace: str, pod: Pod, direction: Direction, around: Surroundings) -> Iterable[str]:
    """Yield what a rule lets through: every peer at every port."""
    peers = rule.get(direction.peers) or ()
    matches = [match for peer in peers for match in _peer(peer, namespace, direction, around)]
    if not peers:
        matches = [Match("")]
    for match in matches:
        for port in rule.get("ports") or (None,):
            for words in _at_port(match, port, pod, direction, around):
                yield " ".join(word for word in (*words, "return") if word)


def _peer(peer: JsonObject, namespace: str, direction: Direction, around: Surroundings) -> Iterable[Match]:
    if block := peer.get("ipBlock"):
        return _block(block, direction)
    chosen = {namespace}
    if (selector := peer.get("namespaceSelector")) is not None:
        chosen = {name for name, labels in around.namespaces.items() if selects(selector, labels)}
    wanted = peer.get("podSelector") or {}
    pods = [pod for pod in around.pods if pod.namespace in chosen and selects(wanted, pod.labels)]
    return _as_matches(pods, direction)


def _block(block: JsonObject, direction: Direction) -> Iterable[Match]:
    try:
        network = ipaddress.ip_network(block["cidr"], strict=False)
        without = [ipaddress.ip_network(each, strict=False) for each in block.get("except") or ()]
    except ValueError:
        # The API server is known to take 010.0.0.0/8, of which nobody can say which number it begins with.
        return []
    if network.version != 4:
        return []
    field = f"ip {direction.other_end}"
    return [Match(" ".join([f"{field} {network}", *(f"{field} != {each}" for each in without)]))]


def _as_matches(pods: Iterable[Pod], direction: Direction) -> Iterable[Match]:
    """Yield the pods' addresses at once, and each server that counts as a pod at one port by itself."""
    whole = []
    for pod in pods:
        if pod.only_port is None:
            whole.append(pod)
        elif direction is Direction.EGRESS:
            yield Match(f"ip daddr {_set(pod.addresses)}", (pod,), pod.only_port)
    if match := _together(whole, direction):
        yield match


def _together(pods: Sequence[Pod], direction: Direction) -> Match | None:
    addresses = [address for pod in pods for address in pod.addresses]
    return Match(f"ip {direction.other_end} {_set(addresses)}", tuple(pods)) if addresses else None


def _at_port(
    match: Match, port: JsonObject | None, pod: Pod, direction: Direction, around: Surroundings
) -> Iterable[tuple[str, ...]]:
    """Yield the conditions of one peer at one port; several where pods have different numbers for its name."""
    if port is None:
        yield from _at_any_port(match)
        return
    protocol, number = port.get("protocol") or "TCP", port.get("port")
    if isinstance(number, str):
        yield from _at_name(match, number, protocol, pod, direction, around)
        return
    kind, only = protocol.lower(), match.only_port
    if number is None:
        yield (match.expression, f"meta l4proto {kind}" if only is None else f"{kind} dport {only}")
        return
    last = port.get("endPort") or number
    if only is None:
        yield (match.expression, f"{kind} dport {number if number == last else f'{number}-{last}'}")
    elif number <= only <= last:
        yield (match.expression, f"{kind} dport {only}")


def _at_any_port(match: Match) -> Iterable[tuple[str, ...]]:
    if match.only_port is None:
        return [(match.expression,)]
    return [(match.expression, f"{protocol} dport {match.only_port}") for protocol in _SERVED]


def _at_name(
    match: Match, name: str, protocol: str, pod: Pod, direction: Direction, around: Surroundings
) -> Iterable[tuple[str, ...]]:
    """Yield the conditions of one peer at a port's name: the selected pod's, or that of every pod it may reach."""
    if direction is Direction.INGRESS:
        if (own := pod.port(name, protocol)) is not None:
            yield (match.expression, f"{protocol.lower()} dport {own}")
        return
    for own, pods in _by_number(match, name, protocol, around).items():
        if same := _together(pods, direction):
            yield (same.expression, f"{protocol.lower()} dport {own}")


def _by_number(match: Match, name: str, protocol: str, around: Surroundings) -> dict[int, list[Pod]]:
    """Return the pods of a match that have a port of this name, by its number there. A block of addresses has none."""
    reachable = around.pods if not match.expression else match.pods or ()
    found: dict[int, list[Pod]] = {}
    for pod in reachable:
        number = pod.port(name, protocol)
        if number is not None:
            found.setdefault(number, []).append(pod)
    return dict(sorted(found.items()))


def _map(name: str, jumps: Mapping[str, str]) -> str:
    elements = [f"{address} : {verdict}" for address, verdict in sorted(jumps.items())]
    return _elements(f"\tmap {name} {{\n\t\ttype ipv4_addr : verdict", elements)


def _elements(head: str, elements: Sequence[str]) -> str:
    content = f"\n\t\telements = {{ {', '.join(elements)} }}" if elements else ""
    return f"{head}{content}\n\t}}\n"


def _set(members: Iterable[str]) -> str:
    return f"{{ {', '.join(sorted(set(members)))} }}"
