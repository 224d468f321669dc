"""Which held tickets go where next: a list schedule over the engines, bettered by exchanges at its head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf

WINDOW = 6
"""So many tickets at the head of the order are planned together; more gained nothing on the traces."""

REACH = 2
"""A ticket is tried so many places further ahead."""

_MARGIN_S = 1e-9


class Job:
    """A held ticket for the planner, with the engines that it may go to: at least one.

    ``id`` is the ticket's. ``costs[k]``: seconds that it keeps ``engines[k]``. ``burdens[k]``: the same, and what it
    costs others. ``fixed``: it keeps its place in the order.
    """

    __slots__ = ("burdens", "costs", "engines", "fixed", "id")

    def __init__(
        self, id: int, engines: Sequence[int], costs: Sequence[float], burdens: Sequence[float], *, fixed: bool = False
    ) -> None:
        self.id, self.engines, self.costs, self.burdens, self.fixed = id, engines, costs, burdens, fixed


class Draft:
    """Jobs in a row, each on the engine where it ends soonest, burdens counted, after those before it.

    ``free[k]`` are the engines' times before job k is placed, ``sums[k]`` the ends and burdens of the jobs before it.
    """

    __slots__ = ("engines", "free", "jobs", "sums")

    def __init__(self, jobs: list[Job], free: list[dict[int, float]], sums: list[float], engines: list[int]) -> None:
        self.jobs, self.free, self.sums, self.engines = jobs, free, sums, engines

    def place(self, jobs: Sequence[Job], limit: float) -> bool:
        """Place these after what is placed; ``False`` = the total would not be below the limit, and it was left."""
        free, total = self.free[-1], self.sums[-1]
        for job in jobs:
            ends = [free[engine] + burden for engine, burden in zip(job.engines, job.burdens, strict=True)]
            end = min(ends)
            total += end
            if total >= limit:
                return False
            at = ends.index(end)
            engine = job.engines[at]
            free = free.copy()
            free[engine] += job.costs[at]
            self.free.append(free)
            self.sums.append(total)
            self.engines.append(engine)
        return True

    def moved(self, place: int, ahead: int) -> Draft | None:
        """The same with the job at ``place`` moved ahead; ``None`` when that is no better."""
        jobs = self.jobs
        tail = [jobs[place], *jobs[ahead:place], *jobs[place + 1 :]]
        draft = Draft([*jobs[:ahead], *tail], self.free[: ahead + 1], self.sums[: ahead + 1], self.engines[:ahead])
        return draft if draft.place(tail, self.sums[-1] - _MARGIN_S) else None

    def displaced(self, place: int) -> bool:
        """Whether another job before it keeps it from where it would rather be."""
        job, first, before = self.jobs[place], self.free[0], self.sums
        alone = min([first[engine] + burden for engine, burden in zip(job.engines, job.burdens, strict=True)])
        return before[place + 1] - before[place] > alone + _MARGIN_S


def starts(
    order: Iterator[Job], free: dict[int, float], idle: float, awaited: dict[int, float]
) -> list[tuple[int, int]]:
    """Those that begin now, by their ids, each with its engine, in the order in which they go.

    ``free[n]``: when engine n is free, up to ``idle`` for those that take one now; the iterator may add to it. Beyond
    the window at most one begins: it is looked for only when of the window all wait. ``awaited`` gets the engines for
    which those wait that do not begin, and for how many seconds of prefill.
    """
    jobs = list(islice(order, WINDOW))
    best = Draft(jobs, [free], [0.0], [])
    best.place(jobs, inf)
    for place in range(1, len(jobs)):
        best = _exchanged(best, place)
    found = [
        (job.id, engine)
        for job, engine, before in zip(best.jobs, best.engines, best.free, strict=False)
        if before[engine] <= idle
    ]
    if found:
        return found
    taken = best.free[-1].copy()
    for engine in best.engines:
        awaited[engine] = taken[engine] - free[engine]
    return _further(order, taken, free, idle, awaited)


def _further(
    order: Iterator[Job],
    taken: dict[int, float],
    free: dict[int, float],
    idle: float,
    awaited: dict[int, float],
) -> list[tuple[int, int]]:
    for job in order:
        ends = [
            taken.setdefault(engine, free[engine]) + burden
            for engine, burden in zip(job.engines, job.burdens, strict=True)
        ]
        at = ends.index(min(ends))
        engine = job.engines[at]
        if taken[engine] <= idle:
            return [(job.id, engine)]
        taken[engine] += job.costs[at]
        awaited[engine] = awaited.get(engine, 0.0) + job.costs[at]
    return []


def _exchanged(draft: Draft, place: int) -> Draft:
    """With the job at this place as far ahead as betters the whole, if any."""
    if draft.jobs[place].fixed or not draft.displaced(place):
        return draft
    for ahead in range(max(0, place - REACH), place):
        if not draft.jobs[ahead].fixed:
            better = draft.moved(place, ahead)
            if better is not None:
                return better
    return draft
