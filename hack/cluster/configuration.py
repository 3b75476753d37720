"""The configuration files of control plane and services, as text. Nothing here touches the machine."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.cluster.addresses import (
    CLUSTER_DOMAIN,
    CONTROL,
    DNS_READY_PORT,
    DNS_SERVICE,
    PACKAGES_PORT,
    PODS,
    SERVICE_DOMAIN,
    SERVICE_HOSTS,
    TENANT_PASSWORD,
    TENANT_PASSWORD_BCRYPT,
    TENANT_USER,
    NodeAddress,
    nth_address,
)

Document = Mapping[str, object]


def kubeconfig(cluster: str, server: str, ca: Path, certificate: Path, key: Path) -> str:
    """Return a kubeconfig that logs in with a client certificate. All files are named by path."""
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": cluster, "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }
    return _json(document)


def audit_policy() -> str:
    """Return an audit policy that writes down every write once it is done, and no reads."""
    document = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            # Nodes renew these every few seconds for as long as they live.
            {"level": "None", "namespaces": ["kube-node-lease"], "resources": [{"group": "coordination.k8s.io"}]},
            {"level": "Metadata"},
        ],
    }
    return _json(document)


def corefile(coredns_kubeconfig: Path) -> str:
    """Return CoreDNS's configuration: our servers' names, the cluster's Services, and nothing else exists."""
    return f"""{SERVICE_DOMAIN}:53 {{
    bind {CONTROL}
    errors
    hosts {{
        {CONTROL} {" ".join(SERVICE_HOSTS)}
        ttl 30
    }}
}}
{CLUSTER_DOMAIN}:53 in-addr.arpa:53 {{
    bind {CONTROL}
    errors
    ready 0.0.0.0:{DNS_READY_PORT}
    kubernetes {{
        kubeconfig {coredns_kubeconfig}
        ttl 5
    }}
    loadbalance
}}
.:53 {{
    bind {CONTROL}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def registry(storage: Path, port: int, certificate: Path, key: Path, users: Path | None) -> str:
    """Return docker-registry's configuration; with a file of users it asks for a password."""
    document: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {
            "addr": f"0.0.0.0:{port}",
            "secret": "uploads only need it to be the same after a restart",
            "tls": {"certificate": str(certificate), "key": str(key)},
        },
    }
    if users:
        document["auth"] = {"htpasswd": {"realm": "bascule", "path": str(users)}}
    return _json(document)


def registry_users() -> str:
    """Return the private registry's users and their passwords' hashes."""
    return f"{TENANT_USER}:{TENANT_PASSWORD_BCRYPT}\n"


def git_users() -> str:
    """Return the git server's users and passwords."""
    return f"{TENANT_USER}:{TENANT_PASSWORD}\n"


def git_server(repositories: Path, certificate: Path, key: Path, users: Path) -> str:
    """Return lighttpd's configuration: git's own smart protocol, read only, with a password below /private/.

    What is asked below /moved/ is answered with the address of another host.
    """
    return f"""server.modules = (
    "mod_openssl", "mod_auth", "mod_authn_file", "mod_setenv", "mod_alias", "mod_redirect", "mod_cgi"
)
server.document-root = "{repositories}"
server.bind = "0.0.0.0"
server.port = 443
server.upload-dirs = ("/tmp")
ssl.engine = "enable"
ssl.pemfile = "{certificate}"
ssl.privkey = "{key}"
auth.backend = "plain"
auth.backend.plain.userfile = "{users}"
$HTTP["url"] =~ "^/private/" {{
    auth.require = ("" => ("method" => "basic", "realm" => "bascule", "require" => "valid-user"))
}}
# A server that has moved: what is asked below /moved/ is said to be on another host.
url.redirect = ("^/moved/(.*)$" => "https://elsewhere.{SERVICE_DOMAIN}/$1")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{repositories}", "GIT_HTTP_EXPORT_ALL" => "1", "HOME" => "/root")
alias.url = ("/" => "/usr/lib/git-core/git-http-backend/")
cgi.assign = ("" => "")
"""


def package_server(archive: Path) -> str:
    """Return lighttpd's configuration for the Debian archive: plain files over plain HTTP, as Debian's mirrors do."""
    return f'''server.document-root = "{archive}"
server.bind = "0.0.0.0"
server.port = {PACKAGES_PORT}
'''


def kube_proxy(node: str, proxy_kubeconfig: Path) -> str:
    """Return kube-proxy's configuration."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node,
        "clientConnection": {"kubeconfig": str(proxy_kubeconfig)},
        "clusterCIDR": PODS,
        # The host's limits are not ours to change.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    return _json(document)


def kubelet(etc: Path, node: NodeAddress) -> str:
    """Return the kubelet's configuration."""
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(etc / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(etc / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(etc / f"{node.name}.key"),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        # The disk is the host's: its filling up is nothing that a node could cure by throwing out pods and images.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "shutdownGracePeriod": "0s",
        "healthzPort": 10248,
        "maxPods": 200,
    }
    return _json(document)


def containerd(pause_image: str) -> str:
    """Return containerd's configuration."""
    return f"""version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Without CAP_SYS_RESOURCE a container cannot ask for a lower score than the node's; otherwise every sandbox dies.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"""


def containerd_host(registry_name: str, ca: Path) -> str:
    """Return how containerd reaches one registry: over TLS, trusting the cluster's authority."""
    return f"""server = "https://{registry_name}"

[host."https://{registry_name}"]
  capabilities = ["pull", "resolve"]
  ca = "{ca}"
"""


def pod_network(node: NodeAddress) -> str:
    """Return the node's CNI configuration: a bridge for its pods, with the node as their gateway.

    The plugin is `bridge` inside `bascule-bridge`, which waits for the pod's network policies.
    """
    bridge = {
        "type": "bascule-bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": node.pods, "gateway": nth_address(node.pods, 1)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/cni",
        },
    }
    plugins: Sequence[Document] = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return _json({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def _json(document: object) -> str:
    # JSON is YAML too, and every reader of these files takes it.
    return json.dumps(document, indent=2) + "\n"
