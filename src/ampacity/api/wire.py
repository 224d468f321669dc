"""What goes over the wire, for both ends: names, request bodies, errors, and the lines of a stream.

Light on purpose: the client imports it, so it knows neither Starlette nor uvicorn.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from ampacity.model.codec import encode, to_plain
from ampacity.model.errors import (
    AmpacityError,
    BadRequest,
    InvalidSpec,
    UserError,
    Where,
    error_types,
)
from ampacity.model.view import EventView, LogHit, LogRecord

API_PREFIX: Final = "/api/v1"
VERSION_HEADER: Final = "X-Ampacity-Version"
KEY_HEADER: Final = "Idempotency-Key"
"""A write that is asked for again with the same key and body is answered as the first time, and done once."""

REPLAYED_HEADER: Final = "Idempotency-Replayed"

OCTETS: Final = "application/octet-stream"
FILE_SIZE_HEADER: Final = "X-Ampacity-File-Size"
FILE_VERSION_HEADER: Final = "X-Ampacity-File-Version"
FILE_MODE_HEADER: Final = "X-Ampacity-File-Mode"

NDJSON: Final = "application/x-ndjson"

HEARTBEAT_S: Final = 10.0
"""A stream that has nothing to say sends an empty line this often."""

MAX_BODY_BYTES: Final = 16 << 20
MAX_WAIT_S: Final = 30.0
"""The longest that ``wait_s`` of ``GET /workloads/{ref}`` may hold back an answer."""


class EndReason(StrEnum):
    """Why a stream ended. After ``shutdown`` there is more to come: connect again with the last cursor."""

    ENDED = "ended"
    CAUGHT_UP = "caught_up"
    LIMIT = "limit"
    SHUTDOWN = "shutdown"


class StreamLine(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One line of a stream: an object with exactly one key.

    ``record``, ``event`` and ``hit`` carry content. ``cursor`` says where to go on, and seals all lines before it: a
    reader that was cut off drops what came after the last cursor, asks again with it, and so misses nothing and sees
    nothing twice.
    ``end`` is the last line of a stream that ended in order, ``error`` that of one that could not go on.
    """

    record: LogRecord | None = None
    event: EventView | None = None
    hit: LogHit | None = None
    cursor: str | None = None
    end: EndReason | None = None
    error: ErrorBody | None = None


def encode_lines(lines: Iterable[StreamLine]) -> bytes:
    return b"".join(encode(line) + b"\n" for line in lines)


class ErrorBody(msgspec.Struct, frozen=True):
    """What is wrong (``message``), what to do (``hint``) and the place of the mistake; ``code`` is stable."""

    code: str = "error"
    message: str = ""
    hint: str = ""
    where: Where = Where()


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorBody


def error_to_wire(error: AmpacityError) -> dict[str, Any]:
    """The error as the wire carries it: ``message`` without the place, which stands in ``where``."""
    where = error.where if isinstance(error, (InvalidSpec, BadRequest)) else Where()
    message = error.message
    if isinstance(error, InvalidSpec):
        message = message.removeprefix(f"{where}: ")
    return {"code": error.code, "message": message, "hint": error.hint, "where": to_plain(where)}


def error_body(error: AmpacityError) -> ErrorBody:
    """The error as a line of a stream carries it."""
    return msgspec.convert(error_to_wire(error), ErrorBody)


def error_from_wire(plain: object, *, status: int) -> AmpacityError:
    """The error that :func:`error_to_wire` wrote, of the same type.

    A code that this release does not know becomes ``UserError`` (status 4xx) or ``AmpacityError``, with that code.
    Raises ``msgspec.ValidationError`` when it is no error of ours.
    """
    body = msgspec.convert(plain, ErrorBody)
    where = body.where
    kind = error_types().get(body.code)
    if kind is None:
        unknown = (UserError if 400 <= status < 500 else AmpacityError)(body.message, hint=body.hint)
        unknown.code, unknown.status = body.code, status
        return unknown
    if issubclass(kind, BadRequest):
        return kind(body.message, status=status, where=where, hint=body.hint)
    if issubclass(kind, InvalidSpec):
        return kind(body.message, where=where, hint=body.hint)
    return kind(body.message, hint=body.hint)
