"""Part 5 of a step: make it so. Starts and stops members as the rows say; every call may be repeated."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from ampacity.drivers.base import Driver, Handle
from ampacity.model.attempt import Cause, CauseKind, MemberExited
from ampacity.model.errors import AmpacityError, DriverUnavailable, LaunchFailed
from ampacity.model.ids import MemberKey

from .fencing import Fence
from .jobs import Job
from .launching import Launches

log = logging.getLogger(__name__)

WORKERS = 8
PATIENCE_S = 1.0
"""How long a step waits for the calls that it began; those that take longer go on beside it."""

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0

SAVE_SIGNAL = signal.SIGUSR1
"""What asks a job to save its state (docs/training.md)."""


@dataclass(slots=True, kw_only=True)
class Deeds:
    """What came of the calls: handles to record, members that could not be started, members told to stop."""

    handles: list[Handle] = field(default_factory=list)
    refused: list[MemberExited] = field(default_factory=list)
    stopped: set[MemberKey] = field(default_factory=set)
    try_again_at: float | None = None

    def answered(self) -> set[MemberKey]:
        """The members whose start was answered."""
        return {handle.key for handle in self.handles} | {fact.key for fact in self.refused}

    def later(self, at: float) -> None:
        self.try_again_at = at if self.try_again_at is None else min(at, self.try_again_at)


class _Deed(StrEnum):
    START = "start"
    STOP = "stop"
    SAVE = "save"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call that is under way."""

    deed: _Deed
    future: Future[Handle | None]


