"""The command line: `python -m hack.cluster COMMAND`."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence

from hack.cluster import lifecycle
from hack.cluster.addresses import NODES
from hack.cluster.binaries import binaries
from hack.cluster.console import say
from hack.cluster.engines import OWN, check_engine
from hack.cluster.handle import Cluster, down, running, up
from hack.cluster.machines import CONTROL_MACHINE
from hack.cluster.packages import ensure_host_packages
from hack.cluster.processes import running_pid
from hack.cluster.readiness import is_ready
from hack.cluster.shell import ClusterError
from hack.cluster.sites import find_site
from hack.cluster.temporal_server import chosen
from hack.images.build import build_images

_DESCRIPTION = """\
A real Kubernetes cluster on this machine: etcd, API server, controllers, scheduler, two nodes with containerd, CoreDNS,
two OCI registries, a git server and Temporal, in a network of their own. Needs root, and Debian's package archive,
PyPI and Go modules the first time. Everything that is made is removed by `down`."""
_EPILOGUE = """\
environment:
  NAME           the cluster's name, when --name is not given (default: bascule)
  CLUSTER        own (default); kind says what it needs and lacks
  TEMPORAL       dev (default): Temporal's dev server; postgres: the real server on PostgreSQL, with TLS that demands
                 client certificates, and authorization by JWT claims (no UI)
  BASCULE_CACHE  binaries, root file systems and images (default: ~/.cache/bascule)
  BASCULE_STATE  the clusters' state (default: /var/lib/bascule)
examples:
  python -m hack.cluster up
  eval "$(python -m hack.cluster env)" && kubectl get nodes
  python -m hack.cluster exec -- skopeo list-tags docker://registry.bascule.test:5000/bascule/operator
  python -m hack.cluster stop node2"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.cluster",
        description=_DESCRIPTION,
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    named = argparse.ArgumentParser(add_help=False)
    # Before or after the command; the second parser must not put the default back over what the first one read.
    named.add_argument("--name", default=argparse.SUPPRESS, help="the cluster's name")
    parser.add_argument("--name", default=os.environ.get("NAME") or "bascule", help="the cluster's name")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[named])
        command.set_defaults(run=run)
        return command

    add("up", _up, "make the cluster, or start what is missing of it, and wait until it is ready")
    add("down", _down, "remove the cluster and everything that belongs to it")
    add("status", _status, "say what runs and what does not; exit code 1 when something is missing")
    add("env", _env, "print shell commands that point kubectl, cosign, git and temporal at the cluster")
    add("binaries", _binaries, "only have the programs ready in the cache, and print their folder")
    add("images", _images, "build the images that changed, and publish them when the cluster is running")
    execute = add("exec", _exec, "run a command inside the cluster's network, where its names resolve")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    kubectl = add("kubectl", _kubectl, "run kubectl as the cluster's administrator")
    kubectl.add_argument("command", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    for name, run, text in (
        ("stop", _stop, "end a component, or switch a node off"),
        ("start", _start, "start a component or a node, and wait until it is ready"),
        ("restart", _restart, "stop and start a component or a node"),
    ):
        add(name, run, text).add_argument("component", help="one of the names that `status` prints")
    reboot = add("reboot", _reboot, "switch a node off and on again, and wait until it is Ready with a new boot id")
    reboot.add_argument("node", help="one of the nodes that `status` prints")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    check_engine(os.environ.get("CLUSTER") or OWN)
    cluster = up(arguments.name, chosen())
    print(f"kubeconfig    {cluster.kubeconfig}")
    print(f"temporal      {cluster.temporal_address}")
    if cluster.temporal_ui:
        print(f"temporal UI   {cluster.temporal_ui}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    down(arguments.name)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    site = find_site(arguments.name)
    if site is None:
        print(f"there is no cluster {arguments.name}")
        return 1
    healthy = site.record.complete
    print(f"cluster {arguments.name}: {'made' if healthy else 'only half made; `up` makes it anew, `down` removes it'}")
    for name in (CONTROL_MACHINE, *NODES):
        pid = running_pid(site.paths, name)
        healthy &= pid is not None
        print(f"  {name:22} {f'on (process {pid})' if pid else 'off'}")
    for component in site.components.values():
        pid = running_pid(site.paths, component.name)
        ready = pid is not None and is_ready(site.paths, site.host, component)
        healthy &= ready
        state = f"ready (process {pid})" if ready else f"not ready (process {pid})" if pid else "not running"
        print(f"  {component.name:22} {state}")
    return 0 if healthy else 1


def _env(arguments: argparse.Namespace) -> int:
    for key, value in _running(arguments).environment.items():
        print(f"export {key}={shlex.quote(value)}")
    return 0


def _binaries(_: argparse.Namespace) -> int:
    ensure_host_packages()
    print(binaries())
    return 0


def _images(arguments: argparse.Namespace) -> int:
    lifecycle.prepare()
    cluster = running(arguments.name)
    if cluster is None:
        images = {image.name: image.digest for image in build_images()}
        say(f"cluster {arguments.name} is not running: built, not published")
    else:
        images = dict(cluster.refresh_images().images)
    for name, reference in images.items():
        print(f"{name:14} {reference}")
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    command = _words(arguments)
    if not command:
        raise ClusterError("no command to run; write it after `exec --`")
    wrapped, environment = _running(arguments).inside(command)
    os.execvpe(wrapped[0], wrapped, environment)  # noqa: S606 - takes this process's place, as exec does


def _kubectl(arguments: argparse.Namespace) -> int:
    cluster = _running(arguments)
    program = str(binaries() / "kubectl")
    os.execv(program, [program, f"--kubeconfig={cluster.kubeconfig}", *_words(arguments)])  # noqa: S606 - as above


def _words(arguments: argparse.Namespace) -> list[str]:
    words: list[str] = arguments.command
    return words[1:] if words[:1] == ["--"] else words


def _stop(arguments: argparse.Namespace) -> int:
    _running(arguments).stop(arguments.component)
    return 0


def _start(arguments: argparse.Namespace) -> int:
    _running(arguments).start(arguments.component)
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    _running(arguments).restart(arguments.component)
    return 0


def _reboot(arguments: argparse.Namespace) -> int:
    _running(arguments).reboot(arguments.node)
    return 0


def _running(arguments: argparse.Namespace) -> Cluster:
    cluster = running(arguments.name)
    if cluster is None:
        raise ClusterError(f"cluster {arguments.name} is not running; `python -m hack.cluster up` makes it")
    return cluster
