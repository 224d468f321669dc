"""Network interfaces and RDMA devices, from ``/sys/class/net`` and ``/sys/class/infiniband``."""

from __future__ import annotations

import os
import re

from ampacity.model.hardware import LinkState, NetworkInterface, RdmaPort

from .pci import numa_node, pci_path
from .tree import Tree

NET = "/sys/class/net"
RDMA = "/sys/class/infiniband"
MBIT, GBIT = 10**6, 10**9


def read_interfaces(tree: Tree) -> tuple[NetworkInterface, ...]:
    """Those with hardware behind them; bridges, tunnels and the ends of containers have none."""
    found = []
    for name in tree.names(NET):
        place = f"{NET}/{name}"
        if not tree.exists(f"{place}/device"):
            continue
        speed_mbit = tree.number(f"{place}/speed") or 0
        found.append(
            NetworkInterface(
                name=name,
                state=_state(tree.text(f"{place}/operstate")),
                speed_bit_per_s=max(0, speed_mbit) * MBIT,
                driver=os.path.basename(tree.target(f"{place}/device/driver")),
                numa_node=numa_node(tree, f"{place}/device"),
                pci_path=pci_path(tree, f"{place}/device"),
            )
        )
    return tuple(found)


def read_rdma(tree: Tree) -> tuple[RdmaPort, ...]:
    """Every port of every RDMA device."""
    found = []
    for device in tree.names(RDMA):
        place = f"{RDMA}/{device}"
        interfaces = tuple(tree.names(f"{place}/device/net"))
        for port in tree.names(f"{place}/ports"):
            if not port.isdigit():
                continue
            rate = re.match(r"([\d.]+) Gb/sec", tree.text(f"{place}/ports/{port}/rate"))
            found.append(
                RdmaPort(
                    device=device,
                    port=int(port),
                    link_layer=tree.text(f"{place}/ports/{port}/link_layer"),
                    state=_port_state(tree.text(f"{place}/ports/{port}/state")),
                    speed_bit_per_s=round(float(rate[1]) * GBIT) if rate else 0,
                    firmware=tree.text(f"{place}/fw_ver"),
                    interfaces=interfaces,
                    numa_node=numa_node(tree, f"{place}/device"),
                    pci_path=pci_path(tree, f"{place}/device"),
                )
            )
    return tuple(found)


def _state(text: str) -> LinkState:
    match text:
        case "up":
            return LinkState.UP
        case "down" | "lowerlayerdown" | "notpresent" | "dormant":
            return LinkState.DOWN
        case _:
            return LinkState.UNKNOWN


def _port_state(text: str) -> LinkState:
    """From ``4: ACTIVE``; all others (``1: DOWN``, ``2: INIT``, ``3: ARMED``) carry no data."""
    if not text:
        return LinkState.UNKNOWN
    return LinkState.UP if text.startswith("4") else LinkState.DOWN
