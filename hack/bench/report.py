"""The figures for people: one table, and what it is worth."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hack.bench.cluster_api import Json
from hack.cluster.handle import Cluster

DEFINITIONS = {
    "floor_s": (
        "what the servers beneath need for the burst at least: the longer of (a) the time in which as many raw "
        "workflows with as many activities each run through on the same Temporal with the same worker settings, "
        "without operator, status, codec and progress, and (b) as many raw API writes as the burst made, at the "
        "rate of raw status patches"
    ),
    "ratio_to_floor": "floor_s / to_all_terminal_s; judged at 300",
    "ratio_to_both_floors": "the same with the sum of (a) and (b): both servers share this machine's cores",
    "ratio_of_cpu": "processor time of (a) by that of the burst, servers, operator and worker together; does not "
    "depend on what else the machine does",
    "cores_busy_with_others": "how many cores were taken by processes that are no part of the bench",
    "to_all_started_s": "from the first create request to the start of the last workflow, by Temporal's stamp",
    "to_all_terminal_s": "from the first create request until the watch shows the last resource as over",
    "status_lag": "from the end of a step's last activity (the worker's audit log) until the watch shows the step "
    "as Succeeded, for builds and tests of 10 to 20 s, 200 of them at a time",
    "start_overhead": "from a resource on the watch to the start of its workflow, less the p50 of a raw start",
    "visible_changes": "versions of a resource that differ in phase, steps, conditions, image or history",
    "writes_besides_visible_changes": "writes of the resource and its status less visible changes, while it lives",
    "history": "bytes and events that Temporal keeps of one run, as it counts them itself",
    "grpc_per_run": "calls of Temporal by operator and worker, long polls included",
    "killed": "SIGKILL with so many runs live, started again 20 s later: until a resource applied then shows Running, "
    "and until every build that had ended shows so",
    "deleted_in_mid_run": "so many deleted while they run: until the last has compensated and is gone",
    "campaigns": "of KWOK's nodes, 50 at a time, with a Procedure that takes 2 s and does nothing: cordon, drain (no "
    "pods), patch, ready, release, with a Lease each; ideal_s: targets / 50 * 2 s",
    "drills": "with an environment of a ConfigMap and a Service, a restore that sleeps for 2 s and a probe that sleeps "
    "for 1 s, isolated, each Job a real pod. own_work: from a Job's creation until it shows its end, of restore and "
    "probes; overhead: the rest of the time from the resource's creation until it shows that the drill is over, and "
    "`of` each part of it, medians of three; raw: the same objects and Jobs in a namespace that is deleted then, by "
    "plain API calls; clean_up: from the end of the last probe until the namespace is gone. deleted_in_mid_run: from "
    "the deletion of so many, while their restores run",
    "idle_writes": "writes of the operator in 60 s in which nothing happens",
    "rss_mib_per_1000": "resident memory of an operator that was just started with all resources of the largest burst "
    "there, less that of one started with none, per 1,000",
    "restart_to_next_served_s": "from SIGKILL and start of the operator until a resource applied then shows Running",
}

CAUTION = "Seconds are this machine's; ratios to the raw floors of the same run are what can be compared."


def machine() -> Json:
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[1]) / 2**20),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "kernel": platform.release().partition("-")[0],
    }


def versions(cluster: Cluster, temporal: str) -> Json:
    found = json.loads(cluster.kubectl("version", "--output=json"))
    packages = {name: version(name) for name in ("bascule", "kopf", "kubernetes", "temporalio", "pydantic", "aiohttp")}
    return {
        "python": platform.python_version(),
        "kubernetes": found["serverVersion"]["gitVersion"],
        "temporal_dev_server": temporal,
        "packages": packages,
    }


def _mark(value: float, good: bool) -> str:
    return f"[{'green' if good else 'yellow'}]{value:g}[/]"


def tell(console: Console, result: Json) -> None:
    """Print what matters, each with its aim."""
    if "burst" in result:
        _builds(console, result)
    if result["campaigns"]:
        _campaigns(console, result["campaigns"])
    if result["drills"]:
        _drills(console, result["drills"])
    console.print(CAUTION, highlight=False, soft_wrap=True)


def _campaigns(console: Console, found: Json) -> None:
    table = Table(
        "campaign", "over", "ideal", "times", "writes", "worker", "cordoned", "parent's history", "of a batch"
    )
    for targets, one in found.items():
        history, own = one["history"], one["writes_per_target"]
        table.add_row(
            targets, f"{one['seconds']:g} s", f"{one['ideal_s']:g} s", f"{one['times_ideal']:g}",
            f"{sum(own['worker'].values()) + sum(own['operator'].values()):.1f} a target",
            f"{one['cpu_ms_per_target']['worker']:g} ms a target, {one['worker']['rss_mib']:g} MiB",
            _mark(one["left_cordoned"], not one["left_cordoned"]),
            f"{history['parent_events_most']} events, {history['parent_bytes_most'] / 1024:.0f} KiB",
            f"{history['batch_events_most']} events, {history['batch_bytes_most'] / 1024:.0f} KiB",
        )  # fmt: skip
    console.print(table)


def _drills(console: Console, found: Json) -> None:
    alone, many, deleted = found["alone"], found["at_once"], found["deleted_in_mid_run"]
    drill, raw = alone["drill_s"], alone["raw_s"]
    one = Table("one drill", "drill, s", "raw, s", "times")
    one.add_row("in all", f"{drill['total']:.1f}", f"{raw['total']:.1f}", f"{alone['times_raw']:g}")
    one.add_row("overhead", f"{drill['overhead']:.1f}", f"{raw['overhead']:.1f}", f"{alone['overhead_times_raw']:g}")
    besides = alone["overhead_besides_isolation_times_raw"]
    one.add_row("but for isolation", f"{drill['overhead'] - drill['of isolate']:.1f}", "", f"{besides:g}")
    for name in dict.fromkeys((*drill, *raw)):
        if name not in ("total", "overhead"):
            texts = (f"{values[name]:.1f}" if name in values else "" for values in (drill, raw))
            one.add_row(name.replace("_", " "), *texts, "")
    table = Table("drills", f"{many['drills']} at once", f"{deleted['drills']} deleted in mid-run")
    writes, memory = many["writes_per_drill"], many["worker_rss_mib"]
    table.add_row("all over", f"{many['to_all_over_s']:g} s", f"{deleted['resource_gone']['max_s']:.1f} s")
    table.add_row("cleaned up", _p50_and_max(many["clean_up"]), _p50_and_max(deleted["namespace_gone"]))
    for name in ("lost", "duplicates", "namespaces_left"):
        marks = (_mark(found[name], not found[name]) if name in found else "" for found in (many, deleted))
        table.add_row(name.replace("_", " "), *marks)
    for who in ("worker", "operator"):
        table.add_row(f"writes of the {who}, a drill", f"{sum(writes[who].values()):.1f}", "")
    table.add_row("worker's memory", f"{memory['before']:g} to {memory['peak']:g} MiB", "")
    console.print(one)
    console.print(table)


def _p50_and_max(found: Json) -> str:
    return f"{found['p50_s']:.1f} s, at most {found['max_s']:.1f} s"


def _builds(console: Console, result: Json) -> None:
    bursts = Table(
        "burst", "started", "over", "floor", "ratio", "to both", "of CPU", "lost", "twice", "history", "gRPC"
    )
    for size, one in result["burst"].items():
        bursts.add_row(
            size, f"{one['to_all_started_s']:.1f} s", f"{one['to_all_terminal_s']:.1f} s", f"{one['floor_s']:.1f} s",
            _mark(one["ratio_to_floor"], one["ratio_to_floor"] >= 0.6),
            f"{one['ratio_to_both_floors']:g}", f"{one['ratio_of_cpu']:g}",
            _mark(one["lost"], not one["lost"]), _mark(one["duplicates"], not one["duplicates"]),
            f"{one['history']['bytes'] / 1024:.0f} KiB", f"{one['grpc_per_run']:g}",
        )  # fmt: skip
    table = Table("figure", "value", "aim")
    rows = [
        ("status lag p50, s", result["status_lag_p50_s"], 1.0),
        ("status lag p95, s", result["status_lag_p95_s"], 2.0),
        ("start overhead p95, s", result["start_overhead_p95_s"], 0.1),
        ("writes besides visible changes", result["writes_per_resource"]["besides_visible_changes"], 2.0),
        ("writes in an idle minute", result["idle_writes"], 0.0),
        ("operator, MiB per 1,000", result["rss_mib_per_1000"], 25.0),
        ("restart to the next served, s", result["restart_to_next_served_s"], 20.0),
    ]
    for name, value, aim in rows:
        if value is not None:
            table.add_row(name, _mark(value, value <= aim), f"≤ {aim:g}")
    for title, found in (("killed", result.get("killed")), ("deleted in mid-run", result.get("deleted_in_mid_run"))):
        if found:
            table.add_row(title, ", ".join(f"{name} {value}" for name, value in found.items()), "")
    raw = Table("raw floor", "per second")
    for name, value in result["raw"].items():
        if name.endswith("_per_s"):
            raw.add_row(name.removesuffix("_per_s").replace("_", " "), f"{value:g}")
    for one in (bursts, table, raw):
        console.print(one)
    console.print(result["ceiling"], highlight=False, soft_wrap=True)
