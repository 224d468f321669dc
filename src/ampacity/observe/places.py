"""The metrics folder in the state folder: which file holds what."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

FOLDER = "metrics"
ENDED = "ended"
LOCK = "collector.lock"
LOG = "collector.log"
HOST_RING = "host.ring"
SUFFIX = ".ring"


def metrics_folder(state_dir: str | os.PathLike[str]) -> str:
    return os.path.join(state_dir, FOLDER)


def device_ring(vendor: str, index: int, instance: str = "") -> str:
    """``index``: of a partitioned device's instance that of the device; ``instance``: which one (``3/0``)."""
    part = f".{instance.replace('/', '.')}" if instance else ""
    return f"device-{vendor}-{index}{part}{SUFFIX}"


def device_order(labels: Mapping[str, str]) -> tuple[str, list[int]]:
    """What devices' files are sorted by: each instance of a partitioned device comes after that."""
    instance = labels.get("instance", "")
    return labels["vendor"], [int(labels["index"]), *(int(number) for number in instance.split("/") if number)]


def member_ring(member: str) -> str:
    return f"member-{member}{SUFFIX}"


def rank_ring(member: str, rank: int) -> str:
    return f"rank-{member}-{rank}{SUFFIX}"


def probe_beat(reader: str) -> str:
    """Its time says when that reader's probe last made a sample."""
    return f"probe-{re.sub('[^A-Za-z0-9.-]', '-', reader)}.beat"


def holders_file(vendor: str) -> str:
    """JSON: which process holds how many bytes of which device."""
    return f"holders-{vendor}.json"
