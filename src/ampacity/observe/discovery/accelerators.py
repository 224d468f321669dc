"""The accelerators of this machine, asked of their vendors' readers in a process with a time limit.

Run as ``python -m ampacity.observe.discovery.accelerators READER`` it prints what it found as JSON: a vendor's library
may hang in a sick driver, or bring its process down.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from ampacity.model.hardware import DeviceLink
from ampacity.observe.devices.base import DeviceIdentity, DeviceReader, LinkReader, ReadFailed
from ampacity.observe.devices.registry import open_reader, present

from .pci import DEVICES, address_of, numa_node, path_of
from .tree import Tree

LIMIT_S = 20.0
COUNTERS = ("energy_j", "ecc_uncorrected", "resets")
SHARED_COUNTERS = ("energy_j", "resets")
"""Those of a partitioned device that tell something of each of its instances: memory errors hit one of them alone
(NVIDIA's MIG guide, "Concepts")."""
log = logging.getLogger(__name__)

_hung: dict[str, subprocess.Popen[bytes]] = {}
"""By vendor: the process of a look that did not end in time."""

_MODEL = re.compile(r"\b(RTX (?:PRO )?\w+|(?:Max|Flex) \d+|[A-Z]{1,3}\d{1,4}[A-Z]?)\b")
_APPLE = re.compile(r"Apple (M\d+( (Pro|Max|Ultra))?)")


class Accelerator(msgspec.Struct, frozen=True, kw_only=True):
    """``kind``: as people ask for it (``H100``); ``name``: as the vendor calls it; ``memory_bytes`` 0 = not known.
    ``bus``: its PCI address as the kernel writes it, empty for what is not on PCI. ``trouble``: why it cannot be used,
    in words; empty = it can. ``counters``: what tells a reset and errors (``supervisor/device_check``). ``profile``,
    ``instance``: as of a ``DeviceIdentity``; its kind is then of its own (``H100-1g.10gb``)."""

    index: int
    vendor: str
    kind: str
    name: str
    memory_bytes: int
    uuid: str
    bus: str
    pci_path: str = ""
    numa_node: int | None = None
    trouble: str = ""
    counters: dict[str, float] = {}
    profile: str = ""
    instance: str = ""


class Partitioned(msgspec.Struct, frozen=True, kw_only=True):
    """A device that is given out as its instances alone, which are listed in its stead."""

    vendor: str
    bus: str
    index: int
    name: str
    instances: int


class Accelerators(msgspec.Struct, frozen=True, kw_only=True):
    """``links``: which of the devices are joined directly. ``asked``: whose reader told it; ``problem``: why one that
    is there told nothing."""

    devices: tuple[Accelerator, ...] = ()
    partitioned: tuple[Partitioned, ...] = ()
    links: tuple[DeviceLink, ...] = ()
    asked: str = ""
    problem: str = ""


def accelerators(vendors: Sequence[str] | None = None, *, limit_s: float = LIMIT_S) -> Accelerators:
    """Those of the first vendor that has any. What hangs or fails is logged, and its devices are not among them.

    Args:
        vendors: whom to ask; all whose driver is loaded unless given. Also ``module:attribute`` of a reader.
        limit_s: how long one vendor's reader may take.
    """
    problems = []
    for vendor in present() if vendors is None else vendors:
        found = _ask(vendor, limit_s)
        if found.devices or found.partitioned:
            return found
        problems += [found.problem] if found.problem else []
    return Accelerators(problem="; ".join(problems))


def _ask(vendor: str, limit_s: float) -> Accelerators:
    before = _hung.get(vendor)
    if before is not None and before.poll() is None:
        return _none(f"the devices of {vendor} still do not answer")
    command = look_command(vendor)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        told, error = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()  # one that hangs in the kernel is not waited for, and no second one is sent after it
        _hung[vendor] = process
        return _none(f"the devices of {vendor} do not answer within {limit_s:g} s")
    if process.returncode != 0:
        last = error.decode(errors="replace").strip().splitlines()[-1:]
        return _none(f"the devices of {vendor} cannot be read: {(last or [f'exit code {process.returncode}'])[0]}")
    return msgspec.json.decode(told, type=Accelerators)


def _none(problem: str) -> Accelerators:
    log.error("%s: none of them is used", problem)
    return Accelerators(problem=problem)


def look_command(vendor: str) -> list[str]:
    """The command that prints what a vendor's reader finds."""
    return [sys.executable, "-m", __name__, vendor]


def short_kind(name: str) -> str:
    """As people write it in ``accelerators:`` (``NVIDIA A100-SXM4-80GB`` is ``A100``); else the name in one word."""
    found = _APPLE.match(name) or _MODEL.search(name)
    return (found[1] if found else name.strip()).replace(" ", "")


def look(vendor: str, tree: Tree | None = None) -> Accelerators:
    """In this very process. Raises ``ReadFailed``."""
    tree, reader = tree or Tree(), open_reader(vendor)
    try:
        told = reader.devices()
        found = [_looked_at(tree, reader, device) for device in told if not device.partitioned]
        sizes = {each.name: each.memory_bytes for each in found if each.memory_bytes and not each.profile}
        devices = tuple(
            msgspec.structs.replace(each, memory_bytes=each.memory_bytes or sizes.get(each.name, 0)) for each in found
        )
        return Accelerators(devices=devices, partitioned=_partitioned(told), links=_links(vendor, reader), asked=vendor)
    finally:
        reader.close()


def _partitioned(told: Sequence[DeviceIdentity]) -> tuple[Partitioned, ...]:
    instances = Counter(device.parent for device in told)
    return tuple(
        Partitioned(
            vendor=device.vendor,
            bus=address_of(device.bus),
            index=device.index,
            name=device.kind,
            instances=instances[device.index],
        )
        for device in told
        if device.partitioned
    )


def _looked_at(tree: Tree, reader: DeviceReader, device: DeviceIdentity) -> Accelerator:
    values: Mapping[str, float] = {}
    trouble = device.trouble
    try:
        values = reader.read(device.index)
    except ReadFailed as error:
        trouble = trouble or str(error)
    memory = values.get("memory_used_bytes", 0.0) + values.get("memory_free_bytes", 0.0)
    bus = address_of(device.bus) if device.bus else ""
    counters = {name: values[name] for name in COUNTERS if name in values}
    if device.parent is not None:
        counters = _shared_counters(reader, device.parent)
    entry = tree.entry(f"{DEVICES}/{bus}") if bus else None
    return Accelerator(
        index=device.index,
        vendor=device.vendor,
        kind="-".join(filter(None, (short_kind(device.kind), device.profile))),
        name=device.kind,
        memory_bytes=device.memory_bytes or int(memory),
        uuid=device.uuid,
        bus=bus,
        pci_path=path_of(tree, bus) if bus else "",
        numa_node=numa_node(tree, f"{DEVICES}/{bus}") if bus else None,
        trouble=trouble,
        counters=counters if entry is None else {**counters, "pci_entry": entry},
        profile=device.profile,
        instance=device.instance,
    )


def _shared_counters(reader: DeviceReader, parent: int) -> dict[str, float]:
    try:
        values = reader.read(parent)
    except ReadFailed:
        return {}
    return {name: values[name] for name in SHARED_COUNTERS if name in values}


def _links(vendor: str, reader: DeviceReader) -> tuple[DeviceLink, ...]:
    try:
        return tuple(reader.links()) if isinstance(reader, LinkReader) else ()
    except ReadFailed as error:
        log.error("the links between the devices of %s are not known: %s", vendor, error)
        return ()


def main(vendor: str) -> None:
    try:
        found = look(vendor)
    except ReadFailed as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main(sys.argv[1])
