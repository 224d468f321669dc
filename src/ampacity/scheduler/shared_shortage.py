"""Too little of what is counted on nodes, of licences or of a feed's watts, and the least that would have to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ampacity.model.node import Node
from ampacity.model.plan import WaitCode
from ampacity.model.quantities import print_power
from ampacity.model.resources import Counted, ResourceRequest
from ampacity.model.site import Site

from .board import Board
from .waiting import Reason
from .words import listed


def short_of_counted(board: Board, request: ResourceRequest, nodes: Sequence[Node], count: int) -> Reason | None:
    """Whether too few of these nodes, which have the room otherwise, have what is counted on them."""
    left = {node.id: board.free(node.id).counted for node in nodes}
    lacks = {node: missing for node, free in left.items() if (missing := _missing(request.counted, free))}
    if len(nodes) - len(lacks) >= count:
        return None
    nearest = sorted(lacks, key=lambda node: (sum(lacks[node].values()), node))[: count - (len(nodes) - len(lacks))]
    name = next(iter(lacks[nearest[0]]))
    asked = next(each.amount for each in request.counted if each.name == name)
    most, on = max((max(0, free.get(name, 0)), node) for node, free in left.items() if name in lacks.get(node, ()))
    where = "a node" if count == 1 else f"each of {count} nodes"
    frees = [f"{amount} {what} on {node}" for node in nearest for what, amount in lacks[node].items()]
    changes = [f"free {listed(frees, most=len(frees))}"]
    if len(request.counted) == 1:
        enough = sorted((free.get(name, 0) for free in left.values()), reverse=True)[count - 1]
        changes += [f"ask for {enough} {name}"] if enough > 0 else []
    text = f"needs {asked} {name} on {where}; the most left on one is {most}, on {on}."
    return WaitCode.INSUFFICIENT, text, "; or ".join(changes)


def _missing(asked: Sequence[Counted], free: Mapping[str, int]) -> dict[str, int]:
    return {each.name: each.amount - free.get(each.name, 0) for each in asked if free.get(each.name, 0) < each.amount}


def short_of_licences(board: Board, site: Site, request: ResourceRequest, count: int) -> Reason | None:
    """Whether too few licences are left of any that it asks for: the first of them is told."""
    for each in request.licences:
        left, asked, whole = board.licences_left(each.name), each.amount * count, site.licences.get(each.name, 0)
        if left >= asked:
            continue
        text = f"needs {asked} {each.name}; {max(0, left)} of {whole} licences are left."
        if whole >= asked:
            changes = [f"free {asked - left} {each.name}"]
        else:
            changes = [f"name {asked + whole - left} {each.name} under `licences` in the topology file"]
        changes += [f"ask for {left // count} {each.name}"] if left >= count else []
        fewer = left // each.amount
        changes += [f"ask for {fewer} node{'' if fewer == 1 else 's'}"] if fewer > 0 else []
        return WaitCode.INSUFFICIENT, text, "; or ".join(changes)
    return None


def short_of_power(
    board: Board, site: Site, request: ResourceRequest, nodes: Sequence[Node], count: int
) -> Reason | None:
    """Whether the feeds of these nodes, which have the room, have too few watts left for so many members."""
    held, fed = Counter[str](), Counter(site.feed(node) for node in nodes)
    for node in board.known():
        held[site.feed(node)] += int(board.power_used_w[board.past.at(node.id).row])
    left = {feed: max(0, watts - held[feed]) for feed, watts in site.feeds.items()}
    asked = request.power_w
    if not asked or _members(fed, left, asked) >= count:
        return None
    feeds = sorted(set(fed) & set(left), key=lambda feed: (-left[feed], feed))
    said = listed([f"{feed} has {print_power(left[feed])} of {print_power(site.feeds[feed])}" for feed in feeds])
    each = f"{print_power(asked)}{'' if count == 1 else f' for each of {count} nodes'}"
    changes = _free_watts(site, fed, left, held, asked, count - _members(fed, left, asked))
    if (most := _most_watts(fed, left, asked, count)) > 0:
        changes.append(f"ask for {print_power(most)}")
    if (fewer := _members(fed, left, asked)) > 0:
        changes.append(f"ask for {fewer} node{'' if fewer == 1 else 's'}")
    change = "; or ".join(changes) or f"give {listed(feeds)} more watts in the topology file"
    return WaitCode.INSUFFICIENT, f"needs {each}; {said} left.", change


def _members(fed: Mapping[str, int], left: Mapping[str, int], power_w: int) -> int:
    """How many members the feeds have the watts for."""
    return sum(min(nodes, left[feed] // power_w) if feed in left else nodes for feed, nodes in fed.items())


def _free_watts(
    site: Site, fed: Mapping[str, int], left: Mapping[str, int], held: Mapping[str, int], power_w: int, lacking: int
) -> list[str]:
    """The least that would have to come free on one feed, where that is held and its nodes suffice."""
    found = []
    for feed in sorted(set(fed) & set(left)):
        members = left[feed] // power_w + lacking
        watts = members * power_w - (site.feeds[feed] - held[feed])
        if members <= fed[feed] and watts <= held[feed]:
            found.append((watts, feed))
    return [f"free {print_power(watts)} on {feed}" for watts, feed in sorted(found)[:1]]


def _most_watts(fed: Mapping[str, int], left: Mapping[str, int], power_w: int, count: int) -> int:
    """The most that each member may ask for, for the feeds to have enough; 0 = nothing would do."""
    low, high = 0, power_w
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _members(fed, left, middle) >= count else (low, middle)
    return low
