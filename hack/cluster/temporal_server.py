"""The two kinds of Temporal that a cluster may have: the dev server, and the real server on PostgreSQL.

The real one demands client certificates (TLS) and JWT claims per Temporal namespace (its default authorizer), as a
platform's own does; the dev server knows neither.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from hack.cluster.addresses import TEMPORAL_HOST, TEMPORAL_PORT
from hack.cluster.paths import Paths
from hack.cluster.shell import ClusterError


class TemporalKind(StrEnum):
    """What TEMPORAL chooses."""

    DEV = "dev"
    """The dev server on SQLite, with a UI; the default."""
    POSTGRES = "postgres"
    """The real server on PostgreSQL, with TLS and authorization."""


SETTINGS: Mapping[str, Any] = {
    # A search attribute can be used as soon as it was registered.
    "system.forceSearchAttributesCacheRefreshOnRead": True,
    # Cluster tests register a namespace each.
    "frontend.namespaceRPS": 5000,
}
DATABASE_PORT, TOKEN_KEYS_PORT, INTERNAL_PORT = 5432, 7240, 7236
_DATABASES = ("temporal", "temporal_visibility")
_SERVICES = ("history", "matching", "frontend", "internal-frontend", "worker")


def chosen() -> TemporalKind | None:
    """What the environment's TEMPORAL asks for; None when it leaves the choice. Raises ClusterError."""
    value = os.environ.get("TEMPORAL", "")
    try:
        return TemporalKind(value) if value else None
    except ValueError:
        kinds = " or ".join(TemporalKind)
        raise ClusterError(f"TEMPORAL={value} is unknown: {kinds}") from None


def database_script(paths: Paths) -> str:
    """The start of PostgreSQL, which refuses to be root; the first time it makes its files."""
    data = paths.state / "postgres"
    options = {
        "listen_addresses": "127.0.0.1",
        "port": DATABASE_PORT,
        "unix_socket_directories": "/tmp",
        "max_connections": 200,
        "shared_buffers": "256MB",
        # The state of a test cluster needs to survive its processes, not the machine's loss of power.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    flags = " ".join(f"-c {name}={value}" for name, value in options.items())
    return f"""#!/bin/sh
set -eu
cd /
program=$(echo /usr/lib/postgresql/*/bin)
mkdir -p {data}
chown postgres:postgres {data}
chmod 700 {data}
as="setpriv --reuid=postgres --regid=postgres --init-groups"
# Nobody but the control plane's own processes reaches 127.0.0.1 here.
[ -s {data}/PG_VERSION ] || $as "$program/initdb" --pgdata={data} --auth=trust --encoding=UTF8 --locale=C
rm -f {data}/postmaster.pid
exec $as "$program/postgres" -D {data} {flags}
"""


def server_script(paths: Paths, programs: Path) -> str:
    """The start of the server: databases and schemas are made or brought up to date first, then all its services."""
    address = f"--endpoint 127.0.0.1 --port {DATABASE_PORT} --user postgres"
    tool = f"{programs}/temporal-sql-tool --plugin postgres12 {address}"
    services = " ".join(f"--service={name}" for name in _SERVICES)
    steps = "\n".join(_schema(paths, tool, database) for database in _DATABASES)
    return f"""#!/bin/sh
set -eu
cd /
until psql --host=127.0.0.1 --port={DATABASE_PORT} --username=postgres --command='select 1' >/dev/null 2>&1; do
  sleep 0.2
done
{steps}
exec {programs}/temporal-server --config-file {paths.config}/temporal.json start {services}
"""


def _schema(paths: Paths, tool: str, database: str) -> str:
    """Make a database once, and bring its schema up to date each time."""
    made = f"{paths.state}/temporal/{database}"
    schema = f"postgresql/v12/{database.removeprefix('temporal_')}"
    return f"""if [ ! -e {made} ]; then
  {tool} --database {database} create-database
  {tool} --database {database} setup-schema --version 0.0
  touch {made}
fi
{tool} --database {database} update-schema --schema-name {schema}"""


def server_configuration(paths: Paths) -> str:
    """The server's configuration file: JSON, which is YAML too."""
    authority, own = str(paths.pki / "ca.crt"), paths.pki / "services"
    configuration = {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": "default",
            "visibilityStore": "visibility",
            "numHistoryShards": 8,
            "datastores": {
                "default": {"sql": _database("temporal", 40)},
                "visibility": {"sql": _database("temporal_visibility", 20)},
            },
        },
        "global": {
            "membership": {"maxJoinDuration": "30s", "broadcastAddress": "127.0.0.1"},
            "tls": {
                "frontend": {
                    "server": {
                        "certFile": f"{own}.crt",
                        "keyFile": f"{own}.key",
                        "requireClientAuth": True,
                        "clientCaFiles": [authority],
                    },
                    "client": {"serverName": TEMPORAL_HOST, "rootCaFiles": [authority]},
                }
            },
            "authorization": {
                "jwtKeyProvider": {
                    "keySourceURIs": [f"http://127.0.0.1:{TOKEN_KEYS_PORT}/jwks.json"],
                    "refreshInterval": "1m",
                },
                "permissionsClaimName": "permissions",
                "authorizer": "default",
                "claimMapper": "default",
            },
        },
        "services": {
            "frontend": {"rpc": {"grpcPort": TEMPORAL_PORT, "membershipPort": 6933, "bindOnIP": "0.0.0.0"}},  # noqa: S104 - of a network of its own
            # Temporal's own workers call this one, which nobody else reaches and which asks for no token.
            "internal-frontend": {"rpc": _internal(INTERNAL_PORT, 6936)},
            "history": {"rpc": _internal(7234, 6934)},
            "matching": {"rpc": _internal(7235, 6935)},
            "worker": {"rpc": _internal(7239, 6939)},
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": f"127.0.0.1:{INTERNAL_PORT}",
                }
            },
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": f"{paths.config}/temporal-dynamic.json", "pollInterval": "60s"},
    }
    return json.dumps(configuration, indent=2) + "\n"


def dynamic_configuration() -> str:
    """The settings that Temporal reads while it runs."""
    return json.dumps({name: [{"value": value}] for name, value in SETTINGS.items()}, indent=2) + "\n"


def _database(name: str, connections: int) -> dict[str, Any]:
    return {
        "pluginName": "postgres12",
        "databaseName": name,
        "connectAddr": f"127.0.0.1:{DATABASE_PORT}",
        "connectProtocol": "tcp",
        "user": "postgres",
        "maxConns": connections,
        "maxIdleConns": connections,
        "maxConnLifetime": "1h",
    }


def _internal(port: int, membership: int) -> dict[str, Any]:
    return {"grpcPort": port, "membershipPort": membership, "bindOnLocalHost": True}
