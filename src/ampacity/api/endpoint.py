"""One endpoint: a method on a path, what it takes, which action it is, and who answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ampacity.control.plane import Asked
from ampacity.model.codec import encode

from .authorize import Action, Principal
from .bodies import Nothing
from .service import Service
from .wire import StreamLine

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q, B]):
    """A request that was read, checked and allowed. ``ref`` is the path's, empty where it has none; ``asked`` is what a
    write calls itself, where it has an idempotency key."""

    service: Service
    principal: Principal
    ref: str
    query: Q
    body: B
    asked: Asked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON body, encoded already, so that large ones do not hold up the event loop. ``kept``: a receipt of it was
    written in the transaction of what it tells. ``replayed``: it was given before."""

    content: bytes
    status: int = 200
    kept: bool = False
    replayed: bool = False


def answer(noun: object, *, status: int = 200, kept: bool = False) -> Answer:
    return Answer(content=encode(noun), status=status, kept=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes as they come."""

    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Stream(Protocol):
    """A source of pages of lines for an NDJSON answer. An empty page is a heartbeat."""

    async def page(self) -> list[StreamLine] | None:
        """The next page; ``None`` after the last. Raises what the plane raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``handler`` is called in a thread and gives an answer; ``waiter`` is a coroutine of the event loop (long waits);
    ``stream`` makes the source of a stream of lines, ``content`` one of bytes;
    ``upgrade`` takes the connection over. Exactly one of them is there. ``keeps_receipt``: the handler writes the
    receipt of a write itself, in the transaction of what it does.

    ``name``, ``summary``, the type ``answer`` and the ``status`` of success are what the API's description says of it.
    """

    name: str
    summary: str
    method: str
    path: str
    action: Action
    query: type[Any] = Nothing
    body: type[Any] = Nothing
    answer: type[Any]
    status: int = 200
    handler: Callable[[Any], Answer] | None = None
    keeps_receipt: bool = False
    waiter: Callable[[Any], Awaitable[Answer]] | None = None
    stream: Callable[[Any], Stream] | None = None
    content: Callable[[Any], Awaitable[Content]] | None = None
    upgrade: Callable[[Any, Any], Awaitable[None]] | None = None
