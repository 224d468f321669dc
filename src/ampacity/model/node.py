"""Nodes, devices and pools: what there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .hardware import Hardware
from .ids import DEFAULT_POOL, DeviceId, NodeId, PoolName


class Health(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class NodeCondition(StrEnum):
    """``unknown`` is not a verdict: the node is silent, and what runs there may well go on."""

    READY = "ready"
    CORDONED = "cordoned"
    UNKNOWN = "unknown"


class LimitedBy(StrEnum):
    """What keeps a member to what it may use. ``watched``: it is looked at every few seconds and ended when it uses
    more. ``affinity``: it runs on its own CPUs only, unless it asks the kernel for others."""

    CGROUP_V2 = "cgroup v2"
    CGROUP_V1 = "cgroup v1"
    AFFINITY = "affinity"
    WATCHED = "watched"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimits:
    """What limits members on a node, by what they use. As text in few words: ``cgroup v2``, or each by itself."""

    cpu: LimitedBy = LimitedBy.NONE
    memory: LimitedBy = LimitedBy.NONE
    processes: LimitedBy = LimitedBy.NONE
    devices: LimitedBy = LimitedBy.NONE
    disk: LimitedBy = LimitedBy.NONE

    def __str__(self) -> str:
        main = {"cpu": self.cpu, "memory": self.memory, "processes": self.processes}
        if len(set(main.values())) == 1:
            return str(self.cpu)
        return ", ".join(f"{name} {by}" for name, by in main.items() if by is not LimitedBy.NONE)


TopologyPath = tuple[str, ...]
"""A place in one tree, from the root down: ``("site-a", "room-2", "rack-7")``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator, or one instance of a partitioned one. ``index`` is its number on the node (what
    ``CUDA_VISIBLE_DEVICES`` counts). ``profile``: which part of a whole it is (``1g.10gb``, a MIG profile); its kind is
    then of its own (``A100-1g.10gb``). Empty = the whole device. ``instance``: which of its GPU's instances (``3/0``:
    the GPU instance, and the compute instance in it); empty on a declared node. ``bus``: its PCI address
    (``0000:1b:00.0``), an instance's GPU's; empty where it is not known, as on a declared node; so are its vendor and
    its NUMA node. ``uuid``: how the vendor's libraries name it for good (``GPU-…``, ``MIG-…``), empty where they know
    no such name. ``trouble``: why it is not well, in words. ``resets``: how often it was found to have been reset."""

    id: DeviceId
    index: int
    kind: str
    memory_bytes: int
    health: Health = Health.OK
    trouble: str = ""
    resets: int = 0
    profile: str = ""
    instance: str = ""
    vendor: str = ""
    uuid: str = ""
    bus: str = ""
    pci_path: str = ""
    numa_node: int | None = None
    feed: str = ""
    trees: Mapping[str, TopologyPath] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What people say of a node, and what stays whatever its driver reports: labels, and taints (``key`` or
    ``key=value``) that keep work off which does not tolerate them."""

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine, or a declared part of one.

    ``trees`` gives its place in each named topology tree (``site``, ``fabric``, ``rail``, ``link_domain``).
    ``unknown_since`` is set (seconds since the epoch) while it is silent: its condition is ``unknown`` then, or still
    ``cordoned``.
    ``labels``, ``taints``: those that it came with, beside its ``marks``. ``counted``: how many it has of what is
    counted by a name. ``feed``: what it draws its power from.
    ``hardware``: what the machine is made of; empty on a declared node.
    ``address`` is where the other nodes reach it.
    ``version`` grows by one with every change and with every placement that uses the node.
    """

    id: NodeId
    driver: str
    address: str = "127.0.0.1"
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int = 0
    devices: tuple[Device, ...] = ()
    pool: PoolName = DEFAULT_POOL
    condition: NodeCondition = NodeCondition.READY
    unknown_since: float | None = None
    trees: Mapping[str, TopologyPath] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    counted: Mapping[str, int] = field(default_factory=dict)
    feed: str = ""
    marks: Marks = Marks()
    hardware: Hardware = field(default_factory=Hardware)
    declared: bool = False
    boot_id: str = ""
    isolation: str = "none"
    limits: NodeLimits = NodeLimits()
    registered_at: float = 0.0
    version: int = 1

    @property
    def all_labels(self) -> Mapping[str, str]:
        """With those that people gave it, which win."""
        return {**self.labels, **self.marks.labels}

    @property
    def all_taints(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.taints, *self.marks.taints)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A group of nodes of a driver's. ``places_itself``: we ask it, it decides (a Slurm partition, a Kubernetes node
    pool): its nodes are seen for what they have and where they are, and what is placed on one may come to another."""

    name: PoolName
    driver: str
    places_itself: bool = False
    version: int = 1


def placing_pool(node: Node, pools: Mapping[str, Pool]) -> PoolName | None:
    """The pool that decides on which of its nodes something runs that is placed on this one; ``None`` = it runs
    there."""
    pool = pools.get(node.pool)
    return pool.name if pool is not None and pool.places_itself and pool.driver == node.driver else None
