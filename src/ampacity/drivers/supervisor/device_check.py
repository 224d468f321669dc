"""Whether something happened to a device between two looks at it: it is gone, in trouble, was reset, had errors.

A look is what ``python -m ampacity.observe.discovery.accelerators VENDOR`` prints. The driver looks every so often; a
supervisor looks once more when its member has failed, for only that tells a device's fault from the job's.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LIMIT_S = 20.0
WAS_RESET, CAME_BACK = "was reset", "was taken off the bus and found again"
RISES = {"resets": WAS_RESET, "ecc_uncorrected": "had memory errors that could not be corrected"}
"""Counters that stand still while all is well."""
PLACE = "pci_entry"
"""The number of its entry in sysfs: another one when it was taken off the bus and found again."""


def happened(before: Mapping[str, float], now: Mapping[str, float]) -> str:
    """In words, by the device's counters; empty = nothing that they show. A counter that has fallen began anew: energy
    used, errors since the driver was loaded."""
    for name in sorted(before.keys() & now.keys()):
        if name == PLACE:
            if now[name] != before[name]:
                return CAME_BACK
        elif now[name] > before[name] and name in RISES:
            return RISES[name]
        elif now[name] < before[name]:
            return WAS_RESET
    return ""


def place_of(device: Mapping[str, Any]) -> tuple[str, str, str]:
    """By what a device is found again, whatever number it has by then: its place, and what an instance of a partitioned
    one is and is called. (Where one was destroyed another may have been made.)"""
    part = f"{device['profile']} {device['uuid']}" if device.get("profile") else ""
    return str(device["vendor"]), str(device.get("bus") or device["index"]), part


def blame(check: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """What happened to a member's devices since they were given to it; empty = nothing, as far as can be told.

    Args:
        check: from ``member.json``: ``argv``, which makes a look, ``vendor``, and ``devices`` as they were then.
    """
    found, trouble = _look(check["argv"], env)
    if found is None:
        return trouble and f"the devices of {check['vendor']} {trouble}"
    told = []
    for device in check["devices"]:
        now = found.get(place_of(device))
        if now is None:
            words = "is gone"
        elif now.get("trouble"):
            words = f"does not work: {now['trouble']}"
        else:
            words = happened(device["counters"], now["counters"])
        if words:
            told.append(f"device {device['id']} {words}")
    return "; ".join(told)


def _look(argv: list[str], env: Mapping[str, str]) -> tuple[dict[tuple[str, str, str], Any] | None, str]:
    """The devices by their place; ``None`` = there is no answer, and what that says of them, if anything."""
    import subprocess

    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(argv, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, env=dict(env))
    except OSError:
        return None, ""
    try:
        told, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # one that hangs in the kernel is not waited for
        return None, f"do not answer within {LIMIT_S:g} s"
    try:
        return {place_of(device): device for device in json.loads(told)["devices"]}, ""
    except (ValueError, KeyError, TypeError):
        return None, "do not answer" if process.returncode == 1 else ""
