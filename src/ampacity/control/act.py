"""Part 5 of a step: make it so. Starts and stops members as the rows say; every call may be repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ampacity.drivers.base import Driver, Handle
from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, MemberExited, MemberPhase
from ampacity.model.errors import AmpacityError, DriverUnavailable
from ampacity.model.ids import MemberKey

from .launching import Job, Launcher

log = logging.getLogger(__name__)

WORKERS = 8
PATIENCE_S = 5.0
"""How long a step waits for its calls; those that take longer go on beside it."""

RETRY_S = 1.0


@dataclass(slots=True, kw_only=True)
class Deeds:
    """What came of the calls: handles to record, members that could not be started."""

    handles: list[Handle] = field(default_factory=list)
    refused: list[MemberExited] = field(default_factory=list)
    try_again_at: float | None = None

    def later(self, at: float) -> None:
        self.try_again_at = at if self.try_again_at is None else min(at, self.try_again_at)


class Actor:
    """Calls the drivers in a bounded pool. A call that is under way is not made a second time."""

    def __init__(self, drivers: Mapping[str, Driver], launcher: Launcher, wake: Callable[[], None]) -> None:
        self._drivers, self._launcher, self._wake = drivers, launcher, wake
        self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="act")
        self._under_way: dict[MemberKey, Future[Handle | None]] = {}
        self._stop_asked: set[MemberKey] = set()
        self._not_before: dict[MemberKey, float] = {}

    def act(self, jobs: list[Job], now: float) -> Deeds:
        """Begin what the attempts need, wait a moment, and collect what is done."""
        deeds = Deeds()
        for job in jobs:
            for member in job.attempt.members:
                self._begin(job, member, now, deeds)
        wait(self._under_way.values(), timeout=PATIENCE_S)
        self._collect(now, deeds)
        return deeds

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, job: Job, member: Member, now: float, deeds: Deeds) -> None:
        key = job.attempt.key(member.index)
        if key in self._under_way or member.phase is MemberPhase.EXITED:
            return
        held_back = self._not_before.get(key, now)
        if held_back > now:
            deeds.later(held_back)
            return
        driver = self._drivers.get(job.driver_of(member))
        if driver is None:
            log.warning("%s: no driver %r is at work here", key, job.driver_of(member))
            deeds.later(now + RETRY_S)
            return
        call = self._call(driver, job, member, key)
        if call is not None:
            self._under_way[key] = self._pool.submit(call)

    def _call(self, driver: Driver, job: Job, member: Member, key: MemberKey) -> Callable[[], Handle | None] | None:
        """What to do about the member, if anything. Members of a lost attempt are fenced once their node is back."""
        if job.attempt.phase in (AttemptPhase.STOPPING, AttemptPhase.LOST):
            if key in self._stop_asked:
                return None
            self._stop_asked.add(key)
            return lambda: self._stop(driver, job.attempt, key)
        if member.handle or member.phase is not MemberPhase.PENDING:
            return None
        return lambda: self._start(driver, job, member.index)

    def _start(self, driver: Driver, job: Job, member: int) -> Handle | None:
        return driver.ensure_started(self._launcher.launch(job, member))

    @staticmethod
    def _stop(driver: Driver, attempt: Attempt, key: MemberKey) -> None:
        grace_s, reason = (attempt.stop.grace_s, attempt.stop.reason) if attempt.stop else (0.0, "given up as lost")
        driver.ensure_stopped(key, grace_s=grace_s, reason=reason)

    def _collect(self, now: float, deeds: Deeds) -> None:
        for key in [key for key, call in self._under_way.items() if call.done()]:
            try:
                handle = self._under_way.pop(key).result()
            except DriverUnavailable as error:
                log.warning("%s: not now: %s", key, error)
                self._stop_asked.discard(key)
                self._not_before[key] = now + RETRY_S
                deeds.later(now + RETRY_S)
            except AmpacityError as error:
                cause = Cause(kind=CauseKind.LAUNCH_FAILED, message=str(error))
                deeds.refused.append(MemberExited(key=key, at=now, cause=cause))
            else:
                self._not_before.pop(key, None)
                if handle is not None:
                    deeds.handles.append(handle)
        if self._under_way:
            for call in self._under_way.values():
                call.add_done_callback(lambda _: self._wake())

    def forget(self, attempt: Attempt) -> None:
        """Its members are no longer acted upon."""
        for member in attempt.members:
            key = attempt.key(member.index)
            self._stop_asked.discard(key)
            self._not_before.pop(key, None)
