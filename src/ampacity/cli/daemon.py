"""The control plane's process: ``python -m ampacity.cli.daemon --state DIR``. Here its parts are put together.

SIGTERM and SIGINT end it in order: the API's streams are told, the loop ends, the lock is let go; what runs, runs on.
A second signal ends it at once, which does no harm either.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from ampacity import __version__
from ampacity.api.server import RunningServer, serve
from ampacity.api.wire import error_to_wire
from ampacity.cli.failure import FAILED, USAGE, say_error
from ampacity.control.daemon import HOST, Daemon
from ampacity.control.state_folder import DEFAULT_PORT, Settings, StateFolder, choose_port
from ampacity.model.errors import AmpacityError, UserError

log = logging.getLogger("ampacity.daemon")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOK_EVERY_S = 0.5


def main(args: Sequence[str] | None = None) -> int:
    """Run until told to end. The exit code: 0, 1 (it failed) or 2 (what it was told is wrong)."""
    told = _parser().parse_args(args)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    ending = _end_on_signals()
    try:
        folder = StateFolder(told.state)
        with _running(folder, _settings(folder, told)) as daemon:
            _say(told.ready_fd, {})
            while not ending.is_set() and not daemon.wait(LOOK_EVERY_S):
                pass
            log.info("ending")
    except AmpacityError as error:
        _say(told.ready_fd, {"error": error_to_wire(error)})
        say_error(error, as_json=False)
        return USAGE if isinstance(error, UserError) else FAILED
    log.info("ended; what runs, runs on")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ampacity.cli.daemon", description="Ampacity's control plane.")
    parser.add_argument("--state", type=Path, required=True, help="the state folder")
    parser.add_argument("--node", action="append", help="a declared node, such as n1:cpus=8,memory=32GB,H100=8")
    parser.add_argument("--port", type=int, help="the API's port; 0 = a free one")
    parser.add_argument("--gateway-port", type=int, help="the endpoint's port; 0 = a free one")
    parser.add_argument("--ready-fd", type=int, help="where to write a line of JSON once it answers, or failed to")
    return parser


def _settings(folder: StateFolder, told: argparse.Namespace) -> Settings:
    """What it was told now, over what it was told the last time."""
    settings = folder.read_settings()
    if told.node:
        settings = replace(settings, nodes=tuple(told.node))
    if told.port is not None:
        settings = replace(settings, port=told.port)
    if told.gateway_port is not None:
        settings = replace(settings, gateway_port=told.gateway_port)
    return settings


@contextlib.contextmanager
def _running(folder: StateFolder, settings: Settings) -> Iterator[Daemon]:
    """The control plane, while it is entered: it steps, it answers, and ``control.json`` says where."""
    daemon = Daemon(folder, settings)
    server: RunningServer | None = None
    try:
        server = _serve(folder, settings, daemon)
        folder.write_settings(settings)
        daemon.plane.listens(socket=server.socket_path, api_url=server.url)
        daemon.start()
        folder.write_endpoint(
            pid=os.getpid(),
            started_at=time.time(),
            version=__version__,
            socket=server.socket_path,
            api_url=server.url,
            gateway_url=daemon.plane.status().gateway_url,
        )
        log.info("Ampacity %s answers at %s and %s", __version__, server.socket_path, server.url)
        yield daemon
    finally:
        folder.remove_endpoint()
        if server is not None:
            server.stop()
        daemon.stop()


def _serve(folder: StateFolder, settings: Settings, daemon: Daemon) -> RunningServer:
    """On the port that was asked for by number; else on the usual one where it is free, or on any."""
    port = choose_port(DEFAULT_PORT) if settings.port is None else settings.port
    return serve(
        daemon.plane,
        socket_path=folder.socket_path(),
        host=HOST,
        port=port,
        token_sha256=folder.token_sha256(),
    )


def _end_on_signals() -> threading.Event:
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ending.is_set():
            os._exit(128 + number)
        ending.set()

    for each in SIGNALS:
        signal.signal(each, end)
    return ending


def _say(fd: int | None, word: object) -> None:
    """One line to the one that started us, who may have gone meanwhile."""
    if fd is None:
        return
    with contextlib.suppress(OSError):
        os.write(fd, json.dumps(word).encode() + b"\n")
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
