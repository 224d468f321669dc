"""What the agent is told: ``agent.json`` (docs/architecture.md, "A training gang") and its environment."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Optional

FORMAT = 1


@dataclass(frozen=True)
class Config:
    """``max_restarts`` ``None`` = without end. Times in seconds."""

    command: str
    nnodes: int
    node_rank: int
    ranks_per_node: int
    rendezvous: str
    master_addr: str
    max_restarts: Optional[int]
    grace_s: float
    checkpoint_dir: str
    checkpoint_every_s: Optional[float]
    member_dir: str
    facts: str
    key: "dict[str, object]"

    @property
    def world_size(self) -> int:
        return self.nnodes * self.ranks_per_node

    def rank(self, local_rank: int) -> int:
        """The global rank. All members have as many ranks."""
        return self.node_rank * self.ranks_per_node + local_rank


def read_config(path: str) -> Config:
    """Raises ``SystemExit`` with what is wrong."""
    with open(path, encoding="utf-8") as file:
        plain = json.load(file)
    if plain.pop("format", None) != FORMAT:
        raise SystemExit(f"{path}: this agent reads the format {FORMAT}")
    mark = os.environ.get("AMPACITY_MEMBER", "")
    attempt, _, member = mark.rpartition("-")
    if not attempt or not member.isdigit():
        raise SystemExit("AMPACITY_MEMBER is not set: the agent runs under a supervisor only")
    return Config(
        member_dir=os.environ["AMPACITY_MEMBER_DIR"],
        facts=os.environ["AMPACITY_FACTS"],
        key={"attempt": attempt, "member": int(member), "epoch": int(attempt.rpartition(".")[2])},
        **plain,
    )
