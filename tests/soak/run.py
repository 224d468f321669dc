"""The soak: random work and random faults on real platforms for some minutes, each life with a reckoning.

    python tests/soak/run.py --minutes 10 --seed 7
    python tests/soak/run.py --replay …/life-003/program.json

Exit code 0: nothing was lost, doubled, orphaned or overcommitted. 1: something was; the folder is kept, and the steps
of that life are printed and written down.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from soak_machine import LifeIsOver, Lives, Soak, replay

SETTLE_S = 180.0
STEPS = 120
"""Of one life: some forty seconds."""

LIVES = 9
"""Of one run of Hypothesis, of which the first is the simplest. Of ten or more it would make every other one small."""


def soak(lives: Lives, number: int) -> None:
    """One life after the other until the time is up, or one cannot be."""
    how = settings(
        max_examples=LIVES,
        stateful_step_count=STEPS,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with contextlib.suppress(LifeIsOver):
        for drawn in itertools.count(number):

            @seed(drawn)
            def life() -> Soak:
                return Soak(lives)

            run_state_machine_as_test(life, settings=how)


def main() -> int:
    parser = argparse.ArgumentParser(description="Random work and random faults on real platforms.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--settle-s", type=float, default=SETTLE_S, help="how long all may take to end after a life")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="take the steps of a life that was written down")
    options = parser.parse_args()
    if options.replay and not options.replay.is_file():
        parser.error(f"--replay {options.replay}: there is no such file; a life that went wrong says where its own is")
    folder = Path(tempfile.mkdtemp(prefix="ampacity-soak-"))
    until = math.inf if options.replay else time.monotonic() + options.minutes * 60.0
    lives = Lives(folder, until, options.settle_s)

    def end(*_: object) -> None:
        lives.told_to_end = True
        if not lives.reckons:  # else all is being taken down already
            raise LifeIsOver

    signal.signal(signal.SIGTERM, end)
    again = f"python tests/soak/run.py --minutes {options.minutes:g} --seed {options.seed}"
    print(f"seed {options.seed}, in {folder}; the same again: {again}", flush=True)
    if options.replay:
        replay(lives, options.replay)
    else:
        soak(lives, options.seed)
    if lives.told_to_end:
        print("told to end before its time")
        return 1
    if lives.trouble:
        print(f"{len(lives.trouble)} violations; kept: {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"{lives.lived} lives, {lives.steps} steps: nothing was lost, doubled, orphaned or overcommitted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
