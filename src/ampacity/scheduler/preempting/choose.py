"""The cheapest set of pieces with which a whole gang finds room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from ampacity.model.ids import AttemptId
from ampacity.model.plan import Placement
from ampacity.model.resources import ResourceRequest

from ..board import Board, Fit
from ..order import Want
from ..place import place
from .credit import Credit
from .on_node import cheapest
from .pieces import SHRINKING, Piece, Price, Rules, Taken, total
from .runners import Held, Runner

_Bid = tuple[int, int, float]
"""For a row: the class that has to be touched, how many replicas of the service are there already, and the cost."""

PRUNED = 16
"""Of so many attempts that are to go, each is held against going without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What has to be taken, and the places that the one that waits then gets."""

    taken: Taken
    fits: tuple[Fit, ...]
    price: Price


@dataclass(slots=True, kw_only=True)
class Chooser:
    """Looks for what to take for one that waits. The board is left as it was.

    Attributes:
        held: what there is of those claims from which something may be taken.
        all_of_a_rank: whether a set of neighbours may be looked for among all of a rank. That is the dearest way.
    """

    board: Board
    held: Sequence[Held]
    rules: Rules
    want: Want
    credit: Credit
    all_of_a_rank: bool
    taken: Taken = field(default_factory=Taken)

    def choose(self, request: ResourceRequest, rows: Sequence[int]) -> Choice | None:
        """For one alternative of accelerators, on rows that may hold a member; ``None`` = there is nothing that would
        make room."""
        self.taken = Taken()
        found = self._take_rows(rows, request, self.want.size.minimum)
        if found:
            self._take_quota()
        fits = self._settled() if found else None
        if fits is None and self.all_of_a_rank:
            self.taken = self._whole_ranks()
            fits = self._settled()
        return None if fits is None else Choice(taken=self.taken, fits=fits, price=self._price())

    # Node by node --------------------------------------------------------------------------------------------------

    def _take_rows(self, rows: Sequence[int], request: ResourceRequest, members: int) -> bool:
        """Take from the cheapest nodes. A gang that was taken for one node leaves its other nodes for nothing: so its
        price is shared among those of them that are wanted. A service keeps its replicas from each other as long as
        that does not touch a higher class."""
        near, chosen = set(rows), set[int]()
        offers: list[tuple[_Bid, int, int]] = []
        own = {} if self.want.spread is None else self.board.members_by_row(self.want.spread)

        def offer(row: int) -> tuple[_Bid, list[Piece]] | None:
            found = self._offer(row, request)
            if found is None:
                return None
            level, cost = self._shared(found[1], near, members - len(chosen))
            return (level, own.get(row, 0), cost), found[1]

        def bid(row: int, price: _Bid) -> None:
            heappush(offers, (price, int(self.board.fleet.rank[row]), row))

        for row in rows:
            if (first := offer(row)) is not None:
                bid(row, first[0])
        while offers and len(chosen) < members:
            price, _, row = heappop(offers)
            now = None if row in chosen else offer(row)
            if now is None:
                continue
            if now[0] > price:
                bid(row, now[0])
                continue
            chosen.add(row)
            for piece in now[1]:
                self.taken.add(piece)
            freed = {each for piece in now[1] if piece.stops for each in self._rows_of(piece.runner)}
            for other in sorted(freed & near - chosen):
                if (anew := offer(other)) is not None:
                    bid(other, anew[0])
        return len(chosen) == members

    def _shared(self, pieces: Sequence[Piece], near: set[int], wanted: int) -> Price:
        prices = []
        for piece in pieces:
            level, cost = piece.price
            nodes = len(self._rows_of(piece.runner) & near) if piece.stops else 1
            prices.append((level, cost / max(1, min(nodes, wanted))))
        return total(prices)

    def _rows_of(self, runner: Runner) -> set[int]:
        fleet = self.board.fleet
        return {row for node in runner.attempt.nodes if (row := fleet.row_of.get(node)) is not None}

    def _offer(self, row: int, request: ResourceRequest) -> tuple[Price, list[Piece]] | None:
        """The price at which the node holds a member, over what was taken already."""
        node = self.board.fleet.node(row).id
        mark = self.board.mark()
        pieces = []
        taken = self.taken
        asked = Taken(stopped=dict(taken.stopped), shrunk=taken.shrunk, replicas=taken.replicas.copy())
        for runner, spot in self._holders(row):
            if self.taken.has(runner.attempt.id, node):
                self.board.give_place(spot)
            elif (piece := self.rules.piece(runner, spot, asked)) is not None:
                pieces.append(piece)
                if piece.stops:  # of replicas and of a debtor's not more than they can do without
                    asked.stopped[runner.attempt.id] = runner
                    asked.replicas[runner.attempt.workload] += 1
        offer = cheapest(self.board, row, request, pieces)
        self.board.rollback(mark)
        return offer

    def _holders(self, row: int) -> list[tuple[Runner, Placement]]:
        """Those on the node from whom something may be taken, by id."""
        node = self.board.fleet.node(row).id
        holds = sorted(self.board.fleet.held.get(node, {}).items())
        return [
            (runner, Placement(node=node, allocation=allocation))
            for (attempt, index), allocation in holds
            if index >= 0 and (runner := self._runner(attempt)) is not None
        ]

    def _runner(self, attempt: AttemptId) -> Runner | None:
        return next((found for held in self.held if (found := held.runners.get(attempt)) is not None), None)

    # All together --------------------------------------------------------------------------------------------------

    def _room(self) -> tuple[Fit, ...] | None:
        """The places of the one that waits, once all that is taken is gone."""
        mark = self.board.mark()
        self.taken.leave(self.board)
        fits = place(self.board, self.want.shape, self.want.spread)
        self.board.rollback(mark)
        return None if fits is None or self.credit.bar(self.taken, fits) is not None else fits

    def _settled(self) -> tuple[Fit, ...] | None:
        """The places, if there is room now; what was too much is left out again, the dearest first."""
        fits = self._room()
        stopped, shrunk = self.taken.stopped, self.taken.shrunk
        if fits is None or len(stopped) + len(shrunk) > PRUNED:
            return fits
        dearest = sorted(stopped.values(), key=lambda runner: (self._price_of(runner), runner.attempt.id))
        for runner in reversed(dearest):
            self.taken.keep(runner)
            without = self._room()
            if without is None:
                self.taken.stop(runner)
            fits = without or fits
        for id in sorted(shrunk):
            nodes = shrunk.pop(id)
            without = self._room()
            if without is None:
                shrunk[id] = nodes
            fits = without or fits
        return fits

    def _take_quota(self) -> None:
        """Where its queue may not use so much: the cheapest of those go whose end leaves more to it."""
        bar = self.credit.bar(self.taken)
        if bar is None:
            return
        runners = [runner for held in self.held for runner in held.runners.values()]
        pieces = [piece for each in runners if (piece := self.rules.whole(each, self.taken)) is not None]
        for piece in sorted(pieces, key=lambda piece: (piece.price, piece.runner.attempt.id)):
            runner = piece.runner
            if bar is None or runner.attempt.id in self.taken.stopped or not self.credit.eases(runner, bar):
                continue
            if self.rules.whole(runner, self.taken) is not None:
                self.taken.stop(runner)
                bar = self.credit.bar(self.taken)

    def _whole_ranks(self) -> Taken:
        """Where nodes by themselves do not do (they have to be neighbours): all of the lowest rank go, then of the
        next, until there is room; then those stay that are not on the places found."""
        everyone = Taken()
        runners = [runner for held in self.held for runner in held.runners.values()]
        allowed = [runner for runner in runners if runner.claim in self.rules.stops]
        for runner in sorted(allowed, key=lambda runner: (self.rules.level(runner), runner.attempt.id)):
            if self.rules.whole(runner, everyone) is not None:
                everyone.stop(runner)
        for level in sorted({self.rules.level(runner) for runner in everyone.stopped.values()}):
            lowest = [each for each in everyone.stopped.values() if self.rules.level(each) <= level]
            self.taken = _all_of(lowest)
            fits = self._room()
            if fits is not None:
                nodes = {fit.node for fit in fits}
                return _all_of([each for each in lowest if nodes & set(each.attempt.nodes)])
        return Taken()

    def _price(self) -> Price:
        prices = [self._price_of(runner) for runner in self.taken.stopped.values()]
        shrunk = [next(iter(nodes.values())) for nodes in self.taken.shrunk.values()]
        prices += [(SHRINKING, self.rules.cost(runner)) for runner in shrunk]
        return total(prices)

    def _price_of(self, runner: Runner) -> Price:
        return self.rules.level(runner), self.rules.cost(runner)


def _all_of(runners: Iterable[Runner]) -> Taken:
    found = Taken()
    for runner in runners:
        found.stop(runner)
    return found
