"""The soak as a Hypothesis state machine: a life is one platform of real processes, from its start to its reckoning.

Hypothesis draws what is done; what must hold is looked at after every step, and all of it once the platform is down.
What a step acts on depends on what is there by then, so nothing is asked of Hypothesis but the drawing: a life that
goes wrong is not run again to make it smaller. Its steps are written down, and ``run.py --replay`` takes them again.
"""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from soak_end import census, finish, settle, take_down
from soak_jobs import ENDING, SCRIPTS, Draft
from soak_scene import Scene, Victim

from ampacity.model.errors import AmpacityError, NotRunning
from ampacity.model.node import NodeCondition
from whole_platform import Platform

UP_AGAIN_S = 1.0
LOOK_EVERY_S = 1.0
PROGRAM = "program.json"

Act = Callable[..., None]
ACTS: dict[str, Act] = {}
"""By its name what a step does."""

PICKS = st.integers(0, 999)
DELAYS = st.sampled_from([0.0, 0.1, 0.3])
PAUSES = st.sampled_from([0.0, 0.0, 0.05, 0.2, 0.6])
TASKS = [name for name in SCRIPTS if name != "server"]


class LifeIsOver(KeyboardInterrupt):
    """The soak's time is up, or it is told to end, or something cannot be. Of this kind because Hypothesis lets it pass
    and does not try again."""


class Lives:
    """What the lives of one soak have in common.

    Args:
        folder: each life has a folder in it, by its number.
        until: no step is begun later (monotonic seconds).
    """

    def __init__(self, folder: Path, until: float, settle_s: float) -> None:
        self.folder, self.until, self.settle_s = folder, until, settle_s
        self.told_to_end = self.reckons = False
        self.lived = 0
        self.steps = 0
        self.trouble: list[str] = []

    def begin(self) -> Scene:
        self.lived += 1
        folder = self.folder / f"life-{self.lived:03}"
        scene = Scene(Platform(folder / "state", folder / "work"), folder)
        try:
            scene.begin()
        except BaseException:  # told to end in the midst of it: what has begun by then is found by another start
            scene.ensure_up()
            take_down(scene)
            raise
        return scene

    @property
    def over(self) -> bool:
        return self.told_to_end or time.monotonic() >= self.until


def step(**drawn: st.SearchStrategy[Any]) -> Callable[[Act], Act]:
    """A rule whose values are plain ones, so that it can be written down; with a pause after it."""

    def decorated(act: Act) -> Act:
        ACTS[act.__name__] = act

        @wraps(act)
        def taken(self: Soak, **values: Any) -> None:
            self.take(act.__name__, values)

        return rule(**drawn, pause_s=PAUSES)(taken)

    return decorated


def drafts(*scripts: str) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "script": st.sampled_from(scripts),
        "nap_s": st.integers(1, 30).map(lambda twentieths: twentieths / 20),
        "tries": st.integers(2, 3),
        "more_retries": st.integers(0, 2),
        "cpu_milli": st.sampled_from([250, 500, 1000]),
        "grace_s": st.sampled_from([0.5, 1.0, 2.0]),
        "follows": st.booleans(),
        "pick": PICKS,
    }


class _All:
    """Hypothesis leaves out half of the rules in each of its examples, for the sake of variety over a hundred of them.
    A soak has a few lives, and work without faults is none."""

    def is_enabled(self, name: str) -> bool:
        return True


