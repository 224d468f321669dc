"""What a replica needs to start, as far as its room depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ampacity.model.ids import Project
from ampacity.model.node import Node
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.rules import NO_RULES, PlacementRules
from ampacity.model.site import Site
from ampacity.model.volume import VolumeUse

Name = tuple[Project, str]
"""A workload's name in its project: what rules about neighbours speak of."""


class Data(NamedTuple):
    """A volume that has to be there, and what it is worth to be near it; ``None`` = as the volume says."""

    volume: str
    worth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """Members of one replica, one a node.

    Attributes:
        size: how many members it may have.
        data: volumes that each of its nodes has to have, by name.
        name: given only where a rule about neighbours concerns it: its own, or that of another.
        rates: how fast it runs on each kind of accelerator (:mod:`.paces`), where it may choose and that is known.
    """

    resources: ResourceRequest
    size: Range
    rules: PlacementRules = NO_RULES
    data: tuple[Data, ...] = ()
    name: Name | None = None
    rates: tuple[tuple[str, float], ...] = ()

    @property
    def shape(self) -> Gang:
        """Gangs of one shape find room together or not at all: how far they would grow makes no difference."""
        return replace(self, size=Range.exactly(self.size.minimum))


def is_by_node(gang: Gang) -> bool:
    """Whether each node by itself says whether it has room: nothing is asked that nodes share, and no neighbours."""
    request = gang.resources
    return gang.rules.topology is None and gang.name is None and not request.licences and not request.power_w


def admission(gang: Gang, site: Site) -> Callable[[Node], bool]:
    """What says whether a node's labels, taints and volumes let a gang in, wherever it has room. A volume that no file
    names is nowhere."""
    rules, volumes = gang.rules, [site.storage.get(each.volume) for each in gang.data]
    if None in volumes:
        return lambda node: False
    having = [frozenset(each.nodes) for each in volumes if each is not None and each.nodes is not None]
    return lambda node: rules.admit(node.all_labels, node.all_taints) and all(node.id in nodes for nodes in having)


def data_of(uses: Iterable[VolumeUse]) -> tuple[Data, ...]:
    """The volumes that are mounted. One that is mounted twice is worth the more of the two."""
    worths: dict[str, list[int]] = {}
    for use in uses:
        if use.volume:
            worths.setdefault(use.volume, []).extend([] if use.worth is None else [use.worth])
    return tuple(Data(volume, max(found, default=None)) for volume, found in sorted(worths.items()))


def asks_no_less(gang: Gang, than: Gang) -> bool:
    """Whether wherever ``gang`` finds room, ``than`` would find room as well: it asks for no less of anything.
    ``False`` also where the two are too different to be held against each other."""
    more, less = gang.resources, than.resources
    if (gang.rules, gang.data, gang.name, more.licences, more.counted, more.power_w) != (
        than.rules,
        than.data,
        than.name,
        less.licences,
        less.counted,
        less.power_w,
    ):
        return False
    return (
        gang.size.minimum >= than.size.minimum
        and more.cpu_milli.minimum >= less.cpu_milli.minimum
        and more.memory_bytes.minimum >= less.memory_bytes.minimum
        and more.disk_bytes >= less.disk_bytes
        and _devices_no_less(more, less)
    )


def _devices_no_less(more: ResourceRequest, less: ResourceRequest) -> bool:
    if len(more.accelerators) != 1 or len(less.accelerators) != 1:
        return more.accelerators == less.accelerators or not less.accelerators
    one, other = more.accelerators[0], less.accelerators[0]
    same = (one.kind, one.memory_bytes) == (other.kind, other.memory_bytes)
    return same and one.count.minimum >= other.count.minimum and one.milli >= other.milli
