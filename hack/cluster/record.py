"""What the tool writes down about a cluster, so that a later run knows what an earlier one decided and finished."""

import json
from dataclasses import asdict, dataclass, replace

from hack.cluster.addresses import HostLink, choose_link, links_in_use
from hack.cluster.paths import Paths, locked, state_directory
from hack.cluster.temporal_server import TemporalKind


@dataclass(frozen=True)
class Record:
    """A cluster's decisions. `complete` turns true at the end of the `up` that made it."""

    link: int
    complete: bool
    temporal: TemporalKind = TemporalKind.DEV

    @property
    def host_link(self) -> HostLink:
        """The cable between host and cluster."""
        return HostLink(self.link)


def read_record(paths: Paths) -> Record | None:
    """Return a cluster's record, or None when there is none or a crash left half of one."""
    try:
        stored = Record(**json.loads(paths.record.read_text()))
        return replace(stored, temporal=TemporalKind(stored.temporal))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def new_record(paths: Paths, temporal: TemporalKind) -> Record:
    """Decide on a new cluster's link and write it down before anything is made."""
    with locked(state_directory() / "locks" / "links", "the list of links"):
        others = (read_record(cluster) for cluster in _clusters())
        taken = {record.link for record in others if record} | links_in_use()
        record = Record(choose_link(paths.name, taken).number, complete=False, temporal=temporal)
        _write(paths, record)
    return record


def complete(paths: Paths, record: Record) -> Record:
    """Write down that the cluster was made to the end."""
    finished = replace(record, complete=True)
    _write(paths, finished)
    return finished


def _clusters() -> list[Paths]:
    return [Paths(file.parent.name) for file in state_directory().glob("*/record.json")]


def _write(paths: Paths, record: Record) -> None:
    paths.state.mkdir(parents=True, exist_ok=True)
    partial = paths.record.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)) + "\n")
    partial.rename(paths.record)
