"""What PatchCampaigns leave standing: the closed record that undoing works from, and the input of their undo."""

from __future__ import annotations

from collections.abc import Mapping

from bascule_api.failures import FailureType
from bascule_api.patch_campaign_specs import PatchCampaignSpec
from bascule_api.patch_campaign_status import STANDING_LIMIT, PatchCampaignEffects, PatchCampaignStatus, Patched
from bascule_api.patch_campaigns import PatchCampaignResult, PatchCampaignUndoInput
from bascule_api.procedures import PinnedProcedure, Procedure, Use
from bascule_api.progress import TenantFacts
from bascule_api.runs import CompensationScope
from bascule_api.tenants import Tenant
from bascule_operator.decisions.grounds import Wants, pinned
from bascule_operator.decisions.moves import StartUndo
from bascule_operator.decisions.patch_campaigns import host_files
from bascule_operator.decisions.records import in_history, is_new_intent, is_over, is_undone, on_record
from bascule_operator.decisions.status import execution
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Problem, RunView


def recorded(
    subject: Subject, new: PatchCampaignStatus, view: RunView, tenants: Mapping[str, Tenant]
) -> PatchCampaignStatus:
    """The status with the record: of the intent that is written now, and of what stands once a run is over."""
    old, spec = subject.status, subject.spec
    if not isinstance(old, PatchCampaignStatus) or new.run is None:
        return new
    effects = new.effects
    if effects is not None and (patched := _patched(old, new, view)):
        effects = _with_run(effects, patched)
    undone = new.compensation
    if effects is not None and undone is not None and undone.state.settled and is_undone(old, new):
        effects = _without(effects, undone.scope, new.run.number)
    if isinstance(spec, PatchCampaignSpec) and (is_new_intent(old, new) or (effects is None and not is_over(new))):
        effects = _intended(spec, effects, tenants.get(new.run.tenant))
    return new.model_copy(update={"effects": effects})


def _patched(old: PatchCampaignStatus, new: PatchCampaignStatus, view: RunView) -> Patched | None:
    """What the run patched whose end this write tells; None where that is nothing, or it tells none."""
    run = old.run
    if run is None or run.outcome is not None or not in_history(new, run.number):
        return None
    if isinstance(view.result, PatchCampaignResult):
        count = view.result.targets.patched if view.result.targets else 0
        return _record(old, view, count) if count else None
    failure = new.failure
    if failure is None or failure.type is not FailureType.RUN_LOST:
        return None
    # What was seen last is the least that it patched; its memo knows, if Temporal still has that.
    return _record(old, view, old.targets.patched if old.targets else 0)


def _record(old: PatchCampaignStatus, view: RunView, count: int) -> Patched:
    run = old.run
    assert run is not None  # noqa: S101 - the caller has one
    return Patched(run=run.number, workflow_id=run.workflow_id, run_id=execution(run, view), count=count)


def _with_run(effects: PatchCampaignEffects, patched: Patched) -> PatchCampaignEffects:
    others = [known for known in effects.standing if known.run != patched.run]
    return effects.model_copy(update={"standing": [patched, *others][:STANDING_LIMIT]})


def _without(effects: PatchCampaignEffects, scope: CompensationScope | None, number: int) -> PatchCampaignEffects:
    """The record after an undo that left nothing of its scope. Without a rollback nothing was taken back."""
    if effects.rollback is None or scope is CompensationScope.RELEASES:
        return effects
    kept = [] if scope is CompensationScope.ALL else [known for known in effects.standing if known.run != number]
    return effects.model_copy(update={"standing": kept})


def _intended(
    spec: PatchCampaignSpec, effects: PatchCampaignEffects | None, tenant: Tenant | None
) -> PatchCampaignEffects:
    return PatchCampaignEffects(
        rollback=spec.rollback,
        targets=spec.targets,
        drain=spec.drain,
        node_selector=tenant.spec.node_selector if tenant else {},
        standing=effects.standing if effects else [],
    )


def undo_wants(subject: Subject, scope: CompensationScope | None, procedures: Mapping[str, Procedure]) -> set[str]:
    """Names of the Procedures that an undo of this scope rests on."""
    status = subject.status
    effects = status.effects if isinstance(status, PatchCampaignStatus) else None
    if effects is None or effects.rollback is None or scope is CompensationScope.RELEASES:
        return set()
    name = effects.rollback.procedure
    reboot = procedures[name].spec.reboot if name in procedures else None
    return {name} | ({reboot} if reboot else set())


def undo_input(
    subject: Subject, start: StartUndo, tenant: TenantFacts, procedures: Mapping[str, Procedure]
) -> PatchCampaignUndoInput:
    """The input of the undo workflow. The record is complete, or the intent would not have come to a start."""
    status, spec, scope = subject.status, subject.spec, start.undo.scope
    if not isinstance(status, PatchCampaignStatus):
        raise TypeError("a PatchCampaign has a PatchCampaignStatus")
    effects = on_record(status.effects, spec, PatchCampaignSpec, lambda spec: _intended(spec, None, None))
    undo = scope is not CompensationScope.RELEASES
    pins, problems = _rollback(effects, procedures) if undo else ({}, {})
    return PatchCampaignUndoInput(
        run=start.identity,
        tenant=tenant,
        attempt=start.undo.attempt,
        timeout_seconds=start.timeout_seconds,
        undo=undo,
        abandoned=start.abandoned,
        final=start.final,
        effects=effects if scope is CompensationScope.ALL else effects.model_copy(update={"standing": []}),
        workflow_id=start.run.workflow_id,
        workflow_run_id=start.run.run_id,
        node_selector=effects.node_selector,
        procedures=pins,
        unpinned=problems,
    )


def _rollback(
    effects: PatchCampaignEffects, procedures: Mapping[str, Procedure]
) -> tuple[dict[str, PinnedProcedure], dict[str, str]]:
    """The rollback's Procedure as it is now, or why it cannot be used. Whom it is offered to by now is not asked."""
    step = effects.rollback
    if step is None:
        return {}, {}
    want = Wants("status.effects.rollback", Use.PATCH_CAMPAIGN_ROLLBACK, step.procedure, step.parameters)
    found = pinned(want, None, procedures)
    told = found.message if isinstance(found, Problem) else host_files(step, found[step.procedure])
    return ({}, {step.procedure: told}) if isinstance(found, Problem) or told else (found, {})
