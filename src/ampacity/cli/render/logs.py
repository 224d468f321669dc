"""Lines of output as they are printed: whose line it is, in a colour of its own, then the line as it was written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

import click

from ampacity.model.view import LogRecord, WorkloadView
from ampacity.model.workload import WorkloadKind

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPrinter:
    """``split``: what the job wrote to stderr goes to stderr. ``replicas``, ``ranks``, ``members``: say whose it is."""

    replicas: bool
    ranks: bool
    members: bool
    timestamps: bool = False
    split: bool = False

    def write(self, record: LogRecord) -> None:
        file = sys.stderr if self.split and record.stream != "out" else sys.stdout
        file.write(f"{self.text(record, colours=_coloured(file))}\n")

    def text(self, record: LogRecord, *, colours: bool, highlight: Callable[[str], str] | None = None) -> str:
        """The line without its end. ``highlight`` colours what was searched for."""
        at = f"{_rfc3339(record.at)} " if self.timestamps else ""
        label = self._label(record)
        body = record.text if highlight is None or not colours else highlight(record.text)
        if colours:
            at = click.style(at, dim=True) if at else ""
            if label:
                label = click.style(label, fg=_COLOURS[self._number(record) % len(_COLOURS)])
            if record.stream == "sys":
                body = click.style(body, dim=True)
        return f"{at}{label}{body}"

    def _label(self, record: LogRecord) -> str:
        parts = [f"replica {record.replica}"] if self.replicas else []
        if self.ranks:
            parts.append(f"rank {record.rank}" if record.rank >= 0 else f"node {record.member}")
        elif self.members:
            parts.append(f"node {record.member}")
        return f"{' '.join(parts)} | " if parts else ""

    def _number(self, record: LogRecord) -> int:
        if self.ranks and record.rank >= 0:
            return record.rank
        return record.member if self.members or self.ranks else record.replica


def printer_for(view: WorkloadView, *, timestamps: bool = False, split: bool = False) -> LogPrinter:
    """Labels only where there is more than one that may write."""
    spec = view.spec
    nodes = spec.num_nodes.maximum != 1
    devices = sum(request.count.maximum or 2 for request in spec.resources.accelerators[:1])
    ranks = spec.ranks_per_node or max(1, devices)
    train = view.workload.kind is WorkloadKind.TRAIN
    return LogPrinter(
        replicas=view.workload.kind is WorkloadKind.SERVICE and max(view.desired.replicas, len(view.replicas)) > 1,
        ranks=train and (nodes or ranks > 1),
        members=nodes and not train,
        timestamps=timestamps,
        split=split,
    )


def _coloured(file: TextIO) -> bool:
    return file.isatty() and not os.environ.get("NO_COLOR")


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
