"""How many DRDrills of each tenant met their objectives last, missed them, or are overdue: for metrics only."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from bascule_operator import metrics
from bascule_operator.decisions import dr_drills
from bascule_operator.decisions.drill_standings import Standing, standing
from bascule_operator.store import Store


def tell(store: Store, now: datetime) -> None:
    """Count them anew. A tenant without DRDrills has no such metric."""
    found: Counter[tuple[str, Standing]] = Counter()
    owners = {space: name for name, tenant in store.tenants.items() for space in tenant.spec.namespaces}
    for key in store.keys(dr_drills.KIND):
        entry = store.get(key)
        known = standing(entry.body, now) if entry and not entry.deleting else None
        if entry is not None and known is not None:
            found[entry.tenant or owners.get(key.namespace, ""), known] += 1
    metrics.DRILLS.clear()
    for tenant in {tenant for tenant, _ in found}:
        # All states, so that an alert on one of them ends when it does.
        for state in Standing:
            metrics.DRILLS.labels(tenant, state).set(found[tenant, state])
