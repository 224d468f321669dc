"""Why a gang finds no place though enough nodes have the room: rules, licences and watts, with their arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ampacity.model.ids import NodeId
from ampacity.model.node import Node, TopologyPath
from ampacity.model.plan import WaitCode
from ampacity.model.resources import ResourceRequest
from ampacity.model.rules import TopologyMode, TopologyRule
from ampacity.model.site import Site

from .board import Board
from .gang import Gang
from .impossible import could_ever_fit
from .order import Want
from .shared_shortage import short_of_counted, short_of_licences, short_of_power
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
        volume = site.storage.get(each.volume)
        having = [node for node in fitting if volume is not None and volume.is_on(node.id)]
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
    count, rule = gang.size.minimum, gang.rules.topology
    found = short_of_counted(board, request, fitting, count) or short_of_licences(board, site, request, count)
    if found is not None:
        return found
    if rule is not None and rule.level not in site.levels_of(rule.tree):
        return _no_such_level(rule, site)
    if (reason := short_of_power(board, site, request, fitting, count)) is not None:
        return reason
    if (reason := _too_few_in_a_pool(board, fitting, count)) is not None:
        return reason
    if gang.name is not None:
        return _kept_apart(gang)
    if rule is not None and rule.mode is TopologyMode.REQUIRED:
        return too_scattered(rule, site, fitting, count)
    text = f"finds no place for {count} members that suits all its rules."
    return WaitCode.INSUFFICIENT, text, "loosen its rules, or ask for fewer nodes"


def _no_such_level(rule: TopologyRule, site: Site) -> Reason:
    levels = site.levels_of(rule.tree)
    known = f"its levels are {listed(levels)}" if levels else "no such tree is known"
    text = f"needs one {rule.level} of the tree {rule.tree}; {known}."
    return WaitCode.IMPOSSIBLE, text, "name a tree and a level of the topology file, or leave `topology` out"


def too_scattered(rule: TopologyRule, site: Site, fitting: Sequence[Node], count: int) -> Reason:
    """Of the nodes that have room too few are in one place of the tree."""
    places = by_place(rule, site, fitting)
    path, nodes = min(places.items(), key=lambda item: (-len(item[1]), item[0])) if places else ((), [])
    most = len(nodes)
    in_it = f"the most in one is {most}, in {'/'.join(path)}" if most else f"no node has a place in {rule.tree}"
    changes = [f"ask for {most} node{'' if most == 1 else 's'}"] if most else []
    changes += ["write `mode: preferred`"] if len(fitting) >= count else []
    text = f"needs {count} nodes with room in one {rule.level} of {rule.tree}; {in_it}."
    return WaitCode.INSUFFICIENT, text, "; or ".join(changes) or f"add nodes to one {rule.level} of {rule.tree}"


def by_place(rule: TopologyRule, site: Site, nodes: Sequence[Node]) -> dict[TopologyPath, list[Node]]:
    """The nodes by their place at the rule's level, which is known."""
    depth, found = site.levels_of(rule.tree).index(rule.level) + 1, dict[TopologyPath, list[Node]]()
    for node in nodes:
        if len(path := site.place(node, rule.tree)) >= depth:
            found.setdefault(path[:depth], []).append(node)
    return found


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
