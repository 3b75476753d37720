"""Only the input of a workflow has an error of its own."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bascule_api.image_builds import ImageBuildInput, ImageBuildUndoInput
from bascule_workers.decoding import InputConverter, UndecodableInputError
from bascule_workers.messages import Done, Left, NotYet
from tests.support.runs import image_build


def decoded(value: Any, hint: Any) -> Any:
    converter = InputConverter()
    return converter.from_payloads(converter.to_payloads([value]), [hint])[0]


def test_what_has_the_form_is_decoded() -> None:
    build = image_build()
    assert decoded(build, ImageBuildInput) == build


@pytest.mark.parametrize("hint", [ImageBuildInput, ImageBuildUndoInput])
def test_an_input_of_another_form_is_undecodable(hint: type) -> None:
    with pytest.raises(UndecodableInputError, match="validation error"):
        decoded({"run": "nonsense"}, hint)


@pytest.mark.parametrize("hint", [Done[Left] | NotYet, Left])
def test_an_answer_of_another_form_is_a_bug_like_any_other(hint: Any) -> None:
    with pytest.raises(ValidationError):
        decoded({"kind": "Neither", "items": 5}, hint)
