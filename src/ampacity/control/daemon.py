"""The control plane as a running thing: the parts put together, and the loop that steps when it is woken."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from ampacity.drivers.local.declare import parse_declaration
from ampacity.drivers.registry import open_driver
from ampacity.hub import Hub
from ampacity.model.errors import Conflict
from ampacity.model.node import Node
from ampacity.observe.measured import MetricsFolder
from ampacity.secrets.keeper import open_secrets
from ampacity.serving.prober import Prober
from ampacity.store import open_store
from ampacity.store.feed import FeedStore

from .figures import Figures
from .followers import ProbeFeed, RoutingFeed
from .gateway import GatewayKeeper, gateway_port, gateway_spec
from .housekeeping import Housekeeping
from .keys import Keys
from .launching import Launcher
from .live_plane import LivePlane, Place
from .logs import Output
from .measuring import Measuring
from .members import Members
from .metering import Metering
from .reading import Reading
from .state_folder import Settings, StateFolder
from .step import Control
from .storm import Storm
from .telemetry import FeedSource, open_telemetry
from .writing import Writing

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LONGEST_BREATH_S = 0.05
SHORT_STEP_S = 0.02
LONGEST_PAUSE_S = 30.0
STOP_LIMIT_S = 60.0
WISH_AGAIN_S = 1.0
GATHER_S = 0.015
"""Longer than the shortest jobs run, shorter than anybody notices."""


class Clock:
    """Seconds since the epoch that never go back, whatever is done to the machine's clock. ``floor``: the least.

    While the machine's clock is behind what was told before, time goes on at half its speed until that has caught up:
    standing still, no pause between two tries would ever end.
    """

    def __init__(
        self,
        floor: float = 0.0,
        source: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._steady, self._lock = source, steady, threading.Lock()
        self._last, self._steady_at = floor, steady()

    def __call__(self) -> float:
        with self._lock:
            steady_at = self._steady()
            slowed = self._last + (steady_at - self._steady_at) / 2
            self._last, self._steady_at = max(slowed, self._source()), steady_at
            return self._last


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
        self.folder, self.figures = folder, Figures()
        self._bell, self._news = threading.Event(), threading.Event()
        self._ending, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="control", daemon=True)
        with ExitStack() as stack:
            folder.hold()
            stack.callback(folder.release)
            self._build(stack, settings, nodes, at, wall_clock)
            self._closing = stack.pop_all()

    def _build(
        self,
        stack: ExitStack,
        settings: Settings,
        nodes: list[Node],
        at: Callable[[str], None],
        wall_clock: Callable[[], float],
    ) -> None:
        folder = self.folder
        self._store = FeedStore(open_store(settings.store or str(folder.file("store.db"))))
        stack.callback(self._store.close)
        clock = Clock(floor=_last_event_at(self._store), source=wall_clock)
        port = gateway_port(folder, self._store, settings.gateway_port)
        table = folder.file("gateway") / "table.json"
        hub = Hub(folder.file("hub"))
        drivers = {"local": open_driver("local", folder=folder.file("local"), nodes=nodes)}
        stack.callback(drivers["local"].close)
        prober = Prober()
        stack.callback(prober.close)
        for driver in drivers.values():
            driver.on_wake(self._wake)
        prober.on_wake(self._wake)
        checkpoints = folder.file("checkpoints")
        self._writing = writing = Writing(
            self._store,
            hub,
            checkpoints,
            clock,
            lambda: self.control.nodes,
            lambda: [standing.queue for standing in self.control.plan.queues],
        )
        secrets = open_secrets(folder.path, clock)
        launcher = Launcher(folder.path, hub, secrets=secrets)
        launcher.tidy(lambda: self._store.live().attempts)
        gateway = GatewayKeeper(writing, gateway_spec(table, settings, host=HOST, port=port), self._wake)
        self.control = Control(
            store=self._store,
            drivers=drivers,
            launcher=launcher,
            sources=(prober,),
            followers=(ProbeFeed(prober), RoutingFeed(table), gateway, self.figures),
            node_lost_after_s=settings.node_lost_after_s,
            wake=self._wake,
            at=at,
            gather_s=GATHER_S,
        )
        stack.callback(self.control.close)
        metrics = MetricsFolder(folder.path)
        stack.callback(metrics.close)
        self._clock = clock
        keys = Keys(self._store, clock, self._wake)
        self._housekeeping = Housekeeping(
            self._store,
            drivers,
            clock,
            keep_finished_s=settings.keep_finished_s,
            keep_events_s=settings.keep_events_s,
        )
        stack.callback(self._housekeeping.stop)
        self._metering = Metering(self._store, keys, folder.file("gateway"), clock)
        stack.callback(self._metering.stop)
        output = Output(self._store, drivers)
        measuring = Measuring(metrics, self._store, self.control, self.figures, clock)
        reading = Reading(self._store, self.control, output)
        source = FeedSource(self._store, reading, output, measuring, self.figures)
        self._telemetry = open_telemetry(os.environ, source)
        if self._telemetry is not None:
            measuring.more.append(self._telemetry.families)
            stack.callback(self._telemetry.close)
        self.plane = LivePlane(
            store=self._store,
            control=self.control,
            hub=hub,
            output=output,
            members=Members(self._store, drivers),
            writing=writing,
            keys=keys,
            metering=self._metering,
            secrets=secrets,
            measuring=measuring,
            place=Place(state_dir=str(folder.path), started_at=clock(), gateway_url=f"http://{HOST}:{port}"),
            clock=clock,
            wake=self._bell.set,
            end=self._end,
        )

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()
        self._housekeeping.start()
        self._metering.start()
        if self._telemetry is not None:
            self._telemetry.start()

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


def _last_event_at(store: FeedStore) -> float:
    events = store.events(after=store.last_seq - 1, limit=1)
    return events[-1].at if events else 0.0
