"""Why a gang waits that fits on the nodes as they were bought, and not on the devices that work now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ampacity.model.fits import capacity, holds, matching, usable
from ampacity.model.node import Health, Node
from ampacity.model.plan import WaitCode
from ampacity.model.resources import ResourceRequest

from .board import Board
from .place import alternatives
from .shortfall import Dimension, dimensions, most_to_ask, needed_of
from .waiting import Reason
from .words import listed, say_amount, say_request


def mended(node: Node) -> Node:
    """The node with all its devices working."""
    if all(device.health is not Health.FAILED for device in node.devices):
        return node
    devices = tuple(
        replace(device, health=Health.OK) if device.health is Health.FAILED else device for device in node.devices
    )
    return replace(node, devices=devices)


def able(nodes: Iterable[Node], request: ResourceRequest) -> list[Node]:
    """The nodes that hold one member when they are empty, with the devices that work."""
    return [node for node in nodes if holds(node, capacity(node), request)]


def too_few_work(
    board: Board, resources: ResourceRequest, nodes: Sequence[Node], count: int, *, everywhere: bool
) -> Reason | None:
    """The reason; ``None`` where enough of these nodes hold a member with the devices that work.

    Args:
        nodes: those whose labels and taints suit it; mended, enough of them hold a member.
        everywhere: they are all that there are.
    """
    choices = list(alternatives(resources))
    if any(len(able(nodes, request)) >= count for request in choices):
        return None
    whole = [mended(node) for node in nodes]
    request = next(request for request in choices if len(able(whole, request)) >= count)
    tally = _Tally.of(request, nodes)
    place = "the cluster" if everywhere else "the nodes that it may run on"
    asked = f"{count} nodes with {say_request(request)} each" if count > 1 else f"{say_request(request)} on one node"
    dimension = Dimension.DEVICES if Dimension.DEVICES in dimensions(request) else Dimension.SHARE
    text = f"needs {asked}; {tally.say(request, place)}"
    if tally.failed < tally.total:
        text += f", and {_have(able(nodes, request), count)} without them"
    changes = [f"mend {_mend(request, nodes, whole, count)}"]
    now = [(node, board.free(node.id)) for node in nodes if usable(node)]
    most = most_to_ask(now, request, dimension, count)
    changes += [f"ask for {say_amount(request, dimension, most)}"] if most else []
    return WaitCode.INSUFFICIENT, f"{text}.", "; or ".join(changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    failed: int
    total: int

    @staticmethod
    def of(request: ResourceRequest, nodes: Sequence[Node]) -> _Tally:
        found = [device for node in nodes for device in matching(node, request.accelerators[0])]
        return _Tally(failed=sum(device.health is Health.FAILED for device in found), total=len(found))

    def say(self, request: ResourceRequest, place: str) -> str:
        of_them = say_amount(request, Dimension.DEVICES, self.total)
        if self.failed < self.total:
            return f"{self.failed} of the {of_them} of {place} {'is' if self.failed == 1 else 'are'} failed"
        if self.total == 1:
            return f"the only {of_them.partition(' ')[2]} of {place} is failed"
        return f"all {of_them} of {place} are failed"


def _have(holding: Sequence[Node], count: int) -> str:
    if not holding:
        return "no node has enough"
    return f"{'only ' * (len(holding) < count)}{listed([node.id for node in holding])} {_has(holding)} enough"


def _has(nodes: Sequence[Node]) -> str:
    return "has" if len(nodes) == 1 else "have"


def _mend(request: ResourceRequest, nodes: Sequence[Node], whole: Sequence[Node], count: int) -> str:
    """The fewest devices whose return is enough, node by node."""
    needed = max(1, needed_of(request, Dimension.DEVICES))
    lacking = []
    for node, as_bought in zip(nodes, whole, strict=True):
        if able([as_bought], request) and not able([node], request):
            working = sum(device.health is not Health.FAILED for device in matching(node, request.accelerators[0]))
            lacking.append((needed - working, node.id))
    chosen = sorted(lacking)[: count - len(able(nodes, request))]
    return listed([f"{say_amount(request, Dimension.DEVICES, missing)} on {node}" for missing, node in chosen])
