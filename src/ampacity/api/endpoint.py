"""One endpoint: a method on a path, what it takes, which action it is, and who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ampacity.model.codec import encode

from .authorize import Action, Principal
from .service import Service
from .wire import StreamLine

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q, B]):
    """A request that was read, checked and allowed. ``ref`` is the path's, empty where it has none."""

    service: Service
    principal: Principal
    ref: str
    query: Q
    body: B


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A JSON body, encoded already, so that large ones do not hold up the event loop."""

    content: bytes
    status: int = 200


def answer(noun: object, *, status: int = 200) -> Answer:
    return Answer(content=encode(noun), status=status)


class Stream(Protocol):
    """A source of pages of lines for an NDJSON answer. An empty page is a heartbeat."""

    async def page(self) -> list[StreamLine] | None:
        """The next page; ``None`` after the last. Raises what the plane raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``handler`` is called in a thread and gives an answer; ``waiter`` is a coroutine of the event loop (long waits);
    ``stream`` makes the source of a stream. Exactly one of the three is there."""

    method: str
    path: str
    action: Action
    query: type[Any]
    body: type[Any]
    handler: Callable[[Any], Answer] | None = None
    waiter: Callable[[Any], Awaitable[Answer]] | None = None
    stream: Callable[[Any], Stream] | None = None
