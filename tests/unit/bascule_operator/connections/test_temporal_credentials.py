"""Connections to Temporal live as long as what they were made with."""

from __future__ import annotations

import pytest

from bascule_api.tenants import TemporalAccess
from bascule_codec import Keyring
from bascule_codec.credentials import Credentials
from bascule_operator.connections import temporal
from bascule_operator.connections.temporal import Place, Temporal
from bascule_operator.errors import TemporalCredentialsError, TemporalUnavailableError

ACME = Place("acme", access=TemporalAccess(credentials_secret="acme"))


class Source:
    """Credentials that change between readings."""

    def __init__(self, *answers: Credentials | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[TemporalAccess] = []

    async def __call__(self, access: TemporalAccess) -> Credentials:
        self.asked.append(access)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def connections(source: Source) -> Temporal:
    return Temporal("localhost:1", Keyring.generate(), source)


async def test_credentials_are_read_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(Credentials())
    banks = connections(source)

    assert await banks.client(ACME) is await banks.client(ACME)
    assert source.asked == [ACME.access]
    monkeypatch.setattr(temporal, "_CREDENTIALS_SECONDS", 0.0)
    await banks.client(ACME)
    assert len(source.asked) == 2


async def test_another_token_is_told_to_the_connection_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_CREDENTIALS_SECONDS", 0.0)
    banks = connections(Source(Credentials(api_key="old"), Credentials(api_key="new")))
    told: list[str] = []

    first = await banks.client(ACME)
    monkeypatch.setattr(first.service_client, "update_api_key", told.append)

    assert await banks.client(ACME) is first
    assert told == ["new"]


async def test_another_authority_needs_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_CREDENTIALS_SECONDS", 0.0)
    banks = connections(Source(Credentials(), Credentials(server_name="other")))

    assert await banks.client(ACME) is not await banks.client(ACME)


async def test_tenants_with_other_credentials_share_no_connection() -> None:
    banks = connections(Source(Credentials()))
    globex = Place("acme", access=TemporalAccess(credentials_secret="globex"))

    assert (await banks.client(ACME)).service_client is not (await banks.client(globex)).service_client


async def test_what_cannot_be_read_again_now_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_CREDENTIALS_SECONDS", 0.0)
    banks = connections(Source(Credentials(), TemporalUnavailableError("the API server is away")))

    assert await banks.client(ACME) is await banks.client(ACME)


async def test_a_certificate_that_is_none_is_told_as_such() -> None:
    banks = connections(Source(TemporalCredentialsError("the Secret bascule-system/acme does not exist")))

    with pytest.raises(TemporalCredentialsError) as raised:
        await banks.client(ACME)
    assert raised.value.words == "cannot be asked (the Secret bascule-system/acme does not exist)"
