"""The link to a control plane: HTTP calls and streams of lines, with its errors turned back into ours."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from ampacity import __version__
from ampacity.api.versions import AGENT, ANY_RELEASE, advice, refuse_foreign, same_minor
from ampacity.api.wire import API_PREFIX, HEARTBEAT_S, KEY_HEADER, VERSION_HEADER, StreamLine, error_from_wire
from ampacity.model.codec import decode, encode
from ampacity.model.errors import AmpacityError, BadRequest, NotRunning

from .connection import Connections, Cut, Response, TimedOut, TransportError, Unreachable
from .locate import START_HINT, Endpoint

T = TypeVar("T")

SILENCE_S = 3.5 * HEARTBEAT_S
"""A stream that is silent for longer is taken for dead: heartbeats were missed."""

ATTEMPTS = 3

Query = Mapping[str, "str | int | float | bool | None"]


class Link:
    """Opens itself by the first call. Safe to use from several threads.

    ``on_other_release`` is told, once, the version of a control plane of another minor release.
    """

    def __init__(
        self,
        find: Callable[[], Endpoint],
        *,
        timeout_s: float,
        on_other_release: Callable[[str], None] = lambda version: None,
    ) -> None:
        self._on_other_release = on_other_release
        self._find = find
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._open: tuple[Connections, Endpoint] | None = None
        self._stale = False
        self._retired: list[Connections] = []
        self.server_version = ""

    def close(self) -> None:
        """Close the connections. A later call opens the link anew."""
        with self._lock:
            closing, self._retired = self._retired, []
            if self._open is not None:
                closing.append(self._open[0])
                self._open = None
        for connections in closing:
            connections.close()

    def renew(self) -> None:
        """The next call looks for the control plane again: it may have come back at another address."""
        with self._lock:
            self._stale = True

    def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query | None = None,
        body: object = None,
        raw: bytes | None = None,
        wait_s: float = 0,
    ) -> T:
        """One call, and its answer as the given type. ``wait_s``: how much longer than usual it may take.

        ``raw`` is sent as it is. A call that was cut is repeated; a write carries a key by which the control plane
        knows it again.

        Raises:
            NotRunning: nobody answers there, or the connection was cut several times.
            AmpacityError: what the control plane says, by its code; or its answer was not understood.
        """
        timeout_s = self._timeout_s + wait_s
        headers = {} if method == "GET" else {KEY_HEADER: secrets.token_hex(16)}
        target, content = _target(path, query), raw if body is None else encode(body)
        for attempt in range(1, ATTEMPTS + 1):
            connections, endpoint = self._connection()
            try:
                response = connections.call(method, target, content, headers=headers, timeout_s=timeout_s)
            except TransportError as error:
                if attempt < ATTEMPTS and self._may_try_again(error, endpoint):
                    continue
                raise _not_running(error, endpoint, timeout_s, safe=method == "GET") from error
            self._check(response, endpoint, any_release=path in ANY_RELEASE)
            return self._understand(response.content, kind)
        raise AssertionError("the last attempt returns or raises")

    def lines(self, path: str, *, query: Query | None = None) -> Generator[StreamLine | None, None, None]:
        """The lines of a stream as they come; ``None`` for a heartbeat. Close the iterator to hang up.

        Raises what :meth:`call` raises; ``NotRunning`` also when it is cut in the middle.
        """
        with self._opened(path, query) as parts:
            for line in _split(parts):
                yield self._understand(line, StreamLine) if line else None

    def content(self, path: str, *, query: Query | None = None) -> Generator[bytes, None, None]:
        """The bytes of an answer as they come. Raises what :meth:`lines` raises."""
        with self._opened(path, query) as parts:
            yield from parts

    @contextmanager
    def _opened(self, path: str, query: Query | None) -> Iterator[Iterator[bytes]]:
        """An answer that comes in parts; its head is known to be a success."""
        connections, endpoint = self._connection()
        try:
            with connections.stream(_target(path, query), timeout_s=SILENCE_S) as (head, parts):
                content = b"" if head.status == 200 else b"".join(parts)
                self._check(replace(head, content=content), endpoint)
                yield parts
        except TransportError as error:
            raise _not_running(error, endpoint, self._timeout_s) from error

    def upgrade(self, path: str, protocol: str, *, query: Query | None = None) -> socket.socket:
        """A connection that speaks another protocol from now on. Raises what :meth:`call` raises."""
        connections, endpoint = self._connection()
        try:
            response, sock = connections.upgrade(_target(path, query), protocol, timeout_s=self._timeout_s)
        except TransportError as error:
            raise _not_running(error, endpoint, self._timeout_s) from error
        self._check(response, endpoint)
        if sock is None:
            raise self._strange(f"status {response.status} instead of {protocol}")
        return sock

    def _may_try_again(self, error: TransportError, endpoint: Endpoint) -> bool:
        """A call that was never sent, when the control plane has moved; one that was cut."""
        if isinstance(error, Unreachable):
            self.renew()
            return self._connection()[1] != endpoint
        return isinstance(error, Cut)

    def _connection(self) -> tuple[Connections, Endpoint]:
        with self._lock:
            if self._open is None or self._stale:
                endpoint = self._find()
                if self._open is not None and self._open[1] != endpoint:
                    self._retired.append(self._open[0])  # other threads may still read from it
                    self._open = None
                self._open = self._open or (_connect(endpoint), endpoint)
                self._stale = False
            return self._open

    def _check(self, response: Response, endpoint: Endpoint, *, any_release: bool = False) -> None:
        """Raise the error that the response is, if it is one."""
        version = response.headers.get(VERSION_HEADER.lower())
        if version is None:
            raise NotRunning(f"{endpoint} answers, but it is no Ampacity control plane.", hint="Is the URL right?")
        self._note(version, any_release=any_release)
        if response.status < 400:
            return
        try:
            plain = msgspec.json.decode(response.content)["error"]
            error = error_from_wire(plain, status=response.status)
        except (msgspec.DecodeError, KeyError, TypeError):
            raise self._strange(f"status {response.status} without an error that it knows") from None
        if version != __version__ and isinstance(error, BadRequest):
            error.hint = f"{error.hint} {self._versions()}".strip()
        raise error

    def _note(self, version: str, *, any_release: bool) -> None:
        """Raises ``VersionMismatch`` when what answers is of another major release."""
        first, self.server_version = version != self.server_version, version
        if not any_release:
            refuse_foreign(server=version, client=__version__)
        if first and not same_minor(version, __version__):
            self._on_other_release(version)

    def _understand(self, content: bytes, kind: type[T]) -> T:
        try:
            return decode(content, kind)
        except msgspec.DecodeError as error:
            raise self._strange(str(error)) from error

    def _strange(self, what: str) -> AmpacityError:
        hint = self._versions() if self.server_version != __version__ else ""
        return AmpacityError(f"The control plane's answer was not understood: {what}.", hint=hint)

    def _versions(self) -> str:
        told = f"The control plane runs Ampacity {self.server_version}, this client is {__version__}."
        return f"{told} {advice(server=self.server_version, client=__version__)}"


def _connect(endpoint: Endpoint) -> Connections:
    headers = {"User-Agent": f"{AGENT}{__version__}"}
    if endpoint.token:
        headers["Authorization"] = f"Bearer {endpoint.token}"
    return Connections(endpoint, headers)


def _target(path: str, query: Query | None) -> str:
    asked = urlencode(_plain(query))
    return API_PREFIX + path + (f"?{asked}" if asked else "")


def _plain(query: Query | None) -> dict[str, str]:
    """As the query string has it; what is ``None`` or ``False`` is left out."""
    given = {} if query is None else query
    return {
        key: "true" if value is True else str(value)
        for key, value in given.items()
        if value is not None and value is not False
    }


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines by ``\\n`` alone: text may hold other characters that count as line ends elsewhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _not_running(error: TransportError, endpoint: Endpoint, timeout_s: float, *, safe: bool = True) -> NotRunning:
    if isinstance(error, Unreachable):
        return NotRunning(f"No control plane answers at {endpoint} ({error}).", hint=START_HINT)
    if isinstance(error, TimedOut):
        return NotRunning(
            f"The control plane at {endpoint} did not answer within {timeout_s:g} s.", hint="Its log may say why."
        )
    hint = "" if safe else "It is not known whether it was carried out: look before you ask again."
    return NotRunning(f"The connection to {endpoint} was cut ({error}).", hint=hint)
