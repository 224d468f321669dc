"""Places for a whole gang, or none at all: one member a node, on as many nodes as it may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ampacity.model.ids import WorkloadId
from ampacity.model.plan import Placement
from ampacity.model.resources import ANY_KIND, Range, ResourceRequest
from ampacity.model.rules import ApartRule, TopologyMode, TopologyRule

from .board import Board, Fit
from .columns import Floats, Ints
from .fit import NO_ROOM, best, fits_on, keys_of, order_of, room_for
from .gang import Gang
from .marked import NOWHERE, Tree
from .paces import liked
from .topology import packed, whole

USUAL_TREES = ("fabric", "site")
"""Where a gang without a rule of its own keeps together: the first of these in which nodes have places."""


def place(board: Board, gang: Gang, beside: WorkloadId | None = None) -> tuple[Fit, ...] | None:
    """The best nodes for a gang, ranks in order of their distance; ``None`` if it finds no room now.

    A member is an attempt's part on one node, so the nodes are distinct. An elastic gang gets as many as fit, up to
    ``size.maximum``. All members get the same one of the alternative accelerators: the fastest one that does, where it
    is known how fast they are, else the best liked. So do they where any kind will do, if one kind has room for all.

    Args:
        beside: a service whose replicas shall be spread: a replica of one node goes where the fewest of them are.
    """
    for single in _in_turn(board, gang):
        rows = _rows(board, gang, single, beside)
        if rows is not None:
            return fits_on(board, single, rows.tolist())
    return None


def rows_beside(board: Board, gang: Gang, own: Ints) -> Ints:
    """Rows for more members of a gang that has these already, the best first, as many as it may have; none where there
    are fewer than it needs more.

    One that keeps together in a place of a tree stays there; one that would only like to, and does not now, may go on
    anywhere.

    Args:
        gang: with one alternative of accelerators at most; ``size``: how many members more.
    """
    request = gang.resources
    size = _licensed(board, request, gang.size)
    rows = np.setdiff1d(candidates(board, gang, request), own)
    if len(own):
        rows = board.fleet.marked.with_row(rows, int(own[0]))
    if gang.rules.topology is not None:
        rows = _around_own(board, gang.rules.topology, own, rows)
    keys = order_of(board, request, gang.rates)
    if request.power_w:
        rows = _within_feeds(board, keys, rows, request.power_w)
    if size is None or len(rows) < size.minimum:
        return rows[:0]
    count, worth = len(rows) if size.maximum is None else size.maximum, board.fleet.marked.worth(gang)
    if worth is None:
        return best(board, keys, rows, count)
    return _by_worth(board, keys, rows, worth[rows])[:count]


def in_rank_order(board: Board, gang: Gang, rows: Ints) -> Ints:
    """The rows of a gang as its ranks go over them: neighbours in rank are neighbours in its tree."""
    rule = gang.rules.topology
    tree = _usual_tree(board) if rule is None else board.fleet.marked.tree(rule.tree)
    return rows if tree is None else _by_distance(board, tree, rows)


def _around_own(board: Board, rule: TopologyRule, own: Ints, rows: Ints) -> Ints:
    """Of the rows those that lie in the place that a gang has of its rule's level."""
    tree = board.fleet.marked.tree(rule.tree)
    required = rule.mode is TopologyMode.REQUIRED
    if rule.level not in tree.levels:
        return rows[:0] if required else rows
    codes = tree.codes[:, tree.levels.index(rule.level)]
    places = set(codes[own].tolist())
    if len(places) == 1 and NOWHERE not in places:
        near: Ints = rows[codes[rows] == codes[own[0]]]
        return near
    return rows[:0] if required else rows


def place_as(board: Board, gang: Gang, size: Range, beside: WorkloadId | None = None) -> tuple[Fit, ...] | None:
    """The best nodes for a gang of this size instead of its own."""
    return place(board, gang if size == gang.size else replace(gang, size=size), beside)


