"""The kinds with runs that this operator serves."""

from __future__ import annotations

from bascule_operator.reconcilers import dr_drills, image_builds, patch_campaigns
from bascule_operator.reconcilers.kinds import RunKind

SERVED: dict[str, RunKind] = {kind.kind: kind for kind in (image_builds.KIND, patch_campaigns.KIND, dr_drills.KIND)}
