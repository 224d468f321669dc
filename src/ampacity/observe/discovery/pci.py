"""Where a device sits on PCI."""

from __future__ import annotations

import re

from .tree import Tree

DEVICES = "/sys/bus/pci/devices"
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")
_HOST = re.compile(r"pci[0-9a-f]+:[0-9a-f]+")


def address_of(text: str) -> str:
    """As the kernel writes it: ``0000:1b:00.0``. NVML pads the domain to eight digits and uses capitals."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain[-4:]}:{rest}" if rest and domain[:-4].strip("0") == "" else f"{domain}:{rest}"


def pci_path(tree: Tree, place: str) -> str:
    """``pci0000:00/0000:00:01.0/0000:01:00.0``: from the root complex over all bridges to the device behind ``place``
    (a folder or link of sysfs); empty for what is not on PCI."""
    parts = tree.target(place).split("/")
    kept = [part for part in parts if _HOST.fullmatch(part) or _ADDRESS.fullmatch(part)]
    return "/".join(kept) if any(_ADDRESS.fullmatch(part) for part in kept) else ""


def path_of(tree: Tree, address: str) -> str:
    return pci_path(tree, f"{DEVICES}/{address}")


def numa_node(tree: Tree, place: str) -> int | None:
    """``None`` where the machine has only one, or does not say."""
    number = tree.number(f"{place}/numa_node")
    return number if number is not None and number >= 0 else None
