"""The accelerators of this machine, asked of their vendors' readers in a process with a time limit.

Run as ``python -m ampacity.observe.discovery.accelerators READER`` it prints what it found as JSON: a vendor's library
may hang in a sick driver, or bring its process down.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from ampacity.model.hardware import DeviceLink
from ampacity.observe.devices.base import LinkReader, ReadFailed
from ampacity.observe.devices.registry import open_reader, present

from .pci import DEVICES, address_of, numa_node, path_of
from .tree import Tree

LIMIT_S = 20.0
log = logging.getLogger(__name__)

_hung: dict[str, subprocess.Popen[bytes]] = {}
"""By vendor: the process of a look that did not end in time."""

_MODEL = re.compile(r"\b(RTX \w+|(?:Max|Flex) \d+|[A-Z]{1,3}\d{1,4}[A-Z]?)\b")
_APPLE = re.compile(r"Apple (M\d+( (Pro|Max|Ultra))?)")


class Accelerator(msgspec.Struct, frozen=True, kw_only=True):
    """``kind``: as people ask for it (``H100``); ``name``: as the vendor calls it; ``memory_bytes`` 0 = not known.
    ``bus``: its PCI address as the kernel writes it, empty for what is not on PCI."""

    index: int
    vendor: str
    kind: str
    name: str
    memory_bytes: int
    uuid: str
    bus: str
    pci_path: str = ""
    numa_node: int | None = None


class Accelerators(msgspec.Struct, frozen=True, kw_only=True):
    """``links``: which of the devices are joined directly."""

    devices: tuple[Accelerator, ...] = ()
    links: tuple[DeviceLink, ...] = ()


def accelerators(vendors: Sequence[str] | None = None, *, limit_s: float = LIMIT_S) -> Accelerators:
    """Those of the first vendor that has any. What hangs or fails is logged, and counts as none.

    Args:
        vendors: whom to ask; all whose driver is loaded unless given. Also ``module:attribute`` of a reader.
        limit_s: how long one vendor's reader may take.
    """
    for vendor in present() if vendors is None else vendors:
        found = _ask(vendor, limit_s)
        if found.devices:
            return found
    return Accelerators()


def _ask(vendor: str, limit_s: float) -> Accelerators:
    before = _hung.get(vendor)
    if before is not None and before.poll() is None:
        log.error("the devices of %s still do not answer", vendor)
        return Accelerators()
    command = [sys.executable, "-m", __name__, vendor]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        told, error = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()  # one that hangs in the kernel is not waited for, and no second one is sent after it
        _hung[vendor] = process
        log.error("the devices of %s do not answer within %g s: none of them is used", vendor, limit_s)
        return Accelerators()
    if process.returncode != 0:
        last = error.decode(errors="replace").strip().splitlines()[-1:]
        log.error("the devices of %s cannot be read: %s", vendor, *last or [f"exit code {process.returncode}"])
        return Accelerators()
    return msgspec.json.decode(told, type=Accelerators)


def short_kind(name: str) -> str:
    """As people write it in ``accelerators:`` (``NVIDIA A100-SXM4-80GB`` is ``A100``); else the name in one word."""
    found = _APPLE.match(name) or _MODEL.search(name)
    return (found[1] if found else name.strip()).replace(" ", "")


def look(vendor: str, tree: Tree | None = None) -> Accelerators:
    """In this very process. Raises ``ReadFailed``."""
    tree, reader = tree or Tree(), open_reader(vendor)
    try:
        found = []
        for device in reader.devices():
            try:
                values = reader.read(device.index)
            except ReadFailed as error:
                log.error("%s: device %d is not used: %s", vendor, device.index, error)
                continue
            memory = values.get("memory_used_bytes", 0.0) + values.get("memory_free_bytes", 0.0)
            bus = address_of(device.bus) if device.bus else ""
            found.append(
                Accelerator(
                    index=device.index,
                    vendor=device.vendor,
                    kind=short_kind(device.kind),
                    name=device.kind,
                    memory_bytes=device.memory_bytes or int(memory),
                    uuid=device.uuid,
                    bus=bus,
                    pci_path=path_of(tree, bus) if bus else "",
                    numa_node=numa_node(tree, f"{DEVICES}/{bus}") if bus else None,
                )
            )
        links = tuple(reader.links()) if isinstance(reader, LinkReader) else ()
        return Accelerators(devices=tuple(found), links=links)
    finally:
        reader.close()


def main(vendor: str) -> None:
    try:
        found = look(vendor)
    except ReadFailed as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main(sys.argv[1])
