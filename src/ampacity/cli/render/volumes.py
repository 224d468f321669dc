"""Volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from ampacity.model.view import WorkloadView
from ampacity.model.volume import Volume

from .table import Column, Listing

NAMED = 3
"""So many nodes and workloads are named, of more the number is said as well."""

_COLUMNS = (
    Column("VOLUME", gives=True),
    Column("PATH", gives=True),
    Column("NODES", gives=True),
    Column("NEAR", gives=True),
    Column("WORTH", right=True),
    Column("MAY"),
    Column("MOUNTED BY", gives=True),
)


def mounted_by(views: Iterable[WorkloadView]) -> dict[str, list[str]]:
    """The names of the workloads that mount each volume; none twice."""
    found: dict[str, dict[str, None]] = {}
    for view in views:
        for use in view.spec.volumes:
            if use.volume:
                found.setdefault(use.volume, {})[view.workload.name] = None
    return {volume: sorted(names) for volume, names in found.items()}


def volumes_table(storage: Mapping[str, Volume], users: Mapping[str, Sequence[str]]) -> Listing:
    table = Listing(_COLUMNS)
    for name, volume in sorted(storage.items()):
        nodes = Text("all") if volume.nodes is None else _named(volume.nodes) or Text("none", style="yellow")
        table.add(
            Text(name, style="bold"),
            volume.path,
            nodes,
            _named(volume.near),
            f"{volume.worth}{f' by {volume.tree}' if volume.tree else ''}" if volume.near else "",
            "read" if volume.read_only else "write",
            _named(users.get(name, ())),
        )
    return table


def _named(names: Sequence[str]) -> Text:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return Text(", ".join(names[:NAMED]) + more)
