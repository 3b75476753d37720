"""What workers make of a workflow's input that does not decode: the one error of all that fails a run at once.

Whatever else does not validate inside a workflow is a bug of ours, and waits for mended code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter

from bascule_api.progress import RunInput, UndoInput


class UndecodableInputError(Exception):
    """The input of a workflow does not have the form that this worker knows."""


class InputConverter(PydanticPayloadConverter):
    """As ever, but for inputs of workflows, whose errors have a type of their own."""

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Raises UndecodableInputError, and what it raises for all others."""
        try:
            return super().from_payloads(payloads, type_hints)
        except ValidationError as error:
            if any(isinstance(hint, type) and issubclass(hint, (RunInput, UndoInput)) for hint in type_hints or ()):
                raise UndecodableInputError(str(error)) from error
            raise


def strict_about_inputs(client: Client) -> Client:
    """The client with this converter, on the same connection."""
    config = client.config()
    config["data_converter"] = replace(client.data_converter, payload_converter_class=InputConverter)
    return Client(**config)
