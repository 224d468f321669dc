"""Declared nodes: ``n1:cpus=8,memory=32GB,H100=8`` is a node as good as any other."""

from __future__ import annotations

import re
from dataclasses import replace

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.ids import DeviceId, NodeId, PoolName
from ampacity.model.node import Device, Node, TopologyPath
from ampacity.model.quantities import parse_bytes
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.rules import LABEL

EXAMPLE = "n1:cpus=8,memory=32GB,H100=8"
TREES = ("site", "fabric", "rail", "link_domain")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9._-]*(\+[a-z][a-z.]*)?")
_PROFILE = re.compile(r"-(?P<name>([1-7]c\.)?[1-7]g\.(?P<gb>[0-9]{1,3})gb([+-][a-z][a-z.]*)?)$")
"""The profile of a MIG instance, as NVIDIA names them: slices of compute and memory, and what it has beyond them."""
_KINDS_MEMORY_GB = {
    "A10G": 24,
    "A100": 80,
    "B200": 192,
    "B300": 288,
    "H100": 80,
    "H200": 141,
    "L4": 24,
    "L40S": 48,
    "MI300X": 192,
    "MI325X": 256,
    "T4": 16,
    "V100": 32,
}
"""Memory of common kinds, in GB, where a declaration does not say it."""


def parse_declaration(text: str) -> Node:
    """The node that the text declares.

    ``NAME:KEY=VALUE,…`` with ``cpus`` (may be a fraction), ``memory`` and optionally ``disk`` (``32GB``), ``pool``,
    a place in a topology tree (``site=a/room-2/rack-7``), ``feed`` (what it draws its power from), labels
    (``label.zone=a``), taints (``taint.team=vision``), what is counted (``counted.fpga=2``), and accelerators as
    ``KIND=COUNT`` or ``KIND=COUNTxMEMORY`` (``H100=8x80GB``). A kind such as ``A100-1g.10gb`` is an instance of a
    partitioned one. ``GB`` is 10^9 bytes, ``GiB`` 2^30.

    Raises:
        InvalidSpec: with the key at fault and what to write.
    """
    name, colon, rest = text.strip().partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise _wrong(text, "", f"{name!r} is not a node's name followed by ':'")
    pairs = _pairs(text, rest)
    for needed in ("cpus", "memory"):
        if needed not in pairs:
            raise _wrong(text, needed, f"{needed} is missing")
    node = Node(
        id=NodeId(name),
        driver="local",
        declared=True,
        cpu_milli=_cpu_milli(text, pairs.pop("cpus")),
        memory_bytes=_bytes(text, "memory", pairs.pop("memory")),
        disk_bytes=_bytes(text, "disk", pairs.pop("disk", "0B")),
        pool=PoolName(pairs.pop("pool", "default")),
        feed=pairs.pop("feed", ""),
        labels=_prefixed(text, pairs, "label."),
        taints=tuple(f"{key}={value}" for key, value in _prefixed(text, pairs, "taint.").items()),
        counted=_counts(text, _prefixed(text, pairs, "counted.")),
        trees={tree: _path(text, tree, pairs.pop(tree)) for tree in TREES if tree in pairs},
    )
    devices: list[Device] = []
    for kind, value in pairs.items():
        devices.extend(_devices(text, name, kind, value, first=len(devices)))
    return replace(node, devices=tuple(devices))


def _pairs(text: str, rest: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in rest.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise _wrong(text, key, f"{part.strip()!r} is not KEY=VALUE")
        if key in pairs:
            raise _wrong(text, key, f"{key} is given twice")
        pairs[key] = value
    return pairs


def _prefixed(text: str, pairs: dict[str, str], prefix: str) -> dict[str, str]:
    """The pairs that begin so, taken out of all."""
    found = {key.removeprefix(prefix): pairs.pop(key) for key in list(pairs) if key.startswith(prefix)}
    for key, value in found.items():
        if not re.fullmatch(LABEL, key) or not re.fullmatch(LABEL, value):
            raise _wrong(
                text, prefix + key, f"{prefix}{key}={value} has other characters than letters, digits and ._/-"
            )
    return found


def _counts(text: str, found: dict[str, str]) -> dict[str, int]:
    for key, value in found.items():
        if not value.isdigit() or not 1 <= int(value) <= 10_000:
            raise _wrong(text, f"counted.{key}", f"{value!r} is not a number from 1 to 10000")
    return {key: int(value) for key, value in found.items()}


def _cpu_milli(text: str, value: str) -> int:
    if not re.fullmatch(r"\d+(\.\d{1,3})?", value) or float(value) <= 0:
        raise _wrong(text, "cpus", f"{value!r} is not a number of CPUs above 0")
    return round(float(value) * WHOLE_MILLI)


def _bytes(text: str, key: str, value: str) -> int:
    try:
        return parse_bytes(value)
    except InvalidSpec as error:
        raise InvalidSpec(f"{error.message} In the node {text!r}.", where=Where(key=key), hint=error.hint) from error


def _path(text: str, tree: str, value: str) -> TopologyPath:
    path = tuple(value.split("/"))
    if not all(path):
        raise _wrong(text, tree, f"{value!r} is not a path such as a/room-2/rack-7")
    return path


def _devices(text: str, node: str, kind: str, value: str, *, first: int) -> list[Device]:
    count, _, memory = value.partition("x")
    if not _KIND.fullmatch(kind) or not count.isdigit() or not 1 <= int(count) <= 1024:
        raise _wrong(text, kind, f"{kind}={value} is neither a known key nor accelerators as KIND=COUNT")
    profile = _PROFILE.search(kind)
    if memory:
        memory_bytes = _bytes(text, kind, memory)
    elif profile is not None:
        memory_bytes = int(profile["gb"]) * 10**9
    else:
        memory_bytes = _KINDS_MEMORY_GB.get(kind.partition("-")[0].upper(), 0) * 10**9
    return [
        Device(
            id=DeviceId(f"{node}/{index}"),
            index=index,
            kind=kind,
            memory_bytes=memory_bytes,
            profile="" if profile is None else profile["name"],
        )
        for index in range(first, first + int(count))
    ]


def _wrong(text: str, key: str, message: str) -> InvalidSpec:
    return InvalidSpec(f"{message} in the node {text!r}", where=Where(key=key), hint=f"Write it like {EXAMPLE}.")
