"""The queue tree."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from ampacity.model.amounts import ACCELERATORS, IN_BYTES, KINDLESS, print_amount
from ampacity.model.plan import QueueStanding
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.view import QueueTreeView

from .table import Column, Listing
from .units import about_bytes

_COLUMNS = (
    Column("QUEUE", gives=True),
    Column("SHARE", right=True),
    Column("WEIGHT", right=True),
    Column("USED", gives=True),
    Column("QUOTA", gives=True),
    Column("BORROWED", gives=True),
    Column("LENT", gives=True),
    Column("RUNNING", right=True),
    Column("WAITING", right=True),
)


def queues_table(tree: QueueTreeView) -> Listing:
    """The parts of a queue stand below it, a step to the right."""
    table = Listing(_COLUMNS)
    depths: dict[str, int] = {}
    for standing in tree.queues:
        queue = standing.queue
        depths[queue.name] = depths.get(queue.parent, -1) + 1
        table.add(
            Text("  " * depths[queue.name]).append(queue.name, style="bold"),
            f"{100 * standing.share:.0f}%",
            f"{queue.weight:g}",
            amounts_text(standing.used),
            amounts_text(standing.quota),
            Text(amounts_text(standing.borrowed), style="yellow"),
            Text(amounts_text(standing.lent), style="cyan"),
            str(standing.running),
            _waiting(standing),
        )
    return table


def amounts_text(amounts: Mapping[str, int]) -> str:
    """``16 H100, 128 CPUs, 1TB``; accelerators of any kind only where no kind is named."""
    kinds = sorted(name for name in amounts if name not in KINDLESS)
    names = [*(kinds or [ACCELERATORS]), *(name for name in KINDLESS if name != ACCELERATORS)]
    return ", ".join(_amount(name, amounts[name]) for name in names if name in amounts)


def _amount(name: str, amount: int) -> str:
    if name in IN_BYTES:
        return about_bytes(amount) + (" disk" if name == "disk" else "")
    word = ("CPU" if amount == WHOLE_MILLI else "CPUs") if name == "cpus" else name
    return f"{print_amount(name, amount)} {word}"


def _waiting(standing: QueueStanding) -> Text:
    return Text(str(standing.waiting), style="yellow" if standing.waiting else "dim")
