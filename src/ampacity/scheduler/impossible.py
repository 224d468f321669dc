"""Whether nodes could hold a workload, were they empty and whole. Asked at submission, and for all that waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ampacity.model.fits import capacity
from ampacity.model.node import Node
from ampacity.model.resources import ANY_KIND, ResourceRequest
from ampacity.model.workload import WorkloadSpec

from .broken import able, mended
from .place import alternatives
from .shortfall import Dimension, amount, dimensions, most_to_ask, needed_of
from .words import listed, say_amount, say_capacity, say_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What is asked for and cannot be, and what would fit."""

    message: str
    hint: str = ""


def could_ever_fit(spec: WorkloadSpec, nodes: Iterable[Node], *, size: int | None = None) -> Refusal | None:
    """Why no set of these nodes could hold one replica, were they all empty and ready, and did all their devices
    work; ``None`` = one could.

    Without any node nothing is refused: it is not known what will join.

    Args:
        spec: its resources and its least number of nodes are looked at.
        nodes: all that are known, whatever their condition.
        size: the gang's number of nodes where that is desired otherwise than the spec says.
    """
    known = sorted(map(mended, nodes), key=lambda node: node.id)
    count = spec.num_nodes.minimum if size is None else size
    choices = list(alternatives(spec.resources))
    if not known or any(len(able(known, request)) >= count for request in choices):
        return None
    return _refuse(choices[0], known, count)


def _refuse(request: ResourceRequest, nodes: Sequence[Node], count: int) -> Refusal:
    holding = able(nodes, request)
    if holding:
        have = "1 node has" if len(holding) == 1 else f"{len(holding)} nodes have"
        message = f"asks for {count} nodes with {say_request(request)} each; only {have} that."
        nodes_word = "node" if len(holding) == 1 else "nodes"
        hint = f"Ask for {len(holding)} {nodes_word} ({_names(holding)}), or for less on each."
        return Refusal(message=message, hint=hint)
    for dimension in dimensions(request):
        most = max(amount(node, capacity(node), request, dimension) for node in nodes)
        if most < needed_of(request, dimension):
            return Refusal(
                message=_too_much(request, dimension, most), hint=_what_would_fit(request, dimension, nodes, count)
            )
    for each in request.counted:
        largest = max(node.counted.get(each.name, 0) for node in nodes)
        if largest < each.amount:
            have = f"the most on one node is {largest}" if largest else "no node has any"
            return Refusal(message=f"asks for {each.amount} {each.name}; {have}.", hint="Say of a node what it has.")
    message = f"asks for {say_request(request)} on one node; each is there, but no node has all of it."
    return Refusal(message=message, hint=f"The nodes have {_capacities(request, nodes)}.")


def _too_much(request: ResourceRequest, dimension: Dimension, most: int) -> str:
    asked = say_request(request, [dimension])
    if dimension is Dimension.SHARE:
        return f"asks for {asked}; no node has one."
    largest = say_amount(request, dimension, most, exact=False).split(" ")[0]
    return f"asks for {asked}; the largest node has {largest}."


def _what_would_fit(request: ResourceRequest, dimension: Dimension, nodes: Sequence[Node], count: int) -> str:
    most = most_to_ask([(node, capacity(node)) for node in nodes], request, dimension, count)
    hints = [_nearest_kind(request, dimension, nodes) if most == 0 else ""]
    if most > 0:
        hints.append(f"Ask for at most {say_amount(request, dimension, most)}.")
    hints.append(f"The nodes have {_capacities(request, nodes)}.")
    return " ".join(hint for hint in hints if hint)


def _nearest_kind(request: ResourceRequest, dimension: Dimension, nodes: Sequence[Node]) -> str:
    if dimension not in (Dimension.DEVICES, Dimension.SHARE):
        return ""
    asked, devices = request.accelerators[0].kind, [device for node in nodes for device in node.devices]
    parts = {each.kind for each in devices if each.profile and (asked == ANY_KIND or each.kind.startswith(f"{asked}-"))}
    if parts:
        return f"Instances of partitioned accelerators are asked for by their own kind: {listed(sorted(parts))}."
    kinds = {} if asked == ANY_KIND else {device.kind.lower(): device.kind for device in devices}
    near = get_close_matches(asked.lower(), sorted(kinds), n=1, cutoff=0.8)
    return f"Did you mean {kinds[near[0]]}?" if near and kinds[near[0]] != asked else ""


def _capacities(request: ResourceRequest, nodes: Sequence[Node]) -> str:
    """The largest nodes first."""
    chosen = sorted(
        nodes, key=lambda node: (-len(node.devices) if request.accelerators else 0, -node.cpu_milli, node.id)
    )
    return listed([say_capacity(node, request) for node in chosen])


def _names(nodes: Sequence[Node]) -> str:
    return listed([node.id for node in nodes])
