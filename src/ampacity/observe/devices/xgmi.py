"""Which of AMD's devices are linked with each other, by the compute driver's files (``kfd``)."""

from __future__ import annotations

from ampacity.model.hardware import DeviceLink
from ampacity.observe.discovery.tree import Tree

NODES = "/sys/class/kfd/kfd/topology/nodes"
KIND = "xGMI"
XGMI = "11"
"""The type of such a link in the driver's table (CRAT)."""


def xgmi_links(tree: Tree) -> tuple[DeviceLink, ...]:
    """Each pair once. How many links lie side by side the driver does not tell."""
    addresses = {name: _address(tree.table(f"{NODES}/{name}/properties")) for name in tree.names(NODES)}
    pairs: set[tuple[str, str]] = set()
    for name, address in addresses.items():
        for link in tree.names(f"{NODES}/{name}/io_links"):
            told = tree.table(f"{NODES}/{name}/io_links/{link}/properties")
            other = addresses.get(told.get("node_to", ""), "")
            if told.get("type") == XGMI and address and other:
                pairs.add((min(address, other), max(address, other)))
    return tuple(DeviceLink(a=a, b=b, kind=KIND) for a, b in sorted(pairs))


def _address(properties: dict[str, str]) -> str:
    """From ``location_id``, bus and function in one number; empty for a processor, which has none."""
    if properties.get("simd_count", "0") == "0":
        return ""
    location, domain = int(properties.get("location_id", "0")), int(properties.get("domain", "0"))
    return f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"
