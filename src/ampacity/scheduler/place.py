"""Places for a whole gang, or none at all: one member a node, on as many nodes as it may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ampacity.model.plan import Placement
from ampacity.model.resources import Range, ResourceRequest

from .board import Board, Fit
from .fit import best, fit_on
from .order import Want


def place(board: Board, request: ResourceRequest, size: Range) -> tuple[Fit, ...] | None:
    """The best nodes for a gang, by node id; ``None`` if fewer than ``size.minimum`` hold a member now.

    A member is an attempt's part on one node, so the nodes are distinct. An elastic gang gets as many as fit, up to
    ``size.maximum``. All members get the same one of the alternative accelerators, the best liked that does.
    """
    for single in alternatives(request):
        rows = best(board, single, size.maximum)
        if len(rows) >= size.minimum:
            return tuple(sorted((fit_on(board, single, int(row)) for row in rows), key=lambda fit: fit.node))
    return None


def place_least(board: Board, want: Want) -> tuple[Fit, ...] | None:
    """As :func:`place`, for the least that the gang may have."""
    return place(board, want.spec.resources, Range.exactly(want.size.minimum))


def alternatives(request: ResourceRequest) -> Iterator[ResourceRequest]:
    """The request once for each of its alternative accelerators, the best liked first."""
    if not request.accelerators:
        yield request
    for wanted in request.accelerators:
        yield replace(request, accelerators=(wanted,))


def placements(fits: tuple[Fit, ...]) -> tuple[Placement, ...]:
    return tuple(Placement(node=fit.node, allocation=fit.allocation) for fit in fits)
