"""Nodes: what they have, what of it is given out, and how they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from ampacity.model.node import Health, Node, NodeCondition
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.view import NodeView

from .phase import phase_text
from .table import Column, Listing
from .units import about_bytes, about_duration, print_cpus

_COLUMNS = (
    Column("NAME", gives=True),
    Column("CONDITION"),
    Column("ACCELERATORS", gives=True),
    Column("CPUS"),
    Column("MEMORY"),
    Column("ATTEMPTS", right=True),
    Column("LABELS", gives=True),
    Column("ISOLATION"),
    Column("LIMITS"),
)


def nodes_table(views: Sequence[NodeView], *, now: float) -> Listing:
    """What each has and how much of it is given out."""
    table = Listing(_COLUMNS)
    for view in views:
        node = view.node
        name = Text(str(node.id), style="bold")
        if node.declared:
            name.append(" (declared)", style="dim")
        table.add(
            name,
            condition_text(view, now=now),
            _free(accelerators_text([view])),
            _free(cpus_text([view], word="")),
            _free(memory_text([view], word="")),
            str(len(view.attempts)),
            Text(marks_text(node), style="dim"),
            Text(node.isolation, style="dim"),
            Text(str(node.limits), style="dim"),
        )
    return table


def condition_text(view: NodeView, *, now: float) -> Text:
    node = view.node
    text = phase_text(node.condition)
    if node.condition is NodeCondition.UNKNOWN and node.unknown_since is not None:
        text.append(f" for {about_duration(now - node.unknown_since)}")
    sick = sum(device.health is not Health.OK for device in node.devices)
    if sick:
        text.append(f", {sick} of {len(node.devices)} devices not well", style="red")
    return text


def marks_text(node: Node) -> str:
    """Labels, and taints with a ``!`` before them: ``zone=a, !team=vision``."""
    labels = [f"{key}={value}" for key, value in sorted(node.all_labels.items())]
    return ", ".join([*labels, *(f"!{taint}" for taint in node.all_taints)])


def accelerators_text(views: Sequence[NodeView]) -> str:
    """``3/8 H100``; shares as ``0.5/8``. Empty without any."""
    total: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for view in views:
        kinds = {str(device.id): device.kind for device in view.node.devices}
        total.update(kinds.values())
        for share in view.used.devices:
            used[kinds.get(share.device, "?")] += share.milli
    return ", ".join(f"{print_cpus(used[kind])}/{count} {kind}" for kind, count in sorted(total.items()))


def cpus_text(views: Sequence[NodeView], *, word: str = " CPUs") -> str:
    """``12.5/64``."""
    used = sum(view.used.cpu_milli for view in views)
    return f"{print_cpus(used)}/{sum(view.node.cpu_milli for view in views) / WHOLE_MILLI:g}{word}"


def memory_text(views: Sequence[NodeView], *, word: str = " memory") -> str:
    """``4GB/32GB``."""
    used = sum(view.used.memory_bytes for view in views)
    return f"{about_bytes(used) if used else '0'}/{about_bytes(sum(view.node.memory_bytes for view in views))}{word}"


def _free(text: str) -> Text:
    """Quiet when nothing of it is given out."""
    return Text(text or "none", style="dim" if not text or text.startswith("0/") else "")
