"""What the images' Python environments are made of."""

from __future__ import annotations

from hack.images.wheels import requirements

PYPROJECT = """
[project]
dependencies = ["pydantic>=2"]
[project.optional-dependencies]
operator = ["kopf>=1", "kubernetes"]
"""


def test_an_extra_needs_what_the_project_needs_too() -> None:
    assert requirements(PYPROJECT, "operator") == ["pydantic>=2", "kopf>=1", "kubernetes"]
