"""Which template is built, and what Packer's complaints mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule_workers.in_step.contract import StepError
from bascule_workers.packer import template


@pytest.mark.parametrize(
    ("files", "wanted", "expected"),
    [
        pytest.param(["template.pkr.hcl", "template.json"], "", "./template.pkr.hcl", id="HCL comes first"),
        pytest.param(["template.json"], "", "./template.json", id="JSON is found as well"),
        pytest.param(["images/web.pkr.hcl"], "images/web.pkr.hcl", "./images/web.pkr.hcl", id="the one that is named"),
        pytest.param(["images/web.pkr.hcl"], "images", "./images", id="a folder of HCL"),
    ],
)
def test_the_template_is_found(tmp_path: Path, files: list[str], wanted: str, expected: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert template.choose(tmp_path, wanted) == expected


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"no template web\.json"):
        template.choose(tmp_path, "web.json")
    with pytest.raises(StepError, match="set the parameter template"):
        template.choose(tmp_path, "")


def test_a_link_does_not_lead_out_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "outside.json").touch()
    (tmp_path / "sources/template.json").symlink_to("../outside.json")
    with pytest.raises(StepError, match="leads out of the sources"):
        template.choose(tmp_path / "sources", "")


@pytest.mark.parametrize("variable", ["novalue", "=x", "-var=x", "1a=b", " a=b"])
def test_a_variable_that_is_none_is_named_without_its_value(variable: str) -> None:
    with pytest.raises(StepError) as raised:
        template.check_variables(["a=b", variable])
    assert str(raised.value) == "parameter variables[1] must be KEY=VALUE"


def test_values_may_be_anything() -> None:
    template.check_variables(["a=", "b=x=y\n$(z)", "c-d=-var"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("error initializing builder 'x': Unknown builder nosuch", "no plugin 'nosuch'"),
        ("Error: Unknown source type nosuch", "no plugin 'nosuch'"),
        ('Error: Unknown post-processor type "nosuch"', "no plugin 'nosuch'"),
        ('Unsupported block type: Blocks of type "required_plugins"', "leave the block required_plugins out"),
        ("exit status 1", ""),
    ],
)
def test_known_complaints_have_a_remedy(error: str, expected: str) -> None:
    assert expected in template.remedy(error)
    assert bool(template.remedy(error)) == bool(expected)
