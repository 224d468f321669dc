"""How near a gang is to its data, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ampacity.model.site import Site

from .board import Fit
from .gang import Gang
from .words import listed


def say_nearness(site: Site, gang: Gang, fits: Sequence[Fit]) -> str:
    """``near corpus``, ``near corpus on 1 of 2 nodes``, ``far from corpus``; empty where no data is nearer to some
    nodes than to others."""
    parts = []
    for each in gang.data:
        volume = site.storage.get(each.volume)
        if volume is None or not volume.near:
            continue
        near = sum(fit.node in volume.near for fit in fits)
        where = "" if near in (0, len(fits)) else f" on {near} of {len(fits)} nodes"
        parts.append(f"{'near' if near else 'far from'} {each.volume}{where}")
    return listed(parts)
