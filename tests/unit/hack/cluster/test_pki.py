"""What the private authority signs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from hack.cluster.addresses import HostLink
from hack.cluster.pki import Identity, identities, make_certificates


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    make_certificates(folder / "pki", HostLink(7), folder / "trust.pem")
    return folder / "pki"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
@pytest.mark.parametrize("identity", identities(HostLink(7)), ids=lambda identity: identity.file)
def test_every_certificate_is_accepted_by_openssl(pki: Path, identity: Identity) -> None:
    file = str(pki / f"{identity.file}.crt")

    verified = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", str(pki / "ca.crt"), file],
                              capture_output=True, text=True, check=False)  # fmt: skip

    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("name", ["registry.bascule.test", "git.bascule.test", "temporal.bascule.test"])
def test_the_servers_names_are_in_their_certificate(pki: Path, name: str) -> None:
    certificate = x509.load_pem_x509_certificate((pki / "services.crt").read_bytes())

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in names.get_values_for_type(x509.DNSName)


def test_keys_are_for_their_owner_only(pki: Path) -> None:
    assert {key.stat().st_mode & 0o077 for key in pki.glob("*.key")} == {0}
    assert pki.stat().st_mode & 0o077 == 0


def test_the_trust_file_has_the_authority(pki: Path) -> None:
    assert (pki / "ca.crt").read_text() in (pki.parent / "trust.pem").read_text()
