"""What the soak does, one action after the other, by a seed. Pure: the same seed gives the same actions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    SUBMIT = "submit"
    STOP = "stop"
    SCALE = "scale"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    KILL_CONTROL = "kill control plane"
    KILL_PARENT = "kill warm parent"
    KILL_SUPERVISOR = "kill supervisor"
    KILL_JOB = "kill job"
    KILL_BOTH = "kill control plane and warm parent"
    RESTART = "end control plane and start it again"
    TWO_UPS = "start two control planes at once"


WEIGHTS = {
    Verb.SUBMIT: 40,
    Verb.STOP: 8,
    Verb.SCALE: 5,
    Verb.CORDON: 2,
    Verb.UNCORDON: 4,
    Verb.KILL_CONTROL: 5,
    Verb.KILL_PARENT: 5,
    Verb.KILL_SUPERVISOR: 6,
    Verb.KILL_JOB: 6,
    Verb.KILL_BOTH: 2,
    Verb.RESTART: 1,
    Verb.TWO_UPS: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """``pick`` in [0, 1) chooses among what there is when its turn comes; ``seed`` is for more dice.

    ``delay_s``: a kill waits so long beside the actions that follow, to fall into the middle of them. ``pause_s``: how
    long nothing follows.
    """

    verb: Verb
    pick: float
    seed: int
    delay_s: float
    pause_s: float


def actions(seed: int) -> Iterator[Action]:
    """Without end."""
    dice = random.Random(seed)
    verbs, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        yield Action(
            verb=dice.choices(verbs, weights)[0],
            pick=dice.random(),
            seed=dice.getrandbits(32),
            delay_s=dice.uniform(0.0, 0.4),
            pause_s=dice.choice([0.0, 0.0, 0.05, 0.2, 0.6]),
        )
