"""Why a gang finds no place though enough nodes have the room: rules, licences and watts, with their arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ampacity.model.ids import NodeId
from ampacity.model.node import Node
from ampacity.model.plan import WaitCode
from ampacity.model.quantities import print_power
from ampacity.model.resources import ResourceRequest
from ampacity.model.rules import TopologyMode, TopologyRule
from ampacity.model.site import Site

from .board import Board
from .gang import Gang
from .impossible import could_ever_fit
from .order import Want
from .waiting import Reason
from .words import listed


def no_node_allows(want: Want, site: Site, nodes: Sequence[Node]) -> Reason:
    """No node, or too few, have the labels and volumes asked for and no taint that is not tolerated; or those that do
    are too small."""
    rules, count = want.gang.rules, want.gang.size.minimum
    fitting = [node for node in nodes if all(rule.holds(node.all_labels) for rule in rules.selector)]
    wanted = " and ".join(str(rule) for rule in rules.selector)
    many = "a node" if count == 1 else f"{count} nodes"
    if len(fitting) < count:
        have = "no node has that" if not fitting else f"only {_names(fitting)} {_has(fitting)} that"
        change = f"label {many} so (`ampacity nodes label`), or change the selector"
        return WaitCode.INSUFFICIENT, f"needs {many} with {wanted}; {have}.", change
    for each in want.gang.data:
        having = [node for node in fitting if site.has_volumes(node.id, (each.volume,))]
        if len(having) < count:
            return _no_volume(site, each.volume, having, fitting, count)
        fitting = having
    taints = sorted({taint for node in fitting for taint in node.all_taints if not rules.tolerates((taint,))})
    refusal = None if taints else could_ever_fit(want.spec, fitting, size=count)
    if refusal is not None:
        text = f"may go to {_names(fitting)} only, by its rules and volumes, and {refusal.message}"
        return WaitCode.INSUFFICIENT, text, refusal.hint.rstrip(".")
    return (
        WaitCode.INSUFFICIENT,
        f"needs {many} whose taints it tolerates; {_names(fitting)} {_has(fitting)} {listed(taints)}.",
        f"add to its tolerations {listed(taints)}, or take the taint off (`ampacity nodes taint`)",
    )


def _no_volume(site: Site, name: str, having: Sequence[Node], fitting: Sequence[Node], count: int) -> Reason:
    many = "a node" if count == 1 else f"{count} nodes"
    if name not in site.storage:
        text = f"needs the volume {name}, which is not there any more."
        return WaitCode.INSUFFICIENT, text, f"name {name} under `storage` in the topology file"
    nodes = site.storage[name].nodes or ()
    other = sorted({*nodes} - {node.id for node in fitting})
    have = f"only {_names(having)} {_has(having)} it" if having else "no node that its rules allow has it"
    also = f" ({listed(other)}, which its rules do not allow, {'has' if len(other) == 1 else 'have'} it as well)"
    text = f"needs {many} with the volume {name}; {have}{also if other else ''}."
    changes = [f"ask for {len(having)} node{'' if len(having) == 1 else 's'}"] if having else []
    changes.append(f"name more nodes for {name} under `storage` in the topology file")
    return WaitCode.INSUFFICIENT, text, "; or ".join(changes)


def hindrance(board: Board, site: Site, gang: Gang, request: ResourceRequest, fitting: Sequence[Node]) -> Reason:
    """What keeps a gang off, though these open nodes all have the room for a member."""
    count = gang.size.minimum
    for each in request.counted:
        have = sorted(((board.free(node.id).counted.get(each.name, 0), node.id) for node in fitting), reverse=True)
        if have[count - 1][0] < each.amount:
            most, node = have[0]
            text = (
                f"needs {each.amount} {each.name} on {'a node' if count == 1 else f'each of {count} nodes'}; the most "
            )
            return WaitCode.INSUFFICIENT, f"{text}left on one is {max(0, most)}, on {node}.", f"free {each.name} there"
    for each in request.licences:
        left, asked = max(0, board.licences_left(each.name)), each.amount * count
        if left < asked:
            text = f"needs {asked} {each.name}; {left} of {site.licences.get(each.name, 0)} licences are left."
            return WaitCode.INSUFFICIENT, text, f"free {asked - left} {each.name}"
    rule = gang.rules.topology
    if rule is not None and rule.level not in site.levels_of(rule.tree):
        return _no_such_level(rule, site)
    if request.power_w and (reason := _short_of_power(board, site, request, fitting, count)) is not None:
        return reason
    if (reason := _too_few_in_a_pool(board, fitting, count)) is not None:
        return reason
    if gang.name is not None:
        return _kept_apart(gang)
    if rule is not None and rule.mode is TopologyMode.REQUIRED:
        return _too_scattered(rule, site, fitting, count)
    return WaitCode.INSUFFICIENT, f"finds no place for {count} members that suits all its rules.", "ask for less"


def _no_such_level(rule: TopologyRule, site: Site) -> Reason:
    levels = site.levels_of(rule.tree)
    known = f"its levels are {listed(levels)}" if levels else "no such tree is known"
    text = f"needs one {rule.level} of the tree {rule.tree}; {known}."
    return WaitCode.IMPOSSIBLE, text, "name a tree and a level of the topology file, or leave `topology` out"


def _too_scattered(rule: TopologyRule, site: Site, fitting: Sequence[Node], count: int) -> Reason:
    depth = site.levels_of(rule.tree).index(rule.level) + 1
    places = Counter(path[:depth] for node in fitting if len(path := site.place(node, rule.tree)) >= depth)
    path, most = min(places.items(), key=lambda item: (-item[1], item[0])) if places else ((), 0)
    in_it = f"the most in one is {most}, in {'/'.join(path)}" if most else f"no node has a place in {rule.tree}"
    changes = [f"ask for {most} node{'' if most == 1 else 's'}"] if most else []
    changes.append("write `mode: preferred`")
    text = f"needs {count} nodes with room in one {rule.level} of {rule.tree}; {in_it}."
    return WaitCode.INSUFFICIENT, text, "; or ".join(changes)


def _short_of_power(
    board: Board, site: Site, request: ResourceRequest, fitting: Sequence[Node], count: int
) -> Reason | None:
    held: Counter[str] = Counter()
    for node in board.known():
        held[site.feed(node)] += int(board.power_used_w[board.past.at(node.id).row])
    left = {feed: watts - held[feed] for feed, watts in site.feeds.items()}
    room = sum(
        min(nodes, max(0, left[feed]) // request.power_w) if feed in left else nodes
        for feed, nodes in Counter(site.feed(node) for node in fitting).items()
    )
    if room >= count:
        return None
    feeds = sorted({site.feed(node) for node in fitting} & set(left), key=lambda feed: (-left[feed], feed))
    said = listed(
        [f"{feed} has {print_power(max(0, left[feed]))} of {print_power(site.feeds[feed])}" for feed in feeds]
    )
    each = f"{print_power(request.power_w)}{'' if count == 1 else f' for each of {count} nodes'}"
    return WaitCode.INSUFFICIENT, f"needs {each}; {said} left.", "free watts there, or ask for less power"


def _too_few_in_a_pool(board: Board, fitting: Sequence[Node], count: int) -> Reason | None:
    """No gang spans two pools that place by themselves, or one of those and nodes on which we place."""
    marked = board.fleet.marked
    parts = marked.apart(np.array([board.fleet.row_of[node.id] for node in fitting], np.int64))
    most = max(parts, key=len)
    if len(most) >= count:
        return None
    pool = marked.pool(int(most[0]))
    where = "outside of pools that place by themselves" if pool is None else f"in the pool {pool}"
    text = f"needs {count} nodes that one and the same place gives out; the most with room are {len(most)}, {where}."
    return WaitCode.INSUFFICIENT, text, f"ask for {len(most)} node{'' if len(most) == 1 else 's'}"


def _kept_apart(gang: Gang) -> Reason:
    own = gang.rules.apart
    others = listed(list(own.workloads)) if own is not None else "workloads that keep apart from it"
    text = f"keeps apart from {others}, and every node with room is too near to one of them."
    return WaitCode.INSUFFICIENT, text, "add nodes, or change `anti_affinity`"


def _has(nodes: Sequence[Node]) -> str:
    return "has" if len(nodes) == 1 else "have"


def _names(nodes: Sequence[Node]) -> str:
    ids: list[NodeId] = [node.id for node in nodes]
    return listed(ids)
