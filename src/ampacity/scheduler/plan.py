"""``plan(state, now)``: order, gates, fit, place, explain, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ampacity.model.ids import AttemptId, WorkloadId
from ampacity.model.plan import Plan, Promise, Start, Wait, Waits

from .backfill.guard import Guard
from .backfill.reserve import Reserve
from .behind import Behind
from .beside import Beside
from .board import Board
from .chooser import choose_by
from .explain import Explainer
from .gates import held_back
from .moment import Moment
from .order import Entries, Group, Want
from .outlook import Outlook, names_of
from .over_quota import OverQuota
from .preempting.defragmenting import Defragmenting
from .preempting.growing import Growth, cut_down, grow
from .preempting.preemptor import Preemptor
from .promises import keep_promises
from .queues.purse import Purse
from .serve import Served, Server
from .state import State
from .waiting import Because, Reason, Waiting


def plan(state: State, now: float) -> Plan:
    """What to start now, and for every other replica that wants a start why it waits.

    Its cost grows with the nodes, the starts and the different shapes that wait, not with how many wait; the waits are
    written out when somebody reads them.

    Args:
        state: is read, never changed (but for what is remembered with it of earlier plans).
        now: seconds since the epoch.
    """
    board = Board.of(state.fleet, state.neighbours, state.answers)
    choose_by(board, state.policy.placement, state.policies, state.demand)
    purse = Purse.of(state.shares, board)
    kept = keep_promises(state, board, purse, now)
    given: list[Start | Promise] = [*kept.starts, *kept.promises]
    held, others = list[Wait](), list(kept.broken)
    for want in state.line.apart.values():
        wait = held_back(state, want, now)
        if wait is None:
            others.append(want)
        else:
            held.append(wait)
    moment = Moment.of(state, now, others)
    shapes = len(state.line.shapes) + len(others)
    preemptor = Preemptor(state=state, board=board, purse=purse, now=now, policy=state.policy.preemption, shapes=shapes)
    server = Server(moment, board, purse, _guard(moment, board, purse, given), preemptor)
    served = server.serve(others)
    defragmenting = Defragmenting(state, board, purse, now, state.policy.preemption)
    defragmenting.serve(served.reservations)
    growth = Growth()
    if not (served.crowded or served.barred or served.behind or kept.promises or preemptor.promises):
        growth = grow(state, board, purse, now, state.policy.preemption)
    told = {each.attempt for each in preemptor.stops} | {each.attempt for each in preemptor.resizes}
    told |= {each.attempt for each in defragmenting.moves}
    resizes = (*preemptor.resizes, *growth.resizes, *cut_down(state, told))
    rest = _Rest.of(state, server, others, (*served.starts, *preemptor.promises), told)
    queues = purse.standings(state.line.waiting)
    outlook = Outlook(rest.groups, queues, served.reservations, names_of(state, served.reservations))
    waiting = Waiting([*held, *kept.waits, *preemptor.waits], rest.reasons, outlook.say)
    return Plan(
        starts=(*(_lasting(moment, start) for start in kept.starts), *served.starts),
        stops=tuple(preemptor.stops),
        resizes=resizes,
        moves=tuple(defragmenting.moves),
        promises=(*kept.promises, *preemptor.promises, *defragmenting.promises),
        reservations=served.reservations,
        waits=Waits(waiting.write_out, waiting.write_briefly),
        queues=queues,
        next_wake=_earliest(_next_wake(state.line.apart.values(), now), preemptor.next_at, growth.next_at),
    )


def _guard(moment: Moment, board: Board, purse: Purse, given: Iterable[Start | Promise]) -> Guard:
    state = moment.state
    state.horizon.follow(state.fleet, state.attempts)
    reserve = Reserve(state.horizon, board, purse, state.attempts, moment.now)
    for each in given:
        want = state.line.promised[each.workload, each.replica]
        reserve.put_places(each.placements, moment.now + moment.lasting(want).expected_s)
    return Guard(state.policy.backfill.reservations, reserve)


def _lasting(moment: Moment, start: Start) -> Start:
    want = moment.state.line.promised[start.workload, start.replica]
    return replace(start, lasting=moment.lasting(want))


@dataclass(frozen=True, slots=True)
class _Rest:
    """Those that go on waiting, and why: what was so when the plan was made."""

    groups: tuple[Mapping[Group, Entries], ...]
    alone: tuple[tuple[Group, Want], ...]
    started: frozenset[tuple[WorkloadId, int]]
    served: Served
    explainer: Explainer
    behind: Behind
    over_quota: OverQuota

    @staticmethod
    def of(
        state: State,
        server: Server,
        others: Iterable[Want],
        given: Iterable[Start | Promise],
        chosen: Collection[AttemptId],
    ) -> _Rest:
        served = server.served
        for number in served.shapes:
            server.is_crowded(number)
        names = {each.workload: state.live[each.workload].workload.name for each in served.reservations}
        beside = Beside.of(server.board, server.purse, server.guard.kept, server.moment.now)
        behind = Behind(beside, served, state.line.order, state.policy, names)
        explainer = Explainer(state, server.board, chosen)
        groups = tuple(line.groups.copy() for line in state.line.queues.values())
        return _Rest(
            groups=groups,
            alone=tuple((server.group(want), want) for want in others),
            started=frozenset((each.workload, each.replica) for each in given),
            served=served,
            explainer=explainer,
            behind=behind,
            over_quota=OverQuota(behind, explainer, groups),
        )

    def reasons(self) -> Iterator[Because]:
        grouped = [(group, [want for _, want in entries]) for each in self.groups for group, entries in each.items()]
        for group, wants in (*grouped, *((group, [want]) for group, want in self.alone)):
            left = [want for want in wants if (want.workload.id, want.replica.index) not in self.started]
            if left:
                yield partial(self._reason, group), left

    def _reason(self, group: Group, want: Want) -> Reason:
        if group in self.served.barred:
            return self.over_quota.reason(group, want)
        if group.shape in self.served.crowded:
            return self.explainer.reason(want)
        return self.behind.reason(group, want)


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _next_wake(apart: Iterable[Want], now: float) -> float | None:
    return min((want.replica.not_before for want in apart if want.replica.not_before > now), default=None)