class Actor:
    """Calls the drivers in a bounded pool. A call that is under way is not made a second time.

    What it remembers (who was asked to save or to stop, who did not answer) only saves calls: without it they are made
    again.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        launcher: Launches,
        wake: Callable[[], None],
        *,
        pool: Executor | None = None,
    ) -> None:
        self._drivers, self._launcher, self._wake = drivers, launcher, wake
        self._pool = pool or ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="act")
        self._under_way: dict[MemberKey, _Call] = {}
        self._asked: dict[_Deed, set[MemberKey]] = {deed: set() for deed in _Deed}
        self._cannot_save: set[MemberKey] = set()
        self._tries: dict[MemberKey, int] = {}
        self._not_before: dict[MemberKey, float] = {}
        self.unreachable: set[MemberKey] = set()

    def act(
        self,
        jobs: Collection[Job],
        fences: Collection[Fence],
        now: float,
        *,
        started: Collection[MemberKey] = (),
        begun: Callable[[], None] = lambda: None,
    ) -> Deeds:
        """Collect what was still under way, begin what the attempts need, wait a moment, and collect that.

        ``started``: members whose start was answered before, though their rows do not say so yet. ``begun`` is called
        before the wait.
        """
        deeds = Deeds()
        self._collect(now, deeds)
        self._forget_but({job.attempt.id for job in jobs} | {fence.key.attempt for fence in fences})
        answered = {*deeds.answered(), *started}
        fresh = [future for job in jobs for future in self._begin_job(job, answered, now, deeds)]
        fresh += [future for fence in fences if (future := self._begin_fence(fence, now, deeds)) is not None]
        begun()
        for future in wait(fresh, timeout=PATIENCE_S).not_done:
            future.add_done_callback(lambda _: self._wake())
        self._collect(now, deeds)
        return deeds

    def close(self) -> None:
        """Wait for the calls that are under way; those that have not begun are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    # Beginning -----------------------------------------------------------------------------------------------------

    def _begin_job(
        self, job: Job, answered: Collection[MemberKey], now: float, deeds: Deeds
    ) -> list[Future[Handle | None]]:
        begun = []
        deed = self._deed(job, now, deeds)
        for member in job.to_do():
            key, index = job.attempt.key(member.index), member.index
            if deed is _Deed.SAVE and index > 0:
                continue  # rank 0 decides for all ranks when to save
            driver = self._driver(job.driver_of(member), key, now, deeds)
            if driver is None or not self._is_due(key, now, deeds, deed):
                continue
            match deed:
                case _Deed.SAVE:
                    begun.append(self._submit(key, deed, partial(driver.signal, key, SAVE_SIGNAL)))
                case _Deed.STOP:
                    begun.append(self._submit(key, deed, partial(self._stop, driver, job, key)))
                case _Deed.START if key not in answered:
                    begun.append(self._submit(key, deed, partial(self._start, driver, job, index)))
        return begun

    def _deed(self, job: Job, now: float, deeds: Deeds) -> _Deed:
        if not job.stopping:
            return _Deed.START
        until = job.saves_until(now)
        if until is None or job.attempt.key(0) in self._cannot_save:
            return _Deed.STOP
        deeds.later(until)
        return _Deed.SAVE

    def _begin_fence(self, fence: Fence, now: float, deeds: Deeds) -> Future[Handle | None] | None:
        driver = self._driver(fence.driver, fence.key, now, deeds)
        if driver is None or not self._is_due(fence.key, now, deeds, _Deed.STOP):
            return None
        stop = partial(driver.ensure_stopped, fence.key, grace_s=0.0, reason="given up as lost; its node is back")
        return self._submit(fence.key, _Deed.STOP, stop)

    def _driver(self, name: str, key: MemberKey, now: float, deeds: Deeds) -> Driver | None:
        driver = self._drivers.get(name)
        if driver is None:
            log.warning("%s: no driver %r is at work here", key, name)
            deeds.later(now + LAST_RETRY_S)
        return driver

    def _is_due(self, key: MemberKey, now: float, deeds: Deeds, deed: _Deed) -> bool:
        if key in self._under_way or key in self._asked[deed]:
            return False
        held_back = self._not_before.get(key, now)
        if held_back > now:
            deeds.later(held_back)
        return held_back <= now

    def _submit(self, key: MemberKey, deed: _Deed, call: Callable[[], Handle | None]) -> Future[Handle | None]:
        future = self._pool.submit(call)
        self._under_way[key] = _Call(deed=deed, future=future)
        return future

    def _start(self, driver: Driver, job: Job, member: int) -> Handle | None:
        launch = self._launcher.launch(job, member)
        try:
            return driver.ensure_started(launch)
        except (AmpacityError, OSError):
            raise
        except Exception:  # it is not known how far it came: nothing may be left of it
            driver.ensure_stopped(launch.key, grace_s=0.0, reason="its start went wrong")
            raise

    @staticmethod
    def _stop(driver: Driver, job: Job, key: MemberKey) -> None:
        order = job.attempt.stop
        assert order is not None, "an attempt that is stopping was ordered to"
        driver.ensure_stopped(key, grace_s=order.grace_s, reason=order.reason)

    # Collecting ----------------------------------------------------------------------------------------------------

    def _collect(self, now: float, deeds: Deeds) -> None:
        for key in [key for key, call in self._under_way.items() if call.future.done()]:
            call = self._under_way.pop(key)
            error = call.future.exception()
            if error is None:
                self._succeeded(key, call, deeds)
            elif call.deed is _Deed.STOP or isinstance(error, (DriverUnavailable, OSError)):
                self._try_again(key, call, error, now, deeds)
            elif call.deed is _Deed.SAVE:
                log.warning("%s cannot be asked to save: %s", key, error)
                self._cannot_save.add(key)
                deeds.later(now)
            else:
                self._refused(key, error, now, deeds)

    def _succeeded(self, key: MemberKey, call: _Call, deeds: Deeds) -> None:
        self._tries.pop(key, None)
        self._not_before.pop(key, None)
        self.unreachable.discard(key)
        handle = call.future.result()
        if handle is not None:
            deeds.handles.append(handle)
        if call.deed is not _Deed.START:
            self._asked[call.deed].add(key)
        if call.deed is _Deed.STOP:
            deeds.stopped.add(key)

    def _try_again(self, key: MemberKey, call: _Call, error: BaseException, now: float, deeds: Deeds) -> None:
        """Not known now: nothing is concluded of it."""
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        pause_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(tries - 1, 10))
        unexpected = not isinstance(error, (AmpacityError, OSError))
        log.warning("%s: again in %g s: %s", key, pause_s, error, exc_info=error if unexpected else None)
        self._not_before[key] = now + pause_s
        deeds.later(now + pause_s)
        if call.deed is _Deed.STOP and isinstance(error, DriverUnavailable):
            self.unreachable.add(key)

    def _refused(self, key: MemberKey, error: BaseException, now: float, deeds: Deeds) -> None:
        """It cannot be started there. An error that nobody foresaw is a fault of ours; it is not tried without end."""
        if not isinstance(error, LaunchFailed):
            log.error("%s cannot be started", key, exc_info=error)
        message = str(error) if isinstance(error, AmpacityError) else f"internal error: {error!r}"
        deeds.refused.append(MemberExited(key=key, at=now, cause=Cause(kind=CauseKind.LAUNCH_FAILED, message=message)))

    def _forget_but(self, attempts: Collection[str]) -> None:
        """Only of attempts that still need something anything has to be remembered."""
        for known_keys in (*self._asked.values(), self._cannot_save, self.unreachable):
            known_keys -= {key for key in known_keys if key.attempt not in attempts}
        for known in (self._tries, self._not_before):
            for key in [key for key in known if key.attempt not in attempts]:
                del known[key]
