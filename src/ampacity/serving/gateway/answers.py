"""HTTP answers as bytes, and errors in OpenAI's form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from http import HTTPStatus

import orjson

from ampacity.serving.admission import Refused

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")

KEPT = b"connection: keep-alive\r\n"
CLOSED = b"connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


class Refusal(Exception):
    """A request that is answered with an error. ``close``: the connection cannot be used on."""

    def __init__(
        self, status: int, message: str, *, code: str = "", headers: tuple[Header, ...] = (), close: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers, self.close = status, message, code, headers, close

    def body(self) -> bytes:
        return error_body(self.status, self.message, self.code)


def refusal_of(refused: Refused) -> Refusal:
    """What admission refused, as an answer."""
    headers: list[Header] = []
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(refused.retry_after_s))))
    return Refusal(refused.status, refused.message, code=refused.code, headers=tuple(headers))


def failed() -> Refusal:
    """For what ought not to happen."""
    return Refusal(500, "The gateway failed; its log says why.", close=True)


def error_body(status: int, message: str, code: str = "") -> bytes:
    """``{"error": {message, type, param, code}}``, as OpenAI's API has it."""
    error = {
        "message": message,
        "type": _TYPES.get(status, "server_error"),
        "param": "model" if code == "model_not_found" else None,
        "code": code or None,
    }
    return orjson.dumps({"error": error})


def whole(status: int, headers: Iterable[Header], body: bytes, *, keep_alive: bool) -> bytes:
    """A complete answer with its length."""
    lines = [b"HTTP/1.1 %d %s" % (status, reason(status))]
    lines.extend(b"%s: %s" % header for header in headers)
    lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n" + (KEPT if keep_alive else CLOSED) + b"\r\n" + body


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"
