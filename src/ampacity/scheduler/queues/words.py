"""Why a queue may not use more, in a sentence with its arithmetic."""

from __future__ import annotations

from ampacity.model.amounts import CPUS, IN_BYTES, print_amount
from ampacity.model.plan import WaitCode
from ampacity.model.quantities import about_bytes
from ampacity.model.resources import WHOLE_MILLI

from .rules import Bar, Barred


def say_barred(bar: Barred, queue: str) -> tuple[WaitCode, str, str]:
    """The reason of those that wait in ``queue`` for what it may use, and what would have to come free."""
    needs = say(bar.resource, bar.needed)
    above = "" if bar.queue == queue else f", which {queue} is a part of,"
    missing = say(bar.resource, bar.used + bar.needed - bar.limit)
    match bar.bar:
        case Bar.LIMIT:
            text = f"needs {needs}; the queue {bar.queue}{above} uses {_bare(bar, bar.used)} of {_bare(bar, bar.limit)}"
            return WaitCode.QUOTA, f"{text} that it may use.", f"{missing} of that queue have to come free"
        case Bar.KEPT:
            text = f"needs {needs} beyond the quota of {bar.queue}{above} and what others lend is used up"
            return (
                WaitCode.QUOTA,
                f"{text}: {say(bar.resource, bar.used)} of {say(bar.resource, bar.limit)}.",
                f"{missing} that {bar.queue} can borrow have to come free",
            )


def say(resource: str, amount: int) -> str:
    """``2 H100``, ``8 CPUs``, ``1TB of memory``."""
    if resource in IN_BYTES:
        return f"{about_bytes(amount)} of {resource}"
    name = ("CPU" if amount == WHOLE_MILLI else "CPUs") if resource == CPUS else resource
    return f"{print_amount(resource, amount)} {name}"


def _bare(bar: Barred, amount: int) -> str:
    return about_bytes(amount) if bar.resource in IN_BYTES else print_amount(bar.resource, amount)