def has_room(board: Board, gang: Gang) -> bool:
    """Whether enough nodes could take a member now. That says nothing about whether they lie together."""
    count = gang.size.minimum
    return any(
        room_for(board, single) >= count and len(candidates(board, gang, single)) >= count
        for single in alternatives(gang.resources)
    )


def alternatives(request: ResourceRequest) -> Iterator[ResourceRequest]:
    """The request once for each of its alternative accelerators, the best liked first."""
    if len(request.accelerators) < 2:
        yield request
        return
    for wanted in request.accelerators:
        yield replace(request, accelerators=(wanted,))


def _in_turn(board: Board, gang: Gang) -> Iterator[ResourceRequest]:
    """The request once for each of its alternatives, in the order in which they are tried."""
    request = gang.resources
    if not gang.rates:
        yield from alternatives(request)
        return
    for wanted in liked(request, gang.rates):
        if wanted.kind == ANY_KIND and gang.size.maximum != 1:
            rates, parts = dict(gang.rates), {board.fleet.kinds[code] for code in board.fleet.parts_of_devices}
            kinds = [kind for kind in board.fleet.kinds_there() if kind in rates and kind not in parts]
            for kind in sorted(kinds, key=lambda kind: (-rates[kind], kind)):
                yield replace(request, accelerators=(replace(wanted, kind=kind),))
        yield replace(request, accelerators=(wanted,))


def placements(fits: tuple[Fit, ...]) -> tuple[Placement, ...]:
    return tuple(Placement(node=fit.node, allocation=fit.allocation) for fit in fits)


def candidates(board: Board, gang: Gang, request: ResourceRequest) -> Ints:
    """The rows that a member of the gang may go to now, whatever the others need."""
    may = (keys_of(board, request) < NO_ROOM) & board.fleet.marked.allowed(gang)
    if gang.name is not None:
        for workload, rule in board.neighbours.kept_off(gang.name, gang.rules.apart):
            may[_around(board, board.rows_of(workload), rule)] = False
    return np.flatnonzero(may)


def _rows(board: Board, gang: Gang, request: ResourceRequest, beside: WorkloadId | None) -> Ints | None:
    """The rows of all members, or ``None``."""
    size = _licensed(board, request, gang.size)
    if size is None or room_for(board, request) < size.minimum:
        return None
    keys, rows = order_of(board, request, gang.rates), candidates(board, gang, request)
    if request.power_w:
        rows = _within_feeds(board, keys, rows, request.power_w)
    if len(rows) < size.minimum:
        return None
    if beside is not None and size.maximum == 1:
        rows = _fewest(board.members_by_row(beside), rows)
    worth = board.fleet.marked.worth(gang)
    for part in board.fleet.marked.apart(rows):
        if worth is None:
            found = _chosen(board, gang, keys, part, size)
        else:
            found = _preferred(board, gang, keys, part, size, worth[part])
        if found is not None:
            return found
    return None


def _fewest(members: Mapping[int, int], rows: Ints) -> Ints:
    """Of the rows those that have the fewest members."""
    there = np.zeros(len(rows), np.int64)
    for place in np.flatnonzero(np.isin(rows, list(members))):
        there[place] = members[int(rows[place])]
    return rows[there == there.min()] if len(rows) else rows


def _preferred(board: Board, gang: Gang, keys: Ints | Floats, rows: Ints, size: Range, worth: Ints) -> Ints | None:
    """Those that are worth the most first, and of them only as many more as are needed.

    Args:
        worth: that of each of ``rows``.
    """
    found = _chosen(board, gang, keys, rows[worth == worth.max()], size) if len(rows) else None
    if found is not None:
        return found  # nearly always: one node of the most worth is enough for who wants one
    turns = np.zeros(board.fleet.size, np.int64)
    order = _by_worth(board, keys, rows, worth)
    turns[order] = np.arange(len(order))
    for least in np.unique(worth)[-2::-1]:
        found = _chosen(board, gang, turns, rows[worth >= least], size)
        if found is not None:
            return found
    return None


