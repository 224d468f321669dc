"""The control plane as a short table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ampacity.cli.glance import Glance
from ampacity.model.node import NodeCondition
from ampacity.model.view import NodeView, Status

from .nodes import accelerators_text, cpus_text, memory_text
from .table import pairs
from .units import about_duration


def status_table(seen: Glance, *, now: float) -> Table:
    """Who answers where, what runs, and how much is given out."""
    status, nodes = seen.status, seen.nodes
    table = pairs()
    up = about_duration(now - status.started_at)
    table.add_row("control plane", Text.assemble(("running", "green"), f" for {up}, Ampacity {status.version}"))
    table.add_row("", f"process {status.pid}, state in {status.state_dir}")
    table.add_row("workloads", f"{status.running} running, {status.waiting} waiting")
    table.add_row("nodes", nodes_summary(nodes))
    if nodes:
        held = [accelerators_text(nodes), cpus_text(nodes), memory_text(nodes)]
        table.add_row("given out", ", ".join(part for part in held if part))
    table.add_row("API", status.api_url or "not on TCP")
    table.add_row("endpoint", _endpoint(seen))
    if seen.status.gateway_url:
        table.add_row("", _who(seen.status))
    return table


def _endpoint(seen: Glance) -> Text:
    if not seen.status.gateway_url:
        return Text("not up yet", style="dim")
    later = "" if seen.endpoint_ready else "  (starts with the first model that is served)"
    return Text.assemble(f"{seen.status.gateway_url}/v1", (later, "dim"))


def _who(status: Status) -> Text:
    """Whom the endpoint lets in."""
    if status.endpoint_open:
        return Text("open to all on this machine: no key was made", style="dim")
    return Text("1 key opens it" if status.keys == 1 else f"{status.keys} keys open it")


def nodes_summary(nodes: Sequence[NodeView]) -> Text:
    """``3 ready, 1 cordoned``."""
    count = Counter(view.node.condition for view in nodes)
    parts = [f"{count[condition]} {condition}" for condition in NodeCondition if count[condition]]
    return Text(", ".join(parts) or "none", style="red" if count[NodeCondition.UNKNOWN] or not nodes else "")
