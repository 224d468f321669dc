"""The environment that every member begins with."""

from __future__ import annotations

import os

NOT_INHERITED = frozenset(
    {
        "AMPACITY_ATTEMPT",
        "AMPACITY_CHECKPOINT_DIR",
        "AMPACITY_CHECKPOINT_EVERY_S",
        "AMPACITY_EPOCH",
        "AMPACITY_FACTS",
        "AMPACITY_INCARNATION",
        "AMPACITY_MEMBER",
        "AMPACITY_MEMBER_DIR",
        "AMPACITY_PROJECT",
        "AMPACITY_SECRETS",
        "AMPACITY_SECRETS_DIR",
        "AMPACITY_WORKLOAD",
        "AMPACITY_WORKLOAD_NAME",
        "PORT",
    }
)
"""What belongs to one member only: a control plane that itself runs in one does not hand it on."""


def base_env() -> dict[str, str]:
    """That of this process, without what belongs to one member."""
    env = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    env.setdefault("PYTHONUNBUFFERED", "1")
    return env
