"""What a machine is made of, as it is stored with its node and shown to people. Nothing here is given out: that is
what the node's own numbers and its devices are for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DiskKind(StrEnum):
    NVME = "nvme"
    SSD = "ssd"
    HDD = "hdd"
    MEMORY = "memory"
    NETWORK = "network"
    OTHER = "other"


class LinkState(StrEnum):
    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """All CPUs of the machine, whether they may be used here or not. ``threads`` are what the kernel calls CPUs."""

    model: str = ""
    architecture: str = ""
    sockets: int = 0
    cores: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaNode:
    """``cpus`` as the kernel lists them (``0-23,96-119``); ``distances`` to each node in order, 10 = itself."""

    index: int
    cpus: str = ""
    memory_bytes: int = 0
    distances: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A mounted file system. ``free_bytes`` is about right: it is renewed when it has changed by much."""

    mount: str
    source: str = ""
    filesystem: str = ""
    kind: DiskKind = DiskKind.OTHER
    size_bytes: int = 0
    free_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInterface:
    """``pci_path`` leads from the root complex to it, as sysfs has it; empty for what is not on PCI."""

    name: str
    state: LinkState = LinkState.UNKNOWN
    speed_bit_per_s: int = 0
    driver: str = ""
    numa_node: int | None = None
    pci_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RdmaPort:
    """One port of an RDMA device. ``link_layer``: ``InfiniBand`` or ``Ethernet`` (RoCE)."""

    device: str
    port: int = 1
    link_layer: str = ""
    state: LinkState = LinkState.UNKNOWN
    speed_bit_per_s: int = 0
    firmware: str = ""
    interfaces: tuple[str, ...] = ()
    numa_node: int | None = None
    pci_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLink:
    """A direct link between two accelerators, by their addresses (``Device.bus``): NVLink, xGMI. ``lanes`` of them
    side by side; through a switch each has as many as the weaker of the two."""

    a: str
    b: str
    kind: str
    lanes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLimits:
    """What cgroups leave to this process; ``None`` and empty: all there is."""

    cpu_milli: int | None = None
    cpus: str = ""
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """``drivers``: vendor and version of each accelerator's driver. ``problems``: what cannot be looked at, and why."""

    processor: Processor = Processor()
    memory_bytes: int = 0
    container: ContainerLimits = ContainerLimits()
    numa_nodes: tuple[NumaNode, ...] = ()
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[NetworkInterface, ...] = ()
    rdma: tuple[RdmaPort, ...] = ()
    links: tuple[DeviceLink, ...] = ()
    drivers: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