def _by_worth(board: Board, keys: Ints | Floats, rows: Ints, worth: Ints) -> Ints:
    """The rows, those of the most worth first and of the same worth the best."""
    return rows[np.lexsort((board.rank[rows], keys[rows], -worth))]


def _chosen(board: Board, gang: Gang, keys: Ints | Floats, rows: Ints, size: Range) -> Ints | None:
    if len(rows) < size.minimum:
        return None
    rule = gang.rules.topology
    if size.maximum == 1:
        return best(board, keys, rows, 1) if rule is None or _in_tree(board, rule.tree, rule.level) else None
    tree = _usual_tree(board) if rule is None else board.fleet.marked.tree(rule.tree)
    members = len(rows) if size.maximum is None else min(len(rows), size.maximum)
    if rule is not None:
        required = rule.mode is TopologyMode.REQUIRED
        if not _in_tree(board, rule.tree, rule.level):
            return None
        found = whole(tree, rows, size, tree.levels.index(rule.level), required=required) if tree else None
        if found is None:
            return None
        rows, members = found
    if tree is None:
        chosen = best(board, keys, rows, members)
        return chosen[np.argsort(board.rank[chosen])]
    parts = [best(board, keys, part, count) for part, count in packed(tree, rows, members)]
    return _by_distance(board, tree, np.concatenate(parts))


def _in_tree(board: Board, tree: str, level: str) -> bool:
    return level in board.fleet.marked.site.levels_of(tree)


def _usual_tree(board: Board) -> Tree | None:
    for name in USUAL_TREES:
        tree = board.fleet.marked.tree(name)
        if tree.places and tree.places[0]:
            return tree
    return None


def _by_distance(board: Board, tree: Tree, rows: Ints) -> Ints:
    """Neighbours in rank are neighbours in the tree."""
    levels = [tree.codes[rows, level] for level in reversed(range(len(tree.levels)))]
    return rows[np.lexsort((board.rank[rows], *levels))]


def _around(board: Board, rows: set[int], rule: ApartRule) -> list[int]:
    """The rows that share the rule's place with these."""
    if not rule.tree:
        return sorted(rows)
    tree = board.fleet.marked.tree(rule.tree)
    if rule.level not in tree.levels:
        return sorted(rows)
    codes = tree.codes[:, tree.levels.index(rule.level)]
    places = {int(codes[row]) for row in rows} - {NOWHERE}
    return sorted({*rows, *np.flatnonzero(np.isin(codes, sorted(places))).tolist()})


def _licensed(board: Board, request: ResourceRequest, size: Range) -> Range | None:
    """The size that the licences left allow; ``None`` = not even the least."""
    most = size.maximum
    for each in request.licences:
        allowed = board.licences_left(each.name) // each.amount
        if allowed < size.minimum:
            return None
        most = allowed if most is None else min(most, allowed)
    return Range(minimum=size.minimum, maximum=most)


def _within_feeds(board: Board, keys: Ints | Floats, rows: Ints, power_w: int) -> Ints:
    """Of the rows of each feed only as many as its watts allow, the best ones."""
    codes, capacity_w = board.fleet.marked.feeds()
    fed = codes[rows]
    kept = [rows[fed == NOWHERE]]
    used_w = np.bincount(np.maximum(codes, 0), weights=board.power_used_w * (codes >= 0), minlength=len(capacity_w))
    for feed in np.unique(fed[fed != NOWHERE]):
        most = int(max(0, capacity_w[feed] - int(used_w[feed])) // power_w)
        of_feed = rows[fed == feed]
        kept.append(best(board, keys, of_feed, most) if 0 < most < len(of_feed) else of_feed[: most or 0])
    return np.sort(np.concatenate(kept))
