"""People in a cluster: users with a certificate of their own, as an administrator makes them."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hack import installation
from hack.cluster.handle import Cluster

_SIGNER = "kubernetes.io/kube-apiserver-client"
_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Person:
    """A user of the API server, with a kubeconfig for one namespace and no rights until some are granted."""

    name: str
    namespace: str
    kubeconfig: Path


def make_person(cluster: Cluster, name: str, namespace: str, folder: Path, *groups: str) -> Person:
    """Have the cluster sign a certificate for the user, and write the kubeconfig into the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(cluster, f"{name}-{namespace}", _request(key, name, groups))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [
        {"name": name, "user": {"client-certificate-data": _b64(certificate), "client-key-data": _b64(private)}}
    ]
    place = {"cluster": config["clusters"][0]["name"], "user": name, "namespace": namespace}
    config["contexts"] = [{"name": name, "context": place}]
    config["current-context"] = name
    path = folder / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return Person(name, namespace, path)


def grant(cluster: Cluster, person: Person, role: str) -> None:
    """Bind a ClusterRole to the user in the namespace."""
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{person.name}-{role}", "namespace": person.namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": person.name}],
    }
    installation.apply(cluster, binding)


def _request(key: ec.EllipticCurvePrivateKey, name: str, groups: tuple[str, ...]) -> bytes:
    named = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    named += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(named)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def _signed(cluster: Cluster, name: str, request: bytes) -> bytes:
    """The certificate that the cluster's controller manager signs once an administrator approved the request."""
    cluster.kubectl("delete", "csr", name, "--ignore-not-found")
    spec = {"request": _b64(request), "signerName": _SIGNER, "usages": ["client auth"], "expirationSeconds": 86_400}
    made = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": spec,
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(made))
    cluster.kubectl("certificate", "approve", name)
    for _ in range(_PATIENCE_SECONDS * 5):
        certificate = cluster.kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}")
        if certificate:
            return base64.b64decode(certificate)
        time.sleep(0.2)
    raise RuntimeError(f"the cluster signs no certificate for {name}: does its controller manager run?")


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()
