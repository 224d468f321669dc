"""The link to a control plane: HTTP calls and streams of lines, with its errors turned back into ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ampacity import __version__
from ampacity.api.wire import API_PREFIX, HEARTBEAT_S, VERSION_HEADER, StreamLine, error_from_wire
from ampacity.model.codec import decode, encode
from ampacity.model.errors import AmpacityError, BadRequest, NotRunning, UserError

from .locate import START_HINT, Endpoint

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
IDLE_CONNECTION_S = 5.0
"""Connections are dropped well before the server drops them, so that a call seldom meets a closed one."""

SILENCE_S = 3.5 * HEARTBEAT_S
"""A stream that is silent for longer is taken for dead: heartbeats were missed."""

ATTEMPTS = 3

_RESTART = "Restart it with `ampacity down` and `ampacity up`, which ends no workload."

Query = Mapping[str, "str | int | float | bool | None"]


class Link:
    """Opens itself by the first call. Safe to use from several threads."""

    def __init__(self, find: Callable[[], Endpoint], *, timeout_s: float) -> None:
        self._find = find
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._open: tuple[httpx.Client, Endpoint] | None = None
        self._stale = False
        self._retired: list[httpx.Client] = []
        self.server_version = ""

    def close(self) -> None:
        """Close the connections. A later call opens the link anew."""
        with self._lock:
            closing, self._retired = self._retired, []
            if self._open is not None:
                closing.append(self._open[0])
                self._open = None
        for http in closing:
            http.close()

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
        wait_s: float = 0,
    ) -> T:
        """One call, and its answer as the given type. ``wait_s``: how much longer than usual it may take.

        Raises:
            NotRunning: nobody answers there, or the connection was cut (a GET was tried several times).
            AmpacityError: what the control plane says, by its code; or its answer was not understood.
        """
        import httpx

        timeout_s = self._timeout_s + wait_s
        for attempt in range(1, ATTEMPTS + 1):
            http, endpoint = self._connection()
            try:
                response = http.request(
                    method,
                    API_PREFIX + path,
                    params=_plain(query),
                    content=None if body is None else encode(body),
                    timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
                )
            except httpx.TransportError as error:
                if attempt < ATTEMPTS and self._may_try_again(method, error, endpoint):
                    continue
                raise _not_running(error, endpoint, timeout_s, safe=method == "GET") from error
            self._check(response, response.content)
            return self._understand(response.content, kind)
        raise AssertionError("the last attempt returns or raises")

    def lines(self, path: str, *, query: Query | None = None) -> Generator[StreamLine | None, None, None]:
        """The lines of a stream as they come; ``None`` for a heartbeat. Close the iterator to hang up.

        Raises what :meth:`call` raises; ``NotRunning`` also when it is cut in the middle.
        """
        import httpx

        http, endpoint = self._connection()
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S)
        try:
            with http.stream("GET", API_PREFIX + path, params=_plain(query), timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    self._check(response, response.content)
                self._check(response, b"")
                for line in _split(response.iter_bytes()):
                    yield self._understand(line, StreamLine) if line else None
        except httpx.TransportError as error:
            raise _not_running(error, endpoint, self._timeout_s) from error

    def _may_try_again(self, method: str, error: httpx.TransportError, endpoint: Endpoint) -> bool:
        """A call that was never sent, when the control plane has moved; a GET that was cut."""
        import httpx

        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            self.renew()
            return self._connection()[1] != endpoint
        cut = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError)
        return cut and method == "GET"

    def _connection(self) -> tuple[httpx.Client, Endpoint]:
        with self._lock:
            if self._open is None or self._stale:
                endpoint = self._find()
                if self._open is not None and self._open[1] != endpoint:
                    self._retired.append(self._open[0])  # other threads may still read from it
                    self._open = None
                self._open = self._open or (_connect(endpoint), endpoint)
                self._stale = False
            return self._open

    def _check(self, response: httpx.Response, content: bytes) -> None:
        """Raise the error that the response is, if it is one."""
        version = response.headers.get(VERSION_HEADER)
        if version is None:
            raise NotRunning(f"{response.url} answers, but it is no Ampacity control plane.", hint="Is the URL right?")
        self.server_version = version
        if response.status_code < 400:
            return
        try:
            plain = msgspec.json.decode(content)["error"]
            error = error_from_wire(plain, status=response.status_code)
        except (msgspec.DecodeError, KeyError, TypeError):
            raise self._strange(f"status {response.status_code} without an error that it knows") from None
        if version != __version__ and isinstance(error, BadRequest):
            error.hint = f"{error.hint} {self._versions()}".strip()
        raise error

    def _understand(self, content: bytes, kind: type[T]) -> T:
        try:
            return decode(content, kind)
        except msgspec.DecodeError as error:
            raise self._strange(str(error)) from error

    def _strange(self, what: str) -> AmpacityError:
        hint = self._versions() if self.server_version != __version__ else ""
        return AmpacityError(f"The control plane's answer was not understood: {what}.", hint=hint)

    def _versions(self) -> str:
        return f"The control plane runs Ampacity {self.server_version}, this client is {__version__}. {_RESTART}"


def _connect(endpoint: Endpoint) -> httpx.Client:
    import httpx

    headers = {"User-Agent": f"ampacity/{__version__}"}
    if endpoint.token:
        headers["Authorization"] = f"Bearer {endpoint.token}"
    limits = httpx.Limits(keepalive_expiry=IDLE_CONNECTION_S)
    secure = endpoint.url.startswith("https:")  # else the certificates need not be loaded, which takes its time
    transport = httpx.HTTPTransport(uds=endpoint.socket or None, limits=limits, trust_env=False, verify=secure)
    try:
        return httpx.Client(transport=transport, base_url=endpoint.url, headers=headers, trust_env=False)
    except httpx.InvalidURL as error:
        raise UserError(f"{endpoint.url!r} is no URL: {error}.", hint="Such as http://127.0.0.1:7077.") from None


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


def _not_running(error: httpx.TransportError, endpoint: Endpoint, timeout_s: float, *, safe: bool = True) -> NotRunning:
    import httpx

    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return NotRunning(f"No control plane answers at {endpoint} ({error}).", hint=START_HINT)
    if isinstance(error, httpx.TimeoutException):
        return NotRunning(
            f"The control plane at {endpoint} did not answer within {timeout_s:g} s.", hint="Its log may say why."
        )
    hint = "" if safe else "It is not known whether it was carried out: look before you ask again."
    return NotRunning(f"The connection to {endpoint} was cut ({error}).", hint=hint)
