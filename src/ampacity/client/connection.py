"""Connections to a control plane, kept open between calls: the standard library's HTTP over TCP or a Unix socket."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from ampacity.model.errors import UserError

from .locate import Endpoint

CONNECT_TIMEOUT_S = 5.0

IDLE_S = 5.0
"""Connections are dropped well before the server drops them, so that a call seldom meets a closed one."""

READ_BYTES = 64 << 10


class TransportError(Exception):
    """The root: no answer came, or not all of it."""


class Unreachable(TransportError):
    """Nobody answers there: nothing was sent."""


class TimedOut(TransportError):
    """The answer, or its next part, did not come in time."""


class Cut(TransportError):
    """The connection ended before the answer did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """``headers`` by their names in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Connections:
    """Connections to one endpoint. Safe to use from several threads: each call has a connection of its own."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Raises ``UserError`` when the endpoint's URL is none."""
        self._endpoint, self._headers = endpoint, dict(headers)
        try:
            url = urlsplit(endpoint.url)
            self._host, self._port, self._prefix = url.hostname or "", url.port, url.path.rstrip("/")
        except ValueError as error:
            raise _no_url(endpoint, str(error)) from None
        if not endpoint.socket and (url.scheme not in ("http", "https") or not self._host):
            raise _no_url(endpoint, "it has no http:// and a host")
        self._secure = url.scheme == "https"
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._lock = threading.Lock()

    def call(
        self, method: str, target: str, body: bytes | None, *, headers: Mapping[str, str], timeout_s: float
    ) -> Response:
        """One request, with these headers beside the usual ones, and its whole answer. Raises ``TransportError``."""
        with self._exchange(method, target, body, headers, timeout_s) as (connection, response):
            with _translated():
                content = response.read()
            found = Response(status=response.status, headers=_headers(response), content=content)
            if not response.will_close:
                self._give_back(connection)
        return found

    @contextmanager
    def stream(self, target: str, *, timeout_s: float) -> Iterator[tuple[Response, Iterator[bytes]]]:
        """The head of an answer, and its content as it comes: each part within ``timeout_s``. Raises
        ``TransportError``, while it is read, too."""
        with self._exchange("GET", target, None, {}, timeout_s) as (_, response):
            head = Response(status=response.status, headers=_headers(response), content=b"")
            yield head, _parts(response)

    def upgrade(self, target: str, protocol: str, *, timeout_s: float) -> tuple[Response, socket.socket | None]:
        """A connection for another protocol: the socket belongs to the caller, who speaks first. ``None`` where the
        answer is another than ``101``. Raises ``TransportError``."""
        connection = self._connect()
        headers = {**self._headers, "Connection": "Upgrade", "Upgrade": protocol}
        try:
            with _translated():
                connection.sock.settimeout(timeout_s)
                connection.request("GET", self._prefix + target, headers=headers)
                response = connection.getresponse()
                upgraded = response.status == HTTPStatus.SWITCHING_PROTOCOLS
                found = Response(
                    status=response.status,
                    headers=_headers(response),
                    content=b"" if upgraded else response.read(),
                )
                return found, connection.sock.dup() if upgraded else None
        finally:
            connection.close()

    def close(self) -> None:
        """Close those that nobody uses now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    @contextmanager
    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Iterator[tuple[HTTPConnection, HTTPResponse]]:
        """Send, and read the head. The connection is closed behind it unless it was given back."""
        connection = self._take() or self._connect()
        kept = False
        try:
            with _translated():
                connection.sock.settimeout(timeout_s)
                connection.request(method, self._prefix + target, body=body, headers={**self._headers, **headers})
                response = connection.getresponse()
                _refuse_half_a_head(response)
            yield connection, response
            kept = any(idle is connection for idle, _ in self._idle)
        finally:
            if not kept:
                connection.close()

    def _take(self) -> HTTPConnection | None:
        """One that is idle, and that the other side has not closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_S and not _readable(connection.sock):
                return connection
            connection.close()

    def _give_back(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._idle.append((connection, time.monotonic()))

    def _connect(self) -> HTTPConnection:
        connection: HTTPConnection
        if self._endpoint.socket:
            connection = _UnixConnection(self._endpoint.socket)
        elif self._secure:
            connection = HTTPSConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Unreachable(error.strerror or str(error)) from error
        return connection


def _no_url(endpoint: Endpoint, reason: str) -> UserError:
    return UserError(f"{endpoint.url!r} is no URL: {reason}.", hint="Such as http://127.0.0.1:7077.")


def _readable(sock: socket.socket) -> bool:
    """An idle connection that has something to say says that it is closed."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _refuse_half_a_head(response: HTTPResponse) -> None:
    """``http.client`` takes the end of the connection for the end of the head; one that was cut tells no length."""
    told = response.chunked or response.length is not None
    if not told and not response.peek(1):
        raise HTTPException("in the middle of the answer's head")


def _headers(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _parts(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        with _translated():
            part = response.read1(READ_BYTES)
        if not part:
            if response.length:  # of a chunked one, an early end is an error of its own
                raise Cut("the stream ended too soon")
            return
        yield part


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TimedOut(str(error)) from error
    except (OSError, HTTPException) as error:
        raise Cut(str(error) or type(error).__name__) from error
