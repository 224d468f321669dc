"""What one that waits may expect: its place in its queue, how the queue stands, and when it is expected to start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from ampacity.model.amounts import CPUS, KINDLESS
from ampacity.model.ids import AttemptId
from ampacity.model.lasting import Basis
from ampacity.model.plan import QueueStanding, Reservation

from .order import Entries, Group, Turn, Want
from .queues.words import say
from .state import State
from .words import listed

_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_BASES = {
    Basis.LIMIT: "by the time limit",
    Basis.LEARNED: "as others of its kind have taken",
    Basis.ASSUMED: "though how long that takes is only assumed",
    Basis.ENDLESS: "though nobody knows when",
}


@dataclass(frozen=True)
class Outlook:
    """As things stood when a plan was made. May be asked at any time later, from any thread.

    Attributes:
        groups: all that wait for room, by queue and group.
        names: of those workloads that somebody's expected start hangs on.
    """

    groups: Sequence[Mapping[Group, Entries]]
    standings: Sequence[QueueStanding]
    reservations: Sequence[Reservation]
    names: Mapping[AttemptId, str]

    def say(self, want: Want) -> str:
        """``2nd of 5 in the queue vision, which uses 8 of 12 H100; expected to start by 14:20 UTC on n1: …``"""
        return "; ".join(part for part in (self._place(want), self._start(want)) if part)

    @cached_property
    def _places(self) -> Mapping[str, Mapping[tuple[str, int], int]]:
        """The place of each replica among those of its queue that wait for room. What moves with time is left out."""
        lines: dict[str, list[tuple[Turn, Want]]] = {}
        for groups in self.groups:
            for group, entries in groups.items():
                lines.setdefault(group.queue, []).extend(entries)
        return {
            queue: {
                (want.workload.id, want.replica.index): place
                for place, (_, want) in enumerate(sorted(line, key=lambda entry: entry[0]), 1)
            }
            for queue, line in lines.items()
        }

    def _place(self, want: Want) -> str:
        queue = want.spec.queue
        line = self._places.get(queue, {})
        place = line.get((want.workload.id, want.replica.index))
        standing = next((each for each in self.standings if each.queue.name == queue), None)
        where = f"in the queue {queue}" if place is None else f"{_nth(place)} of {len(line)} in the queue {queue}"
        return where if standing is None else f"{where}, which {_uses(standing)}"

    def _start(self, want: Want) -> str:
        own = (want.workload.id, want.replica.index)
        held = next((each for each in self.reservations if (each.workload, each.replica) == own), None)
        if held is None:
            return ""
        at = datetime.fromtimestamp(min(held.from_s, _LATEST), UTC).strftime("%Y-%m-%d %H:%M UTC")
        places = listed([place.node for place in held.placements])
        where = f" on {places}" if places else ""
        who = listed([self.names[id] for id in held.awaits if id in self.names])
        when = f", when {who} {'has' if len(held.awaits) == 1 else 'have'} ended, {_BASES[held.basis]}" if who else ""
        return f"expected to start by {at}{where}{when}"


def names_of(state: State, reservations: Iterable[Reservation]) -> dict[AttemptId, str]:
    """The workloads whose ends are waited for, by their attempts."""
    awaited = [state.attempts[id] for each in reservations for id in each.awaits if id in state.attempts]
    return {
        each.id: f"{state.live[each.workload].workload.name} ({each.workload})"
        for each in awaited
        if each.workload in state.live
    }


def _uses(standing: QueueStanding) -> str:
    """``uses 8 of its 12 H100 and borrows 4 H100``: what has a quota, else what it mostly uses."""
    named = sorted(standing.quota) or [each for each in sorted(standing.used) if each not in KINDLESS] or [CPUS]
    parts = [
        f"uses {say(each, standing.used.get(each, 0))}"
        + (f" of its {say(each, standing.quota[each])}" if each in standing.quota else "")
        for each in named
    ]
    parts += [f"borrows {say(each, amount)}" for each, amount in sorted(standing.borrowed.items())]
    return f"{listed(parts)} ({standing.share:.0%} of all)"


def _nth(place: int) -> str:
    ending = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"
