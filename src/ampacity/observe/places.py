"""The metrics folder in the state folder: which file holds what."""

from __future__ import annotations

import os
import re

FOLDER = "metrics"
ENDED = "ended"
LOCK = "collector.lock"
LOG = "collector.log"
HOST_RING = "host.ring"
SUFFIX = ".ring"


def metrics_folder(state_dir: str | os.PathLike[str]) -> str:
    return os.path.join(state_dir, FOLDER)


def device_ring(vendor: str, index: int) -> str:
    return f"device-{vendor}-{index}{SUFFIX}"


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
