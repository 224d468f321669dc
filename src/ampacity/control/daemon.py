"""The control plane as a running thing: the parts put together, and the loop that steps when it is woken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from ampacity.drivers.local.declare import parse_declaration
from ampacity.model.errors import Conflict

from .parts import Signals, build_beside, build_loop, build_plane, lay_ground
from .state_folder import Settings, StateFolder
from .storm import Storm

log = logging.getLogger(__name__)

LONGEST_BREATH_S = 0.05
SHORT_STEP_S = 0.02
LONGEST_PAUSE_S = 30.0
STOP_LIMIT_S = 60.0
WISH_AGAIN_S = 1.0


class Daemon:
    """One control plane on one state folder.

    ``start`` takes the lock and begins to step; ``stop`` ends that and leaves alone all that runs.

    Raises (from the constructor):
        StateFolderBusy: another one holds the folder.
        StoreError: the store cannot be opened.
        PortInUse: the gateway's port was asked for by number and is taken.
        InvalidSpec: a declared node is wrong.
    """

    def __init__(
        self,
        folder: StateFolder,
        settings: Settings,
        *,
        at: Callable[[str], None] = lambda point: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        nodes = [parse_declaration(text) for text in settings.nodes]
        self.folder = folder
        self._bell, self._news = threading.Event(), threading.Event()
        self._ending, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="control", daemon=True)
        with ExitStack() as stack:
            folder.hold()
            stack.callback(folder.release)
            signals = Signals(news=self._wake, wish=self._bell.set, end=self._end, at=at)
            ground = lay_ground(stack, folder, settings, wall_clock)
            loop = build_loop(stack, ground, nodes, signals)
            self._beside = build_beside(stack, ground, loop, signals)
            self.plane = build_plane(ground, loop, self._beside, signals)
            self._closing = stack.pop_all()
        self._store, self._clock = ground.store, ground.clock
        self.control, self.figures, self._writing = loop.control, loop.figures, loop.writing

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()
        self._beside.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until somebody asked for the end. ``True`` = somebody has."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """End the loop and let go of everything. What runs, runs on. Safe to call twice."""
        self._ending.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=LONGEST_PAUSE_S)
        self._closing.close()

    # The loop ------------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        troubles, storm = 0, Storm()
        while not self._ending.is_set():
            self._bell.clear()
            self._news.clear()
            began = time.monotonic()
            try:
                report = self.control.step(self._clock())
                pause_s = report.next_wake - self._clock()
                ended = time.monotonic()
                self.figures.stepped(ended_at=time.time(), lasted_s=ended - began, wrote=report.wrote)
                storm.stepped(began_at=began, ended_at=ended, futile=report.futile)
                troubles = 0
            except Exception:
                troubles += 1
                self.figures.failed()
                pause_s = min(LONGEST_PAUSE_S, 0.1 * 2.0 ** min(troubles, 10))
                log.exception("a step failed; the next one comes in %.1f s", pause_s)
                self._ending.wait(pause_s)
                pause_s = 0.0
            if self._bell.is_set():  # in a storm of news, long steps leave as much time to the API
                self._ending.wait(max(0.0, min(time.monotonic() - began - SHORT_STEP_S, LONGEST_BREATH_S)))
            if self._bell.wait(max(0.0, min(pause_s, LONGEST_PAUSE_S))):
                self._news.wait(storm.gathering_s(time.monotonic()))

    def _wake(self) -> None:
        """There is news of what runs, which is looked at at once. (Wishes ring the bell alone.)"""
        self._news.set()
        self._bell.set()

    def _end(self, workloads: bool) -> None:
        if workloads:
            threading.Thread(target=self._stop_everything, name="stop-everything", daemon=True).start()
        else:
            self._ended.set()

    def _stop_everything(self) -> None:
        """Wish that all live workloads stop, wait until they have, then end. The end comes, whatever goes wrong."""
        deadline = time.monotonic() + STOP_LIMIT_S
        try:
            while self._store.live_workloads():
                if time.monotonic() >= deadline:
                    log.warning(
                        "not all workloads have ended within %g s; they go on ending by themselves", STOP_LIMIT_S
                    )
                    return
                self._wish_all_stopped()
                self._wait_for_ends(WISH_AGAIN_S)
        finally:
            self._ended.set()

    def _wish_all_stopped(self) -> None:
        try:
            self._writing.stop_all(by="shutdown")
        except Conflict:
            log.info("the workloads keep changing: wished again in a moment")
        self._bell.set()

    def _wait_for_ends(self, limit_s: float) -> None:
        """Until nothing is live any more, or the time is up."""
        until = time.monotonic() + limit_s
        seq = self._store.last_seq
        while self._store.live_workloads() and (left_s := until - time.monotonic()) > 0:
            self._store.wait(after=seq, timeout_s=left_s)
            seq = self._store.last_seq
