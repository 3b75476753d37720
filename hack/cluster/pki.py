"""The cluster's private certificate authority and what it signs."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.cluster.addresses import CLUSTER_DOMAIN, CONTROL, KUBERNETES_SERVICE, NODES, SERVICE_HOSTS, HostLink

_LIFETIME = datetime.timedelta(days=3650)
_HOST_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Identity:
    """A certificate to make: who it names, and the names and addresses it serves."""

    file: str
    common_name: str
    organization: str = ""
    serves: tuple[str, ...] = ()


def identities(link: HostLink) -> list[Identity]:
    """List every certificate of a cluster. Common names and organizations are the users and groups of RBAC."""
    reachable = ("127.0.0.1", "localhost", CONTROL, link.cluster)
    kubernetes = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    )
    nodes = [
        Identity(node.name, f"system:node:{node.name}", "system:nodes", (node.name, node.address))
        for node in NODES.values()
    ]
    return [
        Identity("apiserver", "kube-apiserver", serves=(*reachable, KUBERNETES_SERVICE, *kubernetes)),
        Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("proxy", "system:kube-proxy"),
        Identity("coredns", "system:coredns"),
        Identity("services", "bascule services", serves=(*SERVICE_HOSTS, *reachable)),
        *nodes,
    ]


def make_certificates(directory: Path, link: HostLink, trust: Path) -> None:
    """Make the authority, all certificates and the service accounts' key, and write the file of trusted authorities."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = _new_key(directory / "ca.key")
    authority = _authority(authority_key)
    (directory / "ca.crt").write_bytes(_pem(authority))
    _new_key(directory / "service-accounts.key")
    _new_key(directory / "tokens.key")
    for identity in identities(link):
        key = _new_key(directory / f"{identity.file}.key")
        certificate = _sign(identity, key, authority, authority_key)
        (directory / f"{identity.file}.crt").write_bytes(_pem(certificate))
    known = _HOST_AUTHORITIES.read_bytes() if _HOST_AUTHORITIES.exists() else b""
    trust.write_bytes(known + b"\n" + _pem(authority))


def issue(directory: Path, common_name: str) -> tuple[str, str]:
    """Sign another client certificate with a cluster's authority. Returns certificate and key, both PEM."""
    authority = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    authority_key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is none of ours")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(Identity("", common_name), key, authority, authority_key)
    return _pem(certificate).decode(), _key_pem(key).decode()


def ensure_client(directory: Path, name: str) -> tuple[Path, Path]:
    """Have the certificate of one of the cluster's own clients, `system:NAME`. Returns the files, it and its key."""
    files = directory / f"{name}.crt", directory / f"{name}.key"
    if not all(file.exists() for file in files):
        for file, text in zip(files, issue(directory, f"system:{name}"), strict=True):
            file.touch(mode=0o600)
            file.write_text(text)
    return files


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(_key_pem(key))
    path.chmod(0o600)
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    # SEC 1 is what the API server reads for the service accounts' key; everything else reads it too.
    return key.private_bytes(encoding, serialization.PrivateFormat.TraditionalOpenSSL, no_password)


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("bascule test authority", "")
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _sign(
    identity: Identity,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    builder = _builder(_name(identity.common_name, identity.organization), authority.subject, key.public_key())
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.serves:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(identity.serves)), critical=False)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    # An hour back: clocks of machines that share nothing but this certificate may differ.
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + _LIFETIME)
    )


def _name(common_name: str, organization: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _names(serves: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for name in serves:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    return names


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
