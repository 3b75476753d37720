"""All kinds there are: what watches, roles, verbs and generators go through."""

from __future__ import annotations

from bascule_api import approvals, dr_drills, image_builds, patch_campaigns, procedures, tenants
from bascule_api.base import Kind

RUN_KINDS: tuple[Kind, ...] = (image_builds.KIND, patch_campaigns.KIND, dr_drills.KIND)
"""Kinds with runs."""
ANSWERS: tuple[Kind, ...] = (approvals.KIND,)
"""Kinds that answer runs."""
PLATFORM_KINDS: tuple[Kind, ...] = (procedures.KIND, tenants.KIND)
"""Kinds that decide whether runs may start."""
KINDS: tuple[Kind, ...] = (*RUN_KINDS, *ANSWERS, *PLATFORM_KINDS)
