"""What the system tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import ImageBuildBuilder


@pytest.fixture
def image_build(bascule: Cluster, tenant: TenantHandle) -> Callable[[str], ImageBuildBuilder]:
    """`image_build("web").with_test(…).apply()`"""
    return lambda name: ImageBuildBuilder(name, bascule, tenant)
