"""One case of a campaign: nodes of its own, and what people do to it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

from bascule_operator.errors import GoneError
from tests.support.harness import fleet
from tests.support.harness.scene import Json, Scene, status_of
from tests.support.harness.shard import LABEL

OF = "fleet"
"""The label by which a campaign finds its nodes."""


class FleetScene(Scene):
    """A PatchCampaign over three nodes, one of which a person has cordoned."""

    kind: ClassVar[str] = "PatchCampaign"

    @property
    def nodes(self) -> dict[str, bool]:
        """Name to whether a person cordoned it."""
        return {f"{self.name}-n{number}": number == 2 for number in range(3)}

    async def apply(self, behaviour: str, *, approval: bool = False, **changes: Any) -> None:
        """A canary and the rest, each patched as `behaviour` says, rebooted, verified, and judged by a gate."""
        labels = {LABEL: self.shard.name, OF: self.name}
        await fleet.make_nodes(self.shard.plane.api, self.shard.namespace, self.nodes, labels)
        spec = {
            "targets": {"nodes": {"selector": {"matchLabels": {OF: self.name}}}},
            "patch": {"procedure": "no-op-patch", "parameters": {"behaviour": behaviour}},
            "rollback": {"procedure": "no-op-rollback"},
            "verify": {"procedure": "no-op-verify"},
            "drain": {"force": True},
            "waves": [{"name": "canary", "size": 1}, {"name": "rest", "approval": {"required": approval}}],
            "gates": [{"name": "judge", "procedure": {"name": "no-op-gate"}}],
        }
        await self.applied(spec | changes)

    def edited(self) -> Json:
        parameters = {"mark": f"edit-{self.edits}"}
        if self.edited_behaviour:
            parameters["behaviour"] = self.edited_behaviour
        return {"patch": {"parameters": parameters}}

    async def clear(self) -> None:
        kube = self.shard.plane.kube
        for name in self.nodes:
            for path in (f"/api/v1/namespaces/{self.shard.namespace}/pods/{name}", f"/api/v1/nodes/{name}"):
                with suppress(GoneError):
                    await kube.request("DELETE", path, resource="test")


def at_work(body: Json, phase: str) -> bool:
    """Whether some target is in this phase."""
    told = status_of(body).get("targets") or {}
    return any(target["phase"] == phase for target in told.get("inProgress", []))
