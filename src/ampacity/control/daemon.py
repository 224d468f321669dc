"""The control plane as a running thing: the parts put together, and the loop that steps when it is woken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ampacity.drivers.local.declare import parse_declaration
from ampacity.drivers.registry import open_driver
from ampacity.hub import Hub
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.node import Node
from ampacity.model.workload import Wish
from ampacity.serving.prober import Prober
from ampacity.store import open_store
from ampacity.store.base import Store

from .followers import ProbeFeed, RoutingFeed
from .gateway import gateway_spec
from .launching import Launcher
from .live_plane import LivePlane, Place
from .logs import Output
from .state_folder import Settings, StateFolder
from .step import Control

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LONGEST_PAUSE_S = 30.0
STOP_LIMIT_S = 60.0


class Clock:
    """Seconds since the epoch that never go back, whatever is done to the machine's clock. ``floor``: the least."""

    def __init__(self, floor: float = 0.0, source: Callable[[], float] = time.time) -> None:
        self._source, self._last, self._lock = source, floor, threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            self._last = max(self._last, self._source())
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
        self, folder: StateFolder, settings: Settings, *, at: Callable[[str], None] = lambda point: None
    ) -> None:
        nodes = [parse_declaration(text) for text in settings.nodes]
        folder.hold()
        try:
            self._build(folder, settings, nodes, at)
        except BaseException:
            folder.release()
            raise

    def _build(self, folder: StateFolder, settings: Settings, nodes: list[Node], at: Callable[[str], None]) -> None:
        self.folder = folder
        self._bell, self._ending, self._ended = threading.Event(), threading.Event(), threading.Event()
        port = folder.gateway_port(settings.gateway_port)
        table = folder.file("gateway") / "table.json"
        self._store = open_store(str(folder.file("store.db")))
        self._clock = Clock(floor=_last_event_at(self._store))
        self._hub = Hub(folder.file("hub"))
        self._drivers = {"local": open_driver("local", folder=folder.file("local"), nodes=nodes)}
        self._prober = Prober()
        self._prober.on_wake(self._bell.set)
        for driver in self._drivers.values():
            driver.on_wake(self._bell.set)
        self.control = Control(
            store=self._store,
            drivers=self._drivers,
            launcher=Launcher(folder.path, self._hub),
            sources=(self._prober,),
            followers=(RoutingFeed(table, self._hub), ProbeFeed(self._prober)),
            node_lost_after_s=settings.node_lost_after_s,
            wake=self._bell.set,
            at=at,
        )
        self.plane = LivePlane(
            store=self._store,
            control=self.control,
            hub=self._hub,
            output=Output(self._store, self._drivers),
            gateway=gateway_spec(table, host=HOST, port=port),
            place=Place(state_dir=str(folder.path), started_at=self._clock(), gateway_url=f"http://{HOST}:{port}"),
            clock=self._clock,
            wake=self._bell.set,
            end=self._end,
        )
        self._thread = threading.Thread(target=self._loop, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until somebody asked for the end. ``True`` = somebody has."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """End the loop and let go of everything. What runs, runs on."""
        self._ending.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(timeout=LONGEST_PAUSE_S)
        self.control.close()
        self._prober.close()
        for driver in self._drivers.values():
            driver.close()
        self._store.close()
        self.folder.release()

    # The loop ------------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        troubles = 0
        while not self._ending.is_set():
            self._bell.clear()
            try:
                report = self.control.step(self._clock())
                pause_s = report.next_wake - self._clock()
                troubles = 0
                if report.wrote:
                    self.plane.tell_news()
            except Exception:
                troubles += 1
                pause_s = min(LONGEST_PAUSE_S, 0.1 * 2.0**troubles)
                log.exception("a step failed; the next one comes in %.1f s", pause_s)
                self._ending.wait(pause_s)
                continue
            self._bell.wait(max(0.0, min(pause_s, LONGEST_PAUSE_S)))

    def _end(self, workloads: bool) -> None:
        if workloads:
            threading.Thread(target=self._stop_everything, name="stop-everything", daemon=True).start()
        else:
            self._ended.set()

    def _stop_everything(self) -> None:
        """Wish that all live workloads stop, wait until they have, then end."""
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline:
            rows = self._store.live()
            live = [row for row in rows.workloads.values() if not row.phase.ended]
            if not live:
                break
            for row in live:
                if rows.desired[row.id].wish is not Wish.STOP:
                    self.plane.set_desired(row.id, project=DEFAULT_PROJECT, by="shutdown", wish=Wish.STOP)
            self.plane.wait(after=rows.seq, timeout_s=1.0)
        self._ended.set()


def _last_event_at(store: Store) -> float:
    events = store.events(after=store.live().seq - 1, limit=1)
    return events[-1].at if events else 0.0
