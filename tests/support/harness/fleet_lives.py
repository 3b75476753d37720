"""The lives of campaigns that faults are tried on."""

from __future__ import annotations

from tests.support.harness import fleet, fleet_oracles, oracles
from tests.support.harness.fleet_scene import FleetScene, at_work
from tests.support.harness.life import Life, current, gone, waits
from tests.support.harness.scene import Json

_PATCHING, _AGREEING, _PATCHED, _FAILED = "patching", "agreeing", "patched", "failed"
_DROPPED, _REVERTED, _STOPPED, _ENDED, _LEFT, _BURIED = "dropped", "reverted", "stopped", "ended", "left", "buried"

FLEET_TERMINATING = (_DROPPED, _REVERTED, _STOPPED, _LEFT, _BURIED)
"""Stages in which the campaign is on its way out."""


async def _campaign(scene: FleetScene) -> list[str]:
    """A canary is patched, the rest is approved and patched; later the campaign is deleted, and patches stay."""
    return await _all_patched(scene) + await _gone(scene, _DROPPED)


async def _undo(scene: FleetScene) -> list[str]:
    """What was patched is rolled back when the campaign is deleted."""
    return await _all_patched(scene, compensation={"onDelete": "Always"}) + await _gone(scene, _REVERTED)


async def _deletion(scene: FleetScene) -> list[str]:
    """A campaign that is deleted while it patches its canary rolls that back."""
    return await _canary(scene) + await _gone(scene, _STOPPED)


async def _terminated(scene: FleetScene) -> list[str]:
    """A run that somebody ended in Temporal could not give its node back: an undo does that at once."""
    wrong = await _canary(scene)
    if not scene.deleted:
        scene.shard.gate.enter(_ENDED)
        edits = scene.edits
        scene.edited_behaviour, scene.approving = "succeed", True
        await scene.terminate()
        wrong += await oracles.settled_for_good(scene)
        again = scene.edits > edits
        wrong += await (fleet_oracles.after_success(scene) if again else fleet_oracles.after_termination(scene))
    return wrong + await _gone(scene, _LEFT)


async def _failing(scene: FleetScene) -> list[str]:
    """A node of the second wave cannot be patched: everything is rolled back."""
    policy = {"failurePolicy": {"action": "RollbackAll"}}
    wrong = await _agreed(scene, fleet.HOLD_THEN_FAIL, **policy)
    if not scene.deleted:
        scene.shard.gate.enter(_FAILED)
        scene.approving = True
        wrong += await oracles.settled_for_good(scene)
        wrong += [] if scene.deleted else await fleet_oracles.after_failure(scene)
    return wrong + await _gone(scene, _BURIED)


async def _canary(scene: FleetScene, behaviour: str = fleet.HOLD, **changes: Json) -> list[str]:
    """From nothing to a canary whose patch goes on."""
    scene.approving = False
    scene.shard.gate.enter(_PATCHING)
    await scene.apply(behaviour, approval=True, **changes)
    return await oracles.steady(scene, lambda body: current(body) and at_work(body, "Patching"), "patching")


async def _agreed(scene: FleetScene, behaviour: str = fleet.HOLD, **changes: Json) -> list[str]:
    """From nothing to a patched canary, and a person who has to agree to the rest."""
    wrong = await _canary(scene, behaviour, **changes)
    if not scene.deleted:
        scene.shard.gate.enter(_AGREEING)
        scene.release()
        wrong += await oracles.steady(scene, waits, "waiting for an approval")
    return wrong


async def _all_patched(scene: FleetScene, **changes: Json) -> list[str]:
    wrong = await _agreed(scene, **changes)
    if not scene.deleted:
        scene.shard.gate.enter(_PATCHED)
        scene.approving = True
        wrong += await oracles.settled_for_good(scene)
        wrong += [] if scene.deleted else await fleet_oracles.after_success(scene)
    return wrong


async def _gone(scene: FleetScene, stage: str) -> list[str]:
    await gone(scene, stage)
    return await fleet_oracles.after_deletion(scene)


FLEET_LIVES = tuple(
    Life(name, play, stages, FleetScene)
    for name, play, stages in (
        ("campaign", _campaign, (_PATCHING, _AGREEING, _PATCHED, _DROPPED)),
        ("campaign-undo", _undo, (_PATCHING, _AGREEING, _PATCHED, _REVERTED)),
        ("campaign-deletion", _deletion, (_PATCHING, _STOPPED)),
        ("campaign-terminated", _terminated, (_PATCHING, _ENDED, _LEFT)),
        ("campaign-failure", _failing, (_PATCHING, _AGREEING, _FAILED, _BURIED)),
    )
)
