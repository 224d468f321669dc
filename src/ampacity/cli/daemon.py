"""The control plane as a process: control and its API put together. ``up`` runs ``python -m ampacity.cli.daemon``.

It stays in the foreground and logs to stderr. With ``--ready-fd`` it writes one line there once it answers, or once it
cannot: ``{}``, or ``{"error": …}`` as the API words errors.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import ampacity
from ampacity.api.server import RunningServer, serve
from ampacity.api.wire import error_to_wire
from ampacity.cli.failure import FAILED, USAGE, say_error
from ampacity.cli.store_address import without_password
from ampacity.control.daemon import Daemon
from ampacity.control.parts import HOST
from ampacity.control.state_folder import DEFAULT_PORT, Settings, StateFolder
from ampacity.model.errors import AmpacityError, PortInUse, UserError
from ampacity.observe.keeper import CollectorKeeper

SWITCH_INTERVAL_S = 0.001
"""How long one thread may keep the interpreter from the others: the API answers while the loop plans."""

STORE_VARIABLE = "AMPACITY_STORE"
"""The address of the store, with a password if need be: nothing of the environment is kept or shown."""

log = logging.getLogger("ampacity.daemon")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until somebody asks for the end (``down``, SIGTERM, SIGINT). The process's exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    ready = _Ready(options.ready_fd)
    ends = _listen_for_signals()
    try:
        _run_in(Path(options.state), options, ready, ends)
    except AmpacityError as error:
        ready.failed(error)
        say_error(error, as_json=False)
        return USAGE if isinstance(error, UserError) else FAILED
    return 0


def _run_in(path: Path, options: argparse.Namespace, ready: _Ready, ends: queue.SimpleQueue[str]) -> None:
    """As :func:`run`; what a start stumbles over in the folder is the user's to mend."""
    try:
        run(path, options, ready, ends)
    except OSError as error:
        if ready.said or not str(error.filename or "").startswith(str(path.expanduser().absolute())):
            raise
        hint = "See that all in it is this user's own; what is not Ampacity's has to go. Or use another folder."
        raise UserError(f"{error.filename} cannot be used: {error.strerror}.", hint=hint) from error


def run(path: Path, options: argparse.Namespace, ready: _Ready, ends: queue.SimpleQueue[str]) -> None:
    """Put it together, say that it answers, and take it apart again at the end. What runs, runs on."""
    folder = StateFolder(path)
    settings = _with_options(folder.read_settings(), options)
    with ExitStack() as stack:
        daemon = Daemon(folder, replace(settings, store=os.environ.get(STORE_VARIABLE) or settings.store))
        stack.callback(daemon.stop)
        _spare_the_loaded()
        server = _serve(daemon, folder, settings)
        stack.callback(server.stop)
        collector = CollectorKeeper(str(folder.path))
        stack.callback(collector.close)
        daemon.plane.listens(socket=server.socket_path, api_url=server.url)
        daemon.start()
        collector.start()
        folder.write_settings(settings)
        status = daemon.plane.status()
        stack.callback(folder.remove_endpoint)
        folder.write_endpoint(
            pid=os.getpid(),
            started_at=status.started_at,
            version=ampacity.__version__,
            socket=server.socket_path,
            api_url=server.url,
            gateway_url=status.gateway_url,
        )
        log.info("control plane of %s answers on %s and %s", path, server.socket_path, server.url)
        os.chdir(folder.path)  # nobody's folder is held on to because `up` was typed there
        ready.answers()
        threading.Thread(target=_pass_on, args=(daemon, ends), name="end", daemon=True).start()
        log.info("going down: %s", ends.get())


def _spare_the_loaded() -> None:
    """What was loaded stays for as long as the daemon does, and is freed by its counts of references where it goes. A
    full collection would go through all of it time and again, in the midst of a plan: at 12,500 nodes and 30,000
    workloads that takes 0.4 s."""
    gc.collect()
    gc.freeze()


def _with_options(settings: Settings, options: argparse.Namespace) -> Settings:
    """What is told now replaces what was told before; what is not, stays."""
    store = options.store or without_password(os.environ.get(STORE_VARIABLE, ""))
    told = {
        "nodes": tuple(options.node),
        "port": options.port,
        "gateway_port": options.gateway_port,
        "gateway_workers": options.gateway_workers,
        "gateway_tls": options.gateway_tls,
        "gateway_cert": options.gateway_cert,
        "gateway_key": options.gateway_key,
        "store": store or None,
        "keep_finished_s": options.keep_finished_s,
        "keep_events_s": options.keep_events_s,
    }
    return replace(settings, **{name: value for name, value in told.items() if value not in (None, ())})


def _serve(daemon: Daemon, folder: StateFolder, settings: Settings) -> RunningServer:
    """The API; on the usual port, or a free one when that is taken and no port was asked for."""
    socket_path = folder.socket_path()
    tokens = {"token_sha256": folder.token_sha256(), "metrics_token_sha256": folder.token_sha256("metrics-token")}

    def on(port: int) -> RunningServer:
        return serve(daemon.plane, socket_path=socket_path, host=HOST, port=port, **tokens)

    if settings.port is not None:
        return on(settings.port)
    try:
        return on(DEFAULT_PORT)
    except PortInUse:
        return on(0)


def _listen_for_signals() -> queue.SimpleQueue[str]:
    """Signals as words in a queue: one that may be put to from within a signal handler."""
    ends: queue.SimpleQueue[str] = queue.SimpleQueue()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda number, _: ends.put(signal.Signals(number).name))
    return ends


def _pass_on(daemon: Daemon, ends: queue.SimpleQueue[str]) -> None:
    daemon.wait()
    ends.put("asked over the API")


class _Ready:
    """Tells whoever started this process how the start went; once."""

    def __init__(self, fd: int | None) -> None:
        self._fd, self._told = fd, False
        if fd is not None:
            os.set_inheritable(fd, False)

    @property
    def said(self) -> bool:
        return self._told

    def answers(self) -> None:
        self._say({})

    def failed(self, error: AmpacityError) -> None:
        self._say({"error": error_to_wire(error)})

    def _say(self, word: dict[str, object]) -> None:
        fd, self._fd, self._told = self._fd, None, True
        if fd is None:
            return
        try:
            os.write(fd, json.dumps(word).encode() + b"\n")
        except BrokenPipeError:
            log.info("whoever started this has gone")
        finally:
            os.close(fd)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ampacity.cli.daemon", description="Run one control plane.")
    parser.add_argument("--state", required=True, metavar="DIR", help="its folder")
    parser.add_argument("--node", action="append", default=[], metavar="SPEC", help="declare a node; may be repeated")
    parser.add_argument("--port", type=int, metavar="N", help="the API's port on loopback; 0: a free one")
    parser.add_argument("--gateway-port", type=int, metavar="N", help="the endpoint's port; 0: a free one")
    parser.add_argument("--gateway-workers", type=int, metavar="N", help="processes that share the endpoint's port")
    parser.add_argument("--gateway-tls", metavar="HOST:PORT", help="where the endpoint listens with TLS as well")
    parser.add_argument("--gateway-cert", metavar="FILE", help="the endpoint's certificate and its chain")
    parser.add_argument("--gateway-key", metavar="FILE", help="its private key")
    parser.add_argument("--store", metavar="URL", help="keep the state in PostgreSQL")
    parser.add_argument("--keep-finished-s", type=float, metavar="S", help="how long ended workloads are kept")
    parser.add_argument("--keep-events-s", type=float, metavar="S", help="how long single events are kept")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="where to say that it answers, or why it cannot")
    return parser


if __name__ == "__main__":
    sys.exit(main())
