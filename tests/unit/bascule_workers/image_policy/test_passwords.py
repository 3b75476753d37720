"""Passwords that everybody tries first, against hashes of the C library's own."""

from __future__ import annotations

import pytest

from bascule_workers.image_policy import passwords


@pytest.mark.parametrize("setting", ["$1$salt$", "$5$salt$", "$6$rounds=1000$salt$", "$2b$04$" + "a" * 21 + "e", "ab"])
@pytest.mark.parametrize("password", ["toor", "web123", "bew"])
def test_a_well_known_password_is_found(setting: str, password: str) -> None:
    hashed = passwords.crypt(password, setting)
    assert passwords.is_hash(hashed)
    assert passwords.is_affordable(hashed)
    assert passwords.guess("web", hashed) == password


def test_debians_own_kind_of_hash_is_understood() -> None:
    hashed = "$y$j9T$abcdefghijklmnopqrstu.$Vvkr2DhXaCO1nQH6e5.TnPaHBE.nhW6gOLIPjyzLYr3"
    assert passwords.is_affordable(hashed)
    again = passwords.crypt("changeme", hashed)
    assert again.startswith("$y$j9T$")
    assert passwords.guess("web", again) == "changeme"


def test_another_password_is_not_found() -> None:
    assert passwords.guess("web", passwords.crypt("e4f0-long-and-unheard-of", "$1$salt$")) is None


@pytest.mark.parametrize(
    "hashed",
    ["$6$rounds=999999999$salt$x", "$2b$31$" + "a" * 53, "$y$jFT$salt$x", "$7$C6..../....$x", "$y$jzzzz$salt$x"],
)
def test_a_hash_that_would_keep_us_busy_is_not_tried(hashed: str) -> None:
    assert passwords.is_hash(hashed)
    assert not passwords.is_affordable(hashed)


@pytest.mark.parametrize("field", ["", "*", "!", "!!", "x", "!*", "!$6$salt$x", "*LK*", "NP"])
def test_locked_accounts_have_no_hash(field: str) -> None:
    assert not passwords.is_hash(field)
