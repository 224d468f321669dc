"""What is left of what nodes share: licences, and the watts of power feeds. Plan and commit ask the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .node import Node
from .resources import Allocation
from .site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFree:
    """``licences``: how many of each are left; those that are not in it there are none of. ``watts``: what is left of
    each feed that has a limit. Below zero where more was given out than there now is."""

    licences: Mapping[str, int]
    watts: Mapping[str, int]


Given = tuple[Node | None, Allocation]
"""What is given out, and where; ``None``: on a node that is not known, which draws from no feed."""


def shared_free(site: Site, used: Iterable[Given]) -> SharedFree:
    """What is left once these are taken off."""
    return _less(SharedFree(licences=dict(site.licences), watts=dict(site.feeds)), site, used)


def take_shared(free: SharedFree, site: Site, wanted: Iterable[Given]) -> SharedFree | None:
    """What is left once a whole gang has been given this; ``None`` = there is not enough for all of it."""
    gang = list(wanted)
    left = _less(free, site, gang)
    names = {each.name for _, allocation in gang for each in allocation.licences}
    feeds = {site.feed(node) for node, allocation in gang if node is not None and allocation.power_w}
    if any(left.licences[name] < 0 for name in names) or any(left.watts.get(feed, 0) < 0 for feed in feeds):
        return None
    return left


def _less(free: SharedFree, site: Site, given: Iterable[Given]) -> SharedFree:
    licences, watts = Counter(free.licences), Counter(free.watts)
    for node, allocation in given:
        for each in allocation.licences:
            licences[each.name] -= each.amount
        if node is not None and allocation.power_w and (feed := site.feed(node)) in free.watts:
            watts[feed] -= allocation.power_w
    return SharedFree(licences=licences, watts=watts)
