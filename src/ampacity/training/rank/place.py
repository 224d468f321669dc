"""Which rank this is, as the launcher's environment says."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Info:
    """``incarnation`` counts the restarts in place. Empty strings where there is no job of Ampacity."""

    rank: int
    world_size: int
    local_rank: int
    node_rank: int
    incarnation: int
    workload: str
    member_dir: str
    checkpoint_dir: str


def info() -> Info:
    """This process's place. Outside a gang it is rank 0 of 1."""
    return Info(
        rank=int(os.environ.get("RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        node_rank=int(os.environ.get("NODE_RANK", "0")),
        incarnation=incarnation(),
        workload=os.environ.get("AMPACITY_WORKLOAD", ""),
        member_dir=os.environ.get("AMPACITY_MEMBER_DIR", ""),
        checkpoint_dir=os.environ.get("AMPACITY_CHECKPOINT_DIR", ""),
    )


def incarnation() -> int:
    """0 the first time, one more with each restart in place."""
    return int(os.environ.get("AMPACITY_INCARNATION", "0"))
