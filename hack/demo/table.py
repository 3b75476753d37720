"""The live table: what `kubectl get imagebuilds` knows, drawn as it changes."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

MARKS = {
    "Pending": ("·", "dim"),
    "Running": ("▸", "cyan"),
    "Succeeded": ("✓", "green"),
    "Failed": ("✗", "red"),
    "Skipped": ("-", "dim"),
    "Cancelled": ("■", "yellow"),
    "Undone": ("↶", "yellow"),
}
PHASES = {
    "Succeeded": "green",
    "Failed": "red",
    "Rejected": "red",
    "Cancelled": "yellow",
    "Compensating": "yellow",
    "Running": "cyan",
}


def _steps(status: dict[str, Any]) -> Text:
    line = Text()
    for step in status.get("steps", []):
        mark, style = MARKS.get(step["state"], ("?", ""))
        line.append(f"{mark} {step['name']}  ", style)
    return line


def _says(build: dict[str, Any]) -> str:
    status = build.get("status", {})
    if "deletionTimestamp" in build["metadata"]:
        compensation = status.get("compensation") or {}
        return f"deleted: taking back ({compensation.get('completed', 0)}/{compensation.get('total', 0)})"
    ready: dict[str, Any] = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    return str(ready.get("message", ""))


def draw(builds: list[dict[str, Any]], gone: list[str]) -> Table:
    """The table for the given API objects; `gone` are names that were deleted and have left."""
    table = Table(title="kubectl get imagebuilds -n acme-dev", title_style="bold", expand=True)
    table.add_column("Name", no_wrap=True)
    table.add_column("Phase", no_wrap=True)
    table.add_column("Steps")
    table.add_column("Says", ratio=1)
    for build in builds:
        phase = build.get("status", {}).get("phase", "")
        table.add_row(
            build["metadata"]["name"], Text(phase, PHASES.get(phase, "")), _steps(build.get("status", {})), _says(build)
        )
    for name in gone:
        table.add_row(name, Text("gone", "dim"), Text(""), "left the cluster after everything it made was taken back")
    return table


def as_line(build: dict[str, Any]) -> str:
    """One line for logs without a terminal."""
    status = build.get("status", {})
    deleted = " (deleted)" if "deletionTimestamp" in build["metadata"] else ""
    return f"{build['metadata']['name']}{deleted}: {status.get('phase', '')} {_steps(status)} {_says(build)}".rstrip()
