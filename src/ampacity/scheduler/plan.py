"""``plan(state, now)``: order, gates, fit, place, explain, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ampacity.model.ids import WorkloadId
from ampacity.model.plan import Plan, Start, Wait, WaitCode, Waits

from .backfill.guard import Guard
from .backfill.reserve import Reserve
from .board import Board
from .explain import Explainer, Reason
from .gates import held_back
from .moment import Moment
from .order import Entries, Group, Want
from .promises import keep_promises
from .queues.purse import Purse
from .queues.words import say_barred, say_behind
from .serve import Served, Server
from .state import State


def plan(state: State, now: float) -> Plan:
    """What to start now, and for every other replica that wants a start why it waits.

    Its cost grows with the nodes, the starts and the different shapes that wait, not with how many wait; the waits are
    written out when somebody reads them.

    Args:
        state: is read, never changed (but for what is remembered with it of earlier plans).
        now: seconds since the epoch.
    """
    board = Board.of(state.fleet, state.neighbours, state.answers)
    purse = Purse.of(state.shares, board)
    kept, others = keep_promises(board, state.line)
    for start in kept:
        purse.take(state.queue_of(start.workload), purse.amounts(start.placements))
    held: list[Wait] = []
    for want in state.line.apart.values():
        wait = held_back(state, want, now)
        if wait is None:
            others.append(want)
        else:
            held.append(wait)
    server = Server(Moment(state, now), board, purse, _guard(state, board, purse, kept, now))
    served = server.serve(others)
    waiting = _Waiting.of(state, server, others, kept)
    return Plan(
        starts=(*kept, *served.starts),
        reservations=served.reservations,
        waits=Waits(lambda: _write_out(held, waiting)),
        queues=purse.standings(state.line.waiting),
        next_wake=_next_wake(state.line.apart.values(), now),
    )


def _guard(state: State, board: Board, purse: Purse, kept: Iterable[Start], now: float) -> Guard:
    state.horizon.follow(state.fleet, state.attempts)
    reserve = Reserve(state.horizon, board, purse, state.attempts, now)
    for start in kept:
        for place in start.placements:
            reserve.put(state.fleet.row_of[place.node], now + start.lasting.expected_s, place.allocation)
    return Guard(state.policy.backfill.reservations, reserve)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Those that go on waiting, and why: enough to write all of it out later, whatever has changed by then."""

    groups: tuple[Mapping[Group, Entries], ...]
    alone: tuple[tuple[Group, Want], ...]
    started: frozenset[tuple[WorkloadId, int]]
    served: Served
    rooms: Mapping[int, Reason]
    names: Mapping[WorkloadId, str]

    @staticmethod
    def of(state: State, server: Server, others: Iterable[Want], kept: Iterable[Start]) -> _Waiting:
        served = server.served
        alone = tuple((server.group(want), want) for want in others)
        groups = tuple(line.groups.copy() for line in state.line.queues.values())
        started = frozenset((start.workload, start.replica) for start in (*kept, *served.starts))
        explainer = Explainer(state, server.board)
        somebody = {group.shape: want for group, want in alone} | {
            number: state.line.one_of(number) for number in state.line.shapes
        }
        rooms = {number: explainer.reason(want) for number, want in somebody.items() if server.is_crowded(number)}
        ahead = [reservation.workload for reservation in served.reservations]
        names = {ident: state.live[ident].workload.name for ident in ahead}
        return _Waiting(groups, alone, started, served, rooms, names)

    def all(self) -> Iterator[tuple[Group, Sequence[Want]]]:
        for groups in self.groups:
            for group, entries in groups.items():
                yield group, [want for _, want in entries]
        for group, want in self.alone:
            yield group, [want]

    def reason(self, group: Group) -> Reason:
        barred = self.served.barred.get(group)
        if barred is not None:
            return say_barred(barred, group.queue)
        if group.shape in self.rooms:
            return self.rooms[group.shape]
        ahead = [f"{self.names[each.workload]} ({each.workload})" for each in self.served.reservations]
        return WaitCode.BEHIND, *say_behind(ahead)


def _write_out(held: Iterable[Wait], waiting: _Waiting) -> Iterator[Wait]:
    yield from held
    for group, wants in waiting.all():
        left = [want for want in wants if (want.workload.id, want.replica.index) not in waiting.started]
        code, text, change = waiting.reason(group) if left else (WaitCode.BEHIND, "", "")
        for want in left:
            yield Wait(workload=want.workload.id, replica=want.replica.index, code=code, text=text, change=change)


def _next_wake(apart: Iterable[Want], now: float) -> float | None:
    return min((want.replica.not_before for want in apart if want.replica.not_before > now), default=None)
