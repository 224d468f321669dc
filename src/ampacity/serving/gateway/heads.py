"""What the heads of requests and answers say, and how they are passed on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .answers import Header, Refusal

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"te",
        b"trailer",
        b"server",
        b"date",
    )
)
NOT_FORWARDED = HOP_BY_HOP | {b"host", b"expect", b"authorization", b"x-api-key", b"accept-encoding", b"x-request-id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """``path`` is the target without its query; ``forward`` the lines that are passed on, each with its end.

    ``chunks``: the client speaks HTTP/1.1 and so understands a chunked answer.
    """

    method: bytes
    target: bytes
    path: bytes
    forward: bytes
    keep_alive: bool
    chunks: bool
    request_id: bytes = b""
    authorization: bytes = b""
    timeout: bytes = b""
    session: bytes = b""
    traceparent: bytes = b""


def request_head(method: bytes, target: bytes, headers: list[Header], *, keep_alive: bool, version: str) -> RequestHead:
    """From what the parser told; names are in lower case."""
    named = dict(headers)
    dropped = NOT_FORWARDED | _connection_options(named)
    return RequestHead(
        method=method,
        target=target,
        path=target.partition(b"?")[0],
        forward=b"".join(b"%s: %s\r\n" % header for header in headers if header[0] not in dropped),
        keep_alive=keep_alive,
        chunks=version == "1.1",
        request_id=named.get(b"x-request-id", b""),
        authorization=named.get(b"authorization", b""),
        timeout=named.get(b"x-request-timeout", b"") or named.get(b"timeout", b""),
        session=named.get(b"x-session-id", b""),
        traceparent=named.get(b"traceparent", b""),
    )


def refuse_unsound(version: str, headers: list[Header]) -> None:
    """What the parser lets pass, and what engines may read in another way (RFC 9112, sections 3.2 and 6.1). Raises
    ``Refusal``."""
    if version not in ("1.1", "1.0"):
        raise Refusal(505, "HTTP/1.1 and HTTP/1.0 are spoken here.", close=True)
    names = [name for name, _ in headers]
    if names.count(b"host") != 1 and (version == "1.1" or b"host" in names):
        raise Refusal(400, "A request names its host, once.", close=True)
    if b"transfer-encoding" in names:
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if codings != [b"chunked"]:
            raise Refusal(501, "Of transfer codings only 'chunked' is understood here, once.", close=True)


def _connection_options(named: dict[bytes, bytes]) -> frozenset[bytes]:
    """Headers that are meant for this hop alone because ``Connection`` names them (RFC 9110, section 7.6.1)."""
    return frozenset(option.strip().lower() for option in named.get(b"connection", b"").split(b","))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """``forward``: the status line and the lines that are passed on. ``length`` -1 = not said. ``events``: a stream."""

    status: int
    forward: bytes
    length: int = -1
    chunked: bool = False
    events: bool = False
    keep_alive: bool = True

    @property
    def framed(self) -> bool:
        """Whether the body's end can be told without the connection's."""
        return self.chunked or self.length >= 0


def answer_head(raw: bytes, status: int) -> AnswerHead:
    """From the bytes of a head that the parser has accepted, without the empty line at its end."""
    lines = raw.split(b"\r\n")
    named = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
    known = dict(named)
    options = _connection_options(known)
    dropped = HOP_BY_HOP | options
    length = known.get(b"content-length", b"")
    return AnswerHead(
        status=status,
        forward=_status_line(lines[0]) + _lines(header for header in named if header[0] not in dropped),
        length=0 if status in (204, 304) else int(length) if length else -1,
        chunked=b"transfer-encoding" in known,
        events=known.get(b"content-type", b"").startswith(b"text/event-stream"),
        keep_alive=b"close" not in options and (raw.startswith(b"HTTP/1.1") or b"keep-alive" in options),
    )


def _status_line(line: bytes) -> bytes:
    return b"HTTP/1.1" + line[8:] + b"\r\n"


def _lines(headers: Iterable[Header]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)
