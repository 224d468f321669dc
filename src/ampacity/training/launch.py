"""From a ``train`` workload's spec to the command of one member: the agent and its configuration."""

from __future__ import annotations

import json
from pathlib import Path

from ampacity.model.attempt import Attempt
from ampacity.model.command import Command
from ampacity.model.workload import WorkloadSpec

AGENT = Path(__file__).parent / "agent"
AGENT_FORMAT = 1
CONFIG = "agent.json"


def gang_command(
    spec: WorkloadSpec,
    attempt: Attempt,
    member: int,
    *,
    python: str,
    gang_dir: str,
    checkpoint_dir: str,
    master_address: str,
    restarts_left: int | None,
) -> Command:
    """What the member of that number runs.

    Args:
        gang_dir: a private folder that all members see; they meet through a file in it.
        checkpoint_dir: where checkpoints go, the same for all attempts.
        master_address: the address of node rank 0 as the others reach it.
        restarts_left: how often the ranks may be restarted in place; ``None`` = without end.
    """
    config = {
        "format": AGENT_FORMAT,
        "command": spec.run,
        "nnodes": len(attempt.members),
        "node_rank": member,
        "ranks_per_node": ranks_per_node(spec, attempt, member),
        "rendezvous": f"{gang_dir}/rendezvous",
        "master_addr": master_address,
        "max_restarts": restarts_left,
        "grace_s": spec.grace_s,
        "checkpoint_dir": checkpoint_dir,
        "checkpoint_every_s": spec.checkpoint.every_s,
    }
    argv = (python, "-I", str(AGENT), "{member_dir}/" + CONFIG)
    return Command(argv=argv, files={CONFIG: json.dumps(config, indent=1)})


def ranks_per_node(spec: WorkloadSpec, attempt: Attempt, member: int) -> int:
    """As the spec says; else one for each device that the member was given, and at least one."""
    return spec.ranks_per_node or max(1, len(attempt.members[member].allocation.devices))
