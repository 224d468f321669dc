"""A gateway's process, or one worker of several: listen, follow the table, drain at SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable

from ampacity.model.errors import PortInUse
from ampacity.serving.metering import MeterBoard, Recorder
from ampacity.serving.metering.spent import SpentFile

from .client import Client
from .core import Core
from .desk import OwnDesk
from .nearby import let_run
from .options import Options
from .process import TICK_S, allow_many_connections, asked_to_end, each, kept_going
from .remote_desk import RemoteDesk
from .reporter import heed_reports
from .tables import LOOK_EVERY_S, Tables
from .tls import Certificate
from .tracing import open_tracer

log = logging.getLogger(__name__)

BACKLOG = 4096
DRAIN_LIMIT_S = 30.0


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    Raises:
        PortInUse: somebody else listens there.
        UserError: the certificate cannot be used.
    """
    allow_many_connections()
    folder = options.table.parent
    desk = OwnDesk() if options.dispatcher is None else RemoteDesk(str(options.dispatcher))
    board = MeterBoard(None if options.dispatcher is None else options.dispatcher.parent)
    recorder = Recorder(folder / "usage", board=board)
    tracer = open_tracer(os.environ)
    core = Core(Tables(options.table), options.router, desk, recorder, board, tracer)
    if isinstance(desk, OwnDesk):
        heed_reports(core, desk)
    else:
        desk.under_way = core.under_way
    certificate = None if options.tls is None else Certificate(options.tls)
    servers = await _listen(options, certificate, lambda: Client(core))
    spent = SpentFile(folder / "spent.json", desk.set_spent)
    looks: list[Callable[[], object]] = [core.tables.refresh, spent.refresh]
    if certificate is not None:
        looks.append(certificate.refresh)
    recorder.start()
    if tracer is not None:
        tracer.start()
    with (
        contextlib.closing(recorder),
        contextlib.nullcontext() if tracer is None else contextlib.closing(tracer),
        kept_going(each(TICK_S, core.tick), *(each(LOOK_EVERY_S, look) for look in looks)),
    ):
        await asked_to_end(options.parent_fd)
        for server in servers:
            server.close()
        await drain(core)
        core.fleet.close()


async def _listen(
    options: Options, certificate: Certificate | None, make: Callable[[], Client]
) -> list[asyncio.AbstractServer]:
    shared = options.parent_fd is not None
    servers = [await _listen_on(make, options.host, options.port, shared, None)]
    log.info("listening on http://%s:%d", options.host, options.port)
    if options.tls is not None:
        servers.append(await _listen_on(make, options.tls.host, options.tls.port, shared, certificate))
        log.info("listening on https://%s:%d", options.tls.host, options.tls.port)
    return servers


async def _listen_on(
    make: Callable[[], Client], host: str, port: int, shared: bool, certificate: Certificate | None
) -> asyncio.AbstractServer:
    context = None if certificate is None else certificate.context
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(make, host, port, backlog=BACKLOG, reuse_port=shared, ssl=context)
    except OSError as error:
        raise port_in_use(host, port, error) from error
    for listening in server.sockets:
        let_run(listening, host)
    return server


def port_in_use(host: str, port: int, error: OSError) -> PortInUse:
    return PortInUse(f"The port {port} on {host} cannot be listened on: {error.strerror or error}.")


async def drain(core: Core, limit_s: float = DRAIN_LIMIT_S) -> None:
    """Let every request that is under way end, up to the limit."""
    core.draining = True
    deadline = asyncio.get_running_loop().time() + limit_s
    for client in list(core.clients):
        client.drain()
    while core.clients and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
