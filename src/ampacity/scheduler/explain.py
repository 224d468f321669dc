"""Why a replica waits for room: one sentence with its arithmetic, and the smallest change that would let it start."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial

from ampacity.model.fits import Free, capacity, usable
from ampacity.model.ids import AttemptId, NodeId
from ampacity.model.node import Node, NodeCondition, TopologyPath
from ampacity.model.plan import WaitCode
from ampacity.model.resources import ResourceRequest
from ampacity.model.rules import TopologyMode, TopologyRule

from .board import Board
from .broken import able, too_few_work
from .gang import admission
from .hindrance import by_place, hindrance, no_node_allows, too_scattered
from .holders import Holders
from .impossible import could_ever_fit
from .order import Shape, Want
from .outranking import Outranking
from .place import alternatives
from .shortfall import Dimension, Short, Shortfall, amount, most_to_ask, shortfall
from .state import State
from .waiting import Change, Reason, said
from .words import listed, say_amount, say_request


class Explainer:
    """Explains from what is left once a plan's starts have been taken off, at any time after it: nothing of the state
    is read but what was so when the explainer was made. May be called from any thread."""

    def __init__(self, state: State, board: Board, chosen: Collection[AttemptId] = ()) -> None:
        """``chosen``: those that the plan has told to leave."""
        self._board, self._site = board, state.fleet.marked.site
        self._holders = Holders(state, board)
        self.outranking = Outranking(state, board, chosen)
        self._reasons: dict[Shape, tuple[Reason, Sequence[Node]]] = {}

    @cached_property
    def _known(self) -> list[Node]:
        return self._board.known()

    @cached_property
    def _frees(self) -> Mapping[NodeId, Free]:
        """What is left of each node, for all shapes."""
        return {node.id: self._board.free(node.id) for node in self._known}

    def reason(self, want: Want) -> Reason:
        """Why there is no room for this replica. All but the priority with which it had some is said of its shape."""
        if want.shape not in self._reasons:
            self._reasons[want.shape] = self._reason(want)
        (code, text, change), nodes = self._reasons[want.shape]
        return code, text, partial(self._changes, want, change, nodes)

    def _changes(self, want: Want, change: Change, nodes: Sequence[Node]) -> str:
        raised = self.outranking.say(want, nodes) if nodes else ""
        return "; or ".join(part for part in (said(change), raised) if part)

    def _reason(self, want: Want) -> tuple[Reason, Sequence[Node]]:
        """With the nodes that would have to have room, where too few have."""
        count, rules = want.size.minimum, want.gang.rules
        if not self._known:
            return (WaitCode.NO_NODES, "there is no node yet.", "add a node"), ()
        refusal = could_ever_fit(want.spec, self._known, size=count)
        if refusal is not None:
            return (WaitCode.IMPOSSIBLE, refusal.message, refusal.hint), ()
        if not self._board.nodes:
            return (WaitCode.NO_NODES, f"no node takes work: {_idle(self._known)}.", _open(self._known)), ()
        nodes = list(filter(admission(want.gang, self._site), self._known))
        everywhere = len(nodes) == len(self._known)
        if len(nodes) < count or not (everywhere or could_ever_fit(want.spec, nodes, size=count) is None):
            return no_node_allows(want, self._site, self._known), ()
        broken = too_few_work(self._board, want.spec.resources, nodes, count, everywhere=everywhere)
        if broken is not None:
            return broken, ()
        shortage, rule = _Shortage(self._frees, self._holders, nodes), rules.topology
        if rule is not None and rule.mode is TopologyMode.REQUIRED and rule.level in self._site.levels_of(rule.tree):
            return self._in_one_place(want, rule, shortage)
        request = shortage.likeliest(want.spec.resources, count)
        fitting = shortage.fitting(request)
        if len(fitting) >= count:
            return hindrance(self._board, self._site, want.gang, request, fitting), ()
        return shortage.reason(request, count, len(fitting)), nodes

    def _in_one_place(self, want: Want, rule: TopologyRule, everywhere: _Shortage) -> tuple[Reason, Sequence[Node]]:
        """Of a gang that has to be in one place of a tree: what it lacks in the one where that is the least."""
        count, resources = want.size.minimum, want.spec.resources
        nearest = self._nearest_place(want, rule, everywhere.nodes)
        if nearest is None:
            fitting = everywhere.fitting(everywhere.likeliest(resources, count))
            return too_scattered(rule, self._site, fitting, count), ()
        path, shortage = nearest
        request = shortage.likeliest(resources, count)
        fitting = shortage.fitting(request)
        if len(fitting) >= count:
            return hindrance(self._board, self._site, want.gang, request, fitting), ()
        there = everywhere.fitting(request)
        most = max(map(len, by_place(rule, self._site, there).values()), default=0)
        code, text, change = shortage.reason(request, count, most)
        where = f"has to be in one {rule.level} of {rule.tree}; in {'/'.join(path)}, where it lacks the least, it "
        scattered = "; or write `mode: preferred`" if len(there) >= count else ""
        return (code, f"{where}{text}", lambda: f"{said(change)}{scattered}"), everywhere.nodes

    def _nearest_place(
        self, want: Want, rule: TopologyRule, nodes: Sequence[Node]
    ) -> tuple[TopologyPath, _Shortage] | None:
        """The place of the tree in which the gang lacks the least; ``None`` = none is large enough."""
        count, resources = want.size.minimum, want.spec.resources
        found = [
            (shortage.least_lack(resources, count), path, shortage)
            for path, members in by_place(rule, self._site, nodes).items()
            if any(len(able(members, request)) >= count for request in alternatives(resources))
            for shortage in (_Shortage(self._frees, self._holders, members),)
        ]
        return min(found, key=lambda each: each[:2])[1:] if found else None


class _Shortage:
    """Too few of these nodes have the room."""

    def __init__(self, frees: Mapping[NodeId, Free], holders: Holders, known: Sequence[Node]) -> None:
        self._frees, self._holders, self.nodes = frees, holders, known
        self._open = [node for node in known if usable(node)]
        self._of_open: dict[ResourceRequest, list[Shortfall]] = {}

    def fitting(self, request: ResourceRequest) -> list[Node]:
        """The nodes that have the room for a member now."""
        return [each.node for each in self._nearest_open(request) if not each.shorts]

    def likeliest(self, resources: ResourceRequest, count: int) -> ResourceRequest:
        """The alternative that lacks the least, of those that enough nodes could hold."""
        choices = list(alternatives(resources))
        if len(choices) == 1:
            return choices[0]
        possible = [request for request in choices if len(able(self.nodes, request)) >= count]
        return min(possible, key=lambda request: self._lack(request, count))

    def least_lack(self, resources: ResourceRequest, count: int) -> tuple[int, int]:
        """Of nodes, and of amounts."""
        return self._lack(self.likeliest(resources, count), count)

    def _lack(self, request: ResourceRequest, count: int) -> tuple[int, int]:
        nearest = self._nearest_open(request)[:count]
        return count - len(nearest), sum(short.missing for each in nearest for short in each.shorts)

    def _nearest_open(self, request: ResourceRequest) -> list[Shortfall]:
        if request not in self._of_open:
            self._of_open[request] = self._nearest(request, self._open)
        return self._of_open[request]

    def _nearest(self, request: ResourceRequest, nodes: Sequence[Node]) -> list[Shortfall]:
        """Those that could hold a member: the nodes that have the room now first, then the nearest to it."""
        found = [shortfall(node, self._frees[node.id], capacity(node), request) for node in able(nodes, request)]
        return sorted(found, key=Shortfall.size)

    def _open_nodes(self) -> Iterator[tuple[Node, Free]]:
        return ((node, self._frees[node.id]) for node in self._open)

    def reason(self, request: ResourceRequest, count: int, fewer: int) -> Reason:
        """``fewer``: so many members have room now."""
        nearest = self._nearest_open(request)
        fitting = [each.node for each in nearest if not each.shorts]
        lacking = nearest[len(fitting) : count]
        closed_nodes = [node for node in self.nodes if not usable(node)]
        closed = self._nearest(request, closed_nodes)
        sentence = [_need(request, count, lacking), _have(fitting, count)]
        if lacking:
            sentence.append(self._nearest_text(request, lacking[0], alone=count == 1))
        if closed:
            sentence.append(_idle([each.node for each in closed]))
        text = "; ".join(part for part in sentence if part)
        missing = count - len(fitting)
        changes = partial(self._changes, request, count, missing=missing, fewer=fewer, lacking=lacking, closed=closed)
        return WaitCode.INSUFFICIENT, f"{text}.", cache(changes)

    def _changes(
        self,
        request: ResourceRequest,
        count: int,
        *,
        missing: int,
        fewer: int,
        lacking: Sequence[Shortfall],
        closed: Sequence[Shortfall],
    ) -> str:
        """What has to happen on the nearest nodes, with how much less of one thing it would start, and on how many.

        Args:
            missing: so many nodes more are needed. ``fewer``: so many members have room now.
            lacking, closed: the open nodes that are the nearest, and those that take no work.
        """
        ready = [each.node for each in closed if not each.shorts][:missing]
        changes = [_mend(request, [*lacking, *closed][:missing])]
        changes += [_open(ready)] if len(ready) == missing else []
        changes += self._ask_less(request, lacking, count)
        changes += [f"ask for {_nodes(fewer)}"] if fewer else []
        return "; or ".join(dict.fromkeys(changes))

    def _nearest_text(self, request: ResourceRequest, nearest: Shortfall, *, alone: bool) -> str:
        node, short = nearest.node.id, nearest.shorts[0]
        frees = listed([_free_of(request, each, bare=len(nearest.shorts) == 1) for each in nearest.shorts])
        holders = self._holders.say(node, request, short.dimension)
        tail = f", {holders}" if holders else ""
        if not (alone and len(nearest.shorts) == 1 and self._is_most(request, short)):
            return f"the nearest is {node} with {frees} free{tail}"
        if short.dimension is Dimension.SHARE:
            return f"the most left of one device is {frees}, on {node}{tail}"
        return f"the most free on one node is {frees} on {node}{tail}"

    def _is_most(self, request: ResourceRequest, short: Short) -> bool:
        return all(amount(node, free, request, short.dimension) <= short.free for node, free in self._open_nodes())

    def _ask_less(self, request: ResourceRequest, lacking: Sequence[Shortfall], count: int) -> list[str]:
        """With how much of a single dimension it would start now."""
        short_of = {short.dimension for each in lacking for short in each.shorts}
        mosts = [
            (dimension, most_to_ask(self._open_nodes(), request, dimension, count))
            for dimension in Dimension
            if dimension in short_of
        ]
        return [f"ask for {say_amount(request, dimension, most)}" for dimension, most in mosts if most > 0]


def _need(request: ResourceRequest, count: int, lacking: Sequence[Shortfall]) -> str:
    if count > 1:
        return f"needs {count} nodes with {say_request(request)} each"
    short_of = [short.dimension for short in lacking[0].shorts] if lacking else None
    return f"needs {say_request(request, short_of)} on one node"


def _have(fitting: Sequence[Node], count: int) -> str:
    """How far a gang gets."""
    if count == 1:
        return ""
    if not fitting:
        return "no node has that free now"
    return f"{_nodes(len(fitting))} {'has' if len(fitting) == 1 else 'have'} that free now ({_names(fitting)})"


def _free_of(request: ResourceRequest, short: Short, *, bare: bool) -> str:
    """``1 of 4``, with what they are where the sentence has not said so alone."""
    free = say_amount(request, short.dimension, max(0, short.free), exact=False).split(" ")[0]
    if short.dimension is Dimension.SHARE:
        return free
    total = say_amount(request, short.dimension, short.total, exact=False)
    return f"{free} of {total.split(' ')[0] if bare else total}"


def _mend(request: ResourceRequest, nodes: Sequence[Shortfall]) -> str:
    """What has to happen on these nodes so that each holds a member."""
    closed = [each.node for each in nodes if each.node.condition is not NodeCondition.READY]
    frees = [f"{_missing(request, each)} on {each.node.id}" for each in nodes if each.shorts]
    return ", ".join([*([_open(closed)] if closed else []), *([f"free {listed(frees)}"] if frees else [])])


def _missing(request: ResourceRequest, each: Shortfall) -> str:
    return listed(
        [
            say_amount(request, short.dimension, short.missing)
            + (" of one device" * (short.dimension is Dimension.SHARE))
            for short in each.shorts
        ]
    )


def _idle(nodes: Sequence[Node]) -> str:
    """``n1 is cordoned and n2 is silent``."""
    words = {NodeCondition.CORDONED: "cordoned", NodeCondition.UNKNOWN: "silent"}
    return listed([f"{node.id} is {words.get(node.condition, node.condition)}" for node in nodes])


def _open(nodes: Sequence[Node]) -> str:
    """``uncordon n1 and n2, bring back n3``."""
    verbs = {NodeCondition.CORDONED: "uncordon", NodeCondition.UNKNOWN: "bring back"}
    parts = [
        f"{verb} {_names(chosen)}"
        for condition, verb in verbs.items()
        if (chosen := [node for node in nodes if node.condition is condition])
    ]
    return ", ".join(parts)


def _names(nodes: Sequence[Node]) -> str:
    return listed([node.id for node in nodes])


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
