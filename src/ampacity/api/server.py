"""The server: uvicorn in a thread of its own, on a Unix socket and on loopback TCP, with one app."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from ampacity.control.plane import Plane
from ampacity.model.errors import AmpacityError

from .app import create_app
from .authorize import Access
from .listen import BACKLOG, listen_tcp, listen_unix
from .protocol import PeerProtocol
from .service import Service

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
GRACE_S = 3.0
"""How long calls that are under way may take once the server was told to stop."""

KEEP_ALIVE_S = 30


def serve(
    plane: Plane, *, socket_path: str, host: str, port: int, token_sha256: str, metrics_token_sha256: str = ""
) -> RunningServer:
    """Start serving. Returns when both sockets answer.

    ``token_sha256`` is the hex SHA-256 of the bearer token; empty = TCP lets nobody in; ``metrics_token_sha256`` that
    of one for ``/metrics`` alone. ``port`` 0 = a free one.

    Raises:
        StateFolderBusy: another server answers on the Unix socket.
        PortInUse: the port is taken.
        UserError: the sockets cannot be opened for another reason; the message says which.
    """
    unix = listen_unix(socket_path)
    try:
        tcp = listen_tcp(host, port)
    except AmpacityError:
        unix.close()
        os.unlink(socket_path)
        raise
    app = create_app(
        plane, Access(uid=os.getuid(), token_sha256=token_sha256, metrics_token_sha256=metrics_token_sha256)
    )
    server = RunningServer(app, unix, tcp, socket_path=socket_path, host=host)
    server.start()
    return server


class RunningServer:
    """A server that runs in its own thread until :meth:`stop`."""

    def __init__(self, app: Starlette, unix: socket.socket, tcp: socket.socket, *, socket_path: str, host: str) -> None:
        self.socket_path = socket_path
        self.host = host
        self.port: int = tcp.getsockname()[1]
        self._service: Service = app.state.service
        self._sockets = [unix, tcp]
        self._inode = os.stat(socket_path).st_ino
        self._server = _Server(_config(app))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ampacity-api", daemon=True)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return f"http://{host}:{self.port}"

    @property
    def service(self) -> Service:
        """What the app works with; for looking at, such as ``active_streams``."""
        return self._service

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Called once, by :func:`serve`. Raises ``AmpacityError`` when it does not come up."""
        self._thread.start()
        up = self._server.up.wait(START_TIMEOUT_S)
        if not up or self._failure is not None:
            self.stop()
            raise AmpacityError(f"The API server did not start: {self._failure or 'no answer'}.")

    def stop(self, *, timeout_s: float = GRACE_S + 2.0) -> bool:
        """Stop: streams end in order, calls under way may finish, then all is closed. Safe to call twice.

        ``True`` = it has stopped; ``False`` = it has not within ``timeout_s`` (its thread does not hold up an exit).
        """
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop closed between the look and the call
                loop.call_soon_threadsafe(self._service.stop)
                self._server.should_exit = True
        self._thread.join(timeout_s)
        self._service.close()
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.socket_path).st_ino == self._inode:
                os.unlink(self.socket_path)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._server.serve(sockets=self._sockets))
        except BaseException as error:
            self._failure = error
            log.exception("the API server ended by an error")
        finally:
            self._server.up.set()


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()


def _config(app: Starlette) -> uvicorn.Config:
    """Quiet, without signal handlers (it runs in a thread), HTTP only."""
    return uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(GRACE_S),
    )
