"""The control plane's parts, put together: the ground they stand on, the loop, what works beside it, and the plane."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ampacity.drivers.base import Driver
from ampacity.drivers.registry import open_driver
from ampacity.hub import Hub
from ampacity.model.node import Node
from ampacity.observe.measured import MetricsFolder
from ampacity.observe.telemetry.exporting import Telemetry
from ampacity.secrets.keeper import Secrets, open_secrets
from ampacity.serving.prober import Prober
from ampacity.store import open_store
from ampacity.store.feed import FeedStore

from .clock import Clock
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
from .telemetry import FeedSource, open_telemetry
from .writing import Writing

HOST = "127.0.0.1"
GATHER_S = 0.015
"""Longer than the shortest jobs run, shorter than anybody notices."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What parts tell the thread that steps.

    Attributes:
        news: of what runs; it is looked at at once.
        wish: somebody wishes for something else than before.
        end: somebody asked for the end; ``True`` = all that runs stops first.
        at: each named point that a step passes.
    """

    news: Callable[[], None]
    wish: Callable[[], None]
    end: Callable[[bool], None]
    at: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all others stand on: what is kept, the clock that dates it, and the gateway's port."""

    folder: StateFolder
    settings: Settings
    store: FeedStore
    clock: Clock
    port: int
    hub: Hub
    secrets: Secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What is observed and made so, and what is wished of it."""

    control: Control
    drivers: Mapping[str, Driver]
    writing: Writing
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What works beside the loop. ``telemetry`` ``None``: the environment does not ask for it."""

    keys: Keys
    output: Output
    measuring: Measuring
    housekeeping: Housekeeping
    metering: Metering
    telemetry: Telemetry | None

    def start(self) -> None:
        self.housekeeping.start()
        self.metering.start()
        if self.telemetry is not None:
            self.telemetry.start()


def lay_ground(stack: ExitStack, folder: StateFolder, settings: Settings, wall_clock: Callable[[], float]) -> Ground:
    """Open what is kept. Raises ``StoreError``, and ``PortInUse`` for a gateway's port that was asked for."""
    store = FeedStore(open_store(settings.store or str(folder.file("store.db"))))
    stack.callback(store.close)
    clock = Clock(floor=_last_event_at(store), source=wall_clock)
    secrets = open_secrets(folder.path, clock)
    if problem := secrets.problem():
        log.error("not all secrets can be opened: %s", problem)
    return Ground(
        folder=folder,
        settings=settings,
        store=store,
        clock=clock,
        port=gateway_port(folder, store, settings.gateway_port),
        hub=Hub(folder.file("hub")),
        secrets=secrets,
    )


def _last_event_at(store: FeedStore) -> float:
    events = store.events(after=store.last_seq - 1, limit=1)
    return events[-1].at if events else 0.0


def build_loop(stack: ExitStack, ground: Ground, nodes: Sequence[Node], signals: Signals) -> Loop:
    """Drivers and prober tell facts; the prober, the routing table, the gateway and the figures follow each step."""
    folder, settings, figures = ground.folder, ground.settings, Figures()
    drivers = _open_drivers(stack, ground, nodes, signals)
    prober = Prober()
    stack.callback(prober.close)
    prober.on_wake(signals.news)
    writing = Writing(
        ground.store,
        ground.hub,
        folder.file("checkpoints"),
        ground.clock,
        lambda: control.nodes,
        lambda: [standing.queue for standing in control.plan.queues],
    )
    table = folder.file("gateway") / "table.json"
    gateway = GatewayKeeper(writing, gateway_spec(table, settings, host=HOST, port=ground.port), signals.news)
    control = Control(
        store=ground.store,
        drivers=drivers,
        launcher=_launcher(ground),
        sources=(prober,),
        followers=(ProbeFeed(prober), RoutingFeed(table), gateway, figures),
        node_lost_after_s=settings.node_lost_after_s,
        wake=signals.news,
        at=signals.at,
        gather_s=GATHER_S,
    )
    stack.callback(control.close)
    return Loop(control=control, drivers=drivers, writing=writing, figures=figures)


def _open_drivers(stack: ExitStack, ground: Ground, nodes: Sequence[Node], signals: Signals) -> Mapping[str, Driver]:
    local = open_driver("local", folder=ground.folder.file("local"), nodes=nodes)
    stack.callback(local.close)
    local.on_wake(signals.news)
    return {"local": local}


def _launcher(ground: Ground) -> Launcher:
    launcher = Launcher(ground.folder.path, ground.hub, secrets=ground.secrets)
    launcher.tidy(lambda: ground.store.live().attempts)
    return launcher


def build_beside(stack: ExitStack, ground: Ground, loop: Loop, signals: Signals) -> Beside:
    """Who keeps house, books what requests used, measures, and exports."""
    store, clock, settings = ground.store, ground.clock, ground.settings
    metrics = MetricsFolder(ground.folder.path)
    stack.callback(metrics.close)
    keys = Keys(store, clock, signals.news)
    housekeeping = Housekeeping(
        store,
        loop.drivers,
        clock,
        keep_finished_s=settings.keep_finished_s,
        keep_events_s=settings.keep_events_s,
    )
    stack.callback(housekeeping.stop)
    metering = Metering(store, keys, ground.folder.file("gateway"), clock)
    stack.callback(metering.stop)
    output = Output(store, loop.drivers)
    measuring = Measuring(metrics, store, loop.control, loop.figures, clock)
    return Beside(
        keys=keys,
        output=output,
        measuring=measuring,
        housekeeping=housekeeping,
        metering=metering,
        telemetry=_telemetry(stack, ground, loop, output, measuring),
    )


def _telemetry(stack: ExitStack, ground: Ground, loop: Loop, output: Output, measuring: Measuring) -> Telemetry | None:
    """What it sends and loses is told among the metrics."""
    reading = Reading(ground.store, loop.control, output)
    telemetry = open_telemetry(os.environ, FeedSource(ground.store, reading, output, measuring, loop.figures))
    if telemetry is not None:
        measuring.more.append(telemetry.families)
        stack.callback(telemetry.close)
    return telemetry


def build_plane(ground: Ground, loop: Loop, beside: Beside, signals: Signals) -> LivePlane:
    """The use cases over all of it."""
    state_dir, gateway_url = str(ground.folder.path), f"http://{HOST}:{ground.port}"
    return LivePlane(
        store=ground.store,
        control=loop.control,
        hub=ground.hub,
        output=beside.output,
        members=Members(ground.store, loop.drivers),
        writing=loop.writing,
        keys=beside.keys,
        metering=beside.metering,
        secrets=ground.secrets,
        measuring=beside.measuring,
        place=Place(state_dir=state_dir, started_at=ground.clock(), gateway_url=gateway_url),
        clock=ground.clock,
        wake=signals.wish,
        end=signals.end,
    )
