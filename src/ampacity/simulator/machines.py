"""Machines that pretend: a fake driver whose members tell when they are started and asked to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from ampacity.control.act import SAVE_SIGNAL
from ampacity.control.jobs import Job
from ampacity.drivers.base import Handle, Launch
from ampacity.drivers.fake import FakeDriver
from ampacity.model.ids import MemberKey
from ampacity.model.node import Node

P = ParamSpec("P")
T = TypeVar("T")


class Machines(FakeDriver):
    """A fake driver that notes what it is told, for the simulation to take away: which members began, and which were
    asked to save or to stop."""

    def __init__(self, nodes: Iterable[Node], clock: Callable[[], float]) -> None:
        super().__init__(nodes, clock=clock, obey_stops=False)
        self.begun: list[MemberKey] = []
        self.asked_to_save: list[MemberKey] = []
        self.asked_to_stop: list[MemberKey] = []

    def ensure_started(self, launch: Launch) -> Handle:
        known = self.starts[launch.key]
        handle = super().ensure_started(launch)
        if self.starts[launch.key] > known:
            self.begun.append(launch.key)
        return handle

    def ensure_stopped(self, key: MemberKey, *, grace_s: float, reason: str) -> None:
        super().ensure_stopped(key, grace_s=grace_s, reason=reason)
        self.asked_to_stop.append(key)

    def signal(self, key: MemberKey, signum: int) -> None:
        super().signal(key, signum)
        if signum == SAVE_SIGNAL:
            self.asked_to_save.append(key)


class Pretending:
    """Launches of which nothing is run: no gang's meeting place, no model on a disk."""

    def launch(self, job: Job, member: int) -> Launch:
        placed = job.attempt.members[member]
        return Launch(key=job.attempt.key(member), node=placed.node, argv=("pretend",), allocation=placed.allocation)


class Inline(Executor):
    """Does each call at once: in a simulation nothing happens beside anything else."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)
        return future
