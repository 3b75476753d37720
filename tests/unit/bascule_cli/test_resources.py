"""What people type to name a resource."""

from __future__ import annotations

import pytest

from bascule_api import image_builds
from bascule_cli.errors import CliError, ExitCode
from bascule_cli.resources import Reference
from tests.support.items import body, recorded


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ("web", None),
        ("ib/web", image_builds.KIND),
        ("imagebuild/web", image_builds.KIND),
        ("ImageBuilds/web", image_builds.KIND),
        ("imagebuilds.bascule.dev/web", image_builds.KIND),
        ("imagebuilds.v1alpha1.bascule.dev/web", image_builds.KIND),
    ],
)
def test_a_name_with_or_without_its_kind(typed: str, kind: object) -> None:
    assert Reference.parse(typed) == Reference("web", kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("typed", ["pod/web", "ib/", "", "ib/web/status", "../web", "web?watch=1", "We b", "ib/-"])
def test_what_names_nothing_is_a_wrong_command_line(typed: str) -> None:
    with pytest.raises(CliError) as refused:
        Reference.parse(typed)
    assert refused.value.code is ExitCode.USAGE


def test_a_status_of_a_newer_version_is_said_to_be_one() -> None:
    item = recorded("waiting", phase="Dreaming")
    assert "too old" in item.unreadable
    assert "phase" in item.unreadable


def test_a_recorded_object_is_read_whole() -> None:
    item = recorded("failed")
    assert (item.reference, item.namespace, item.unfinished) == ("ib/nasty", "acme-dev", False)
    assert item.body == body("failed")
