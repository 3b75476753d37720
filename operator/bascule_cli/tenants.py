"""`bascule tenant …`: for platform teams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from bascule_api import names
from bascule_api.base import DnsLabel, ObjectName
from bascule_api.tenants import MAX_NAME_LENGTH
from bascule_cli.steps import TenantGround, manifests

app = typer.Typer(help="Prepare a cluster for a tenant.", no_args_is_help=True, rich_markup_mode="markdown")


class _Dumper(yaml.SafeDumper):
    """Certificates as blocks, and no anchors: people read this before they apply it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _label(value: str) -> str:
    return _checked(DnsLabel, value, "a-z, 0-9 and -, at most 63 characters, neither beginning nor ending with -")


def _labels(values: list[str]) -> list[str]:
    return [_label(value) for value in values]


def _object_names(values: list[str]) -> list[str]:
    return [_checked(ObjectName, value, "a-z, 0-9, - and ., at most 253 characters") for value in values]


def _checked(kind: Any, value: str, allowed: str) -> str:
    try:
        return str(TypeAdapter(kind).validate_python(value))
    except ValidationError:
        raise typer.BadParameter(f"{value!r} is no such name: {allowed}") from None


def _tenant_name(value: str) -> str:
    if len(value) > MAX_NAME_LENGTH:
        raise typer.BadParameter(f"the name of a Tenant has at most {MAX_NAME_LENGTH} characters")
    return _label(value)


def _certificates(path: Path | None) -> str:
    if path is None:
        return ""
    text = path.read_text(encoding="ascii", errors="replace")
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        raise typer.BadParameter(f"{path} must hold PEM certificates and nothing else", param_hint="--ca-file")
    return text


@app.command("manifests")
def print_manifests(
    name: Annotated[str, typer.Argument(help="Name of the Tenant.", callback=_tenant_name)],
    namespace: Annotated[
        list[str],
        typer.Option("--namespace", "-n", help="A namespace of the tenant; may be repeated.", callback=_labels),
    ],
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", help="PEM certificates that the steps trust.", exists=True, dir_okay=False),
    ] = None,
    system_namespace: Annotated[
        str, typer.Option(help="Where the chart is installed.", callback=_label)
    ] = "bascule-system",
    steps_namespace: Annotated[
        str, typer.Option(help="As `spec.steps.namespace` of the Tenant.  [default: bascule-steps-NAME]")
    ] = "",
    service_account: Annotated[
        str, typer.Option(help="As `spec.steps.serviceAccountName` of the Tenant.", callback=_label)
    ] = "bascule-step",
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Let the worker read only this Secret of the namespaces; may be repeated."),
    ] = None,
    config_map: Annotated[
        list[str] | None,
        typer.Option(help="Let the worker read only this ConfigMap of the namespaces; may be repeated."),
    ] = None,
    patches_nodes: Annotated[
        bool,
        typer.Option(
            "--patches-nodes", help="The Tenant has a `spec.nodeSelector`: pods of Host Procedures may run for it."
        ),
    ] = False,
) -> None:
    """Print what a tenant needs in the cluster besides its Tenant, as YAML. Asks no server.

    That is the steps namespace with its ServiceAccount, quota and network policy, and the worker's Roles there and in
    the tenant's namespaces, which must exist. Nobody of the tenant may be given any right in the steps namespace.

    **Example:** `bascule tenant manifests acme -n acme-dev | kubectl apply --server-side -f -`
    """
    ground = TenantGround(
        tenant=name,
        namespaces=tuple(dict.fromkeys(namespace)),
        steps_namespace=_label(steps_namespace or names.steps_namespace(name)),
        service_account=service_account,
        system_namespace=system_namespace,
        ca_bundle=_certificates(ca_file),
        secrets=tuple(_object_names(secret or [])),
        config_maps=tuple(_object_names(config_map or [])),
        patches_nodes=patches_nodes,
    )
    if ground.steps_namespace in ground.namespaces:
        raise typer.BadParameter(
            "the steps namespace holds credentials of runs: it cannot be one of the tenant's own", param_hint="-n"
        )
    documents = yaml.dump_all(manifests(ground), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    typer.echo(documents, nl=False)