class Soak(RuleBasedStateMachine):
    """One life."""

    def __init__(self, lives: Lives) -> None:
        super().__init__()
        self._rules_strategy.enabled_rules_strategy = st.just(_All())
        self.lives, self.scene = lives, lives.begin()
        self.program: list[tuple[str, Mapping[str, Any]]] = []
        self.look_at = self.away_since = time.monotonic()
        self.down = False

    def take(self, name: str, values: Mapping[str, Any]) -> None:
        """A step: what the act meets while the control plane is away is no news."""
        if self.lives.over:
            return
        self.program.append((name, values))
        self.lives.steps += 1
        self.scene.done[name] += 1
        arguments = {key: value for key, value in values.items() if key != "pause_s"}
        try:
            self._keep_up()
            ACTS[name](self, **arguments)
        except NotRunning:
            self.scene.done["steps while the control plane was away"] += 1
        except Exception as error:  # noqa: BLE001 - told as a trouble of this life
            self._surprise(error)
        time.sleep(values["pause_s"])

    def _surprise(self, error: Exception) -> None:
        """An answer that nobody expected is a trouble like others. (Hypothesis would run the life again.)"""
        traceback.print_exception(error)
        self.scene.trouble.append(f"{type(error).__name__}: {error}")

    def _keep_up(self) -> None:
        """Nobody but the soak starts a control plane again; it lets it lie for a moment."""
        now = time.monotonic()
        if self.scene.answers():
            self.away_since = now
        elif now - self.away_since >= UP_AGAIN_S:
            self.scene.ensure_up()

    # Steps ---------------------------------------------------------------------------------------------------------

    @step()
    def submit_one_that_is_quick(self) -> None:
        self.scene.submit(Draft(shape="task", script="ok", nap_s=0.05), 0)

    @step(**drafts(*TASKS))
    def submit_task(self, pick: int, **drawn: Any) -> None:
        self.scene.submit(Draft(shape="task", **drawn), pick)

    @step(**drafts(*TASKS))
    def submit_gang(self, pick: int, **drawn: Any) -> None:
        self.scene.submit(Draft(shape="gang", **drawn), pick)

    @step(**drafts(*ENDING), count=st.integers(2, 6))
    def submit_array(self, pick: int, **drawn: Any) -> None:
        self.scene.submit(Draft(shape="array", **drawn), pick)

    @step(**drafts("ok", "bad", "forker"))  # retries happen in place there, and the epoch stays
    def submit_training(self, pick: int, **drawn: Any) -> None:
        self.scene.submit(Draft(shape="train", **drawn), pick)

    @step(**drafts(*TASKS))
    def submit_twice_with_one_key(self, pick: int, **drawn: Any) -> None:
        self.scene.submit(Draft(shape="task", **drawn), pick, twice=True)

    @step(replicas=st.integers(1, 2), pick=PICKS)
    def submit_service(self, replicas: int, pick: int) -> None:
        self.scene.serve(replicas, pick)

    @step(pick=PICKS)
    def stop(self, pick: int) -> None:
        self.scene.stop_one(pick)

    @step(replicas=st.integers(0, 3), pick=PICKS)
    def scale(self, replicas: int, pick: int) -> None:
        self.scene.scale_one(replicas, pick)

    @step(node=st.sampled_from(["n2", "n1"]), condition=st.sampled_from(["ready", "cordoned", "ready"]))
    def set_condition(self, node: str, condition: str) -> None:
        self.scene.set_condition(node, NodeCondition(condition))

    @step(delay_s=DELAYS)
    def kill_control_plane(self, delay_s: float) -> None:
        self.scene.kill(Victim.CONTROL, 0, delay_s)

    @step(delay_s=DELAYS, control_too=st.booleans())
    def kill_warm_parent(self, delay_s: float, control_too: bool) -> None:
        self.scene.kill(Victim.PARENT_AND_CONTROL if control_too else Victim.PARENT, 0, delay_s)

    @step(delay_s=DELAYS, pick=PICKS)
    def kill_supervisor(self, delay_s: float, pick: int) -> None:
        self.scene.kill(Victim.SUPERVISOR, pick, delay_s)

    @step(delay_s=DELAYS, pick=PICKS, rank=st.booleans())
    def kill_job(self, delay_s: float, pick: int, rank: bool) -> None:
        self.scene.kill(Victim.RANK if rank else Victim.JOB, pick, delay_s)

    @step(delay_s=DELAYS, pick=PICKS)
    def kill_control_plane_parent_and_supervisor(self, delay_s: float, pick: int) -> None:
        self.scene.kill(Victim.ALL, pick, delay_s)

    @step(by_s=st.sampled_from([5.0, -5.0, 20.0, -20.0]))
    def jump_clock(self, by_s: float) -> None:
        self.scene.jump_clock(by_s)

    @step(both=st.booleans())
    def start_again(self, both: bool) -> None:
        if both:
            self.scene.two_ups()
        else:
            self.scene.restart()

    # What must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_seen_that_cannot_be(self) -> None:
        now = time.monotonic()
        if now >= self.look_at and not self.lives.over:
            self.look_at = now + LOOK_EVERY_S
            try:
                self.scene.trouble.extend(self.scene.look())
            except AmpacityError:
                self.scene.done["looks while the control plane was away"] += 1
        if self.scene.trouble:
            raise LifeIsOver

    def teardown(self) -> None:
        """The reckoning. A life that cannot be ends the soak, and so does the time."""
        if self.down:
            return
        self.down = self.lives.reckons = True
        for end in (self._settle, lambda: finish(self.scene)):
            try:
                end()
            except Exception as error:  # noqa: BLE001 - told as a trouble of this life
                self._surprise(error)
        self.lives.trouble.extend(self.scene.trouble)
        self._report()
        self.lives.reckons = False
        if self.lives.over or self.scene.trouble:
            raise LifeIsOver

    def _settle(self) -> None:
        if not self.lives.told_to_end and not self.scene.trouble:
            settle(self.scene, self.lives.settle_s)

    def _report(self) -> None:
        path = self.scene.folder / PROGRAM
        path.write_text("[\n" + ",\n".join(json.dumps(each) for each in self.program) + "\n]\n")
        print(f"life {self.lives.lived}: {len(self.program)} steps", flush=True)
        print(*census(self.scene), sep="\n")
        for name, count in sorted(self.scene.done.items()):
            print(f"{count:5} {name}")
        for trouble in self.scene.trouble:
            print(f"VIOLATION: {trouble}")
        if self.scene.trouble:
            print("The steps of this life:")
            for name, values in self.program:
                print(f"    {name}({', '.join(f'{key}={value!r}' for key, value in values.items())})")
            print(f"To take them again: python tests/soak/run.py --replay {path}", flush=True)


def replay(lives: Lives, path: Path) -> None:
    """Take the steps of a life that was written down."""
    life = Soak(lives)
    with contextlib.suppress(LifeIsOver):
        for name, values in json.loads(path.read_text()):
            life.take(name, values)
            life.nothing_is_seen_that_cannot_be()
    with contextlib.suppress(LifeIsOver):
        life.teardown()
