"""What workers and the dispatcher say to each other over their Unix socket: lots of msgpack, behind a length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

LENGTH_BYTES = 4
MOST_BYTES = 256 * 1024 * 1024


class Ask(msgspec.Struct, tag=1, array_like=True, gc=False):
    """A request's facts, as :class:`ampacity.serving.dispatch.Request` has them; ``key`` by its id."""

    id: int
    model: str
    arrived: float
    tokens: int
    blocks: list[int]
    session: int
    key: str
    max_tokens: int | None
    deadline: float | None
    streams: bool
    despite_budget: bool


class Again(msgspec.Struct, tag=2, array_like=True, gc=False):
    id: int
    excluded: list[str]


class Answered(msgspec.Struct, tag=3, array_like=True, gc=False):
    id: int


class Ended(msgspec.Struct, tag=4, array_like=True, gc=False):
    id: int
    ending: str
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    money: float


class Withdrawn(msgspec.Struct, tag=5, array_like=True, gc=False):
    id: int


class Adopt(msgspec.Struct, tag=8, array_like=True, gc=False):
    """A request that is on an engine already, told to a dispatcher that has begun after it. ``ask.model`` is the one
    that answers."""

    id: int
    ask: Ask
    engine: str
    answered: bool


class Sent(msgspec.Struct, tag=6, array_like=True, gc=False):
    id: int
    engine: str
    max_tokens: int | None
    model: str


class Refuse(msgspec.Struct, tag=7, array_like=True, gc=False):
    id: int
    status: int
    code: str
    message: str
    retry_after_s: float | None


FromWorker = Ask | Again | Answered | Ended | Withdrawn | Adopt
FromDispatcher = Sent | Refuse

from_worker: Callable[[bytes], list[FromWorker]] = msgspec.msgpack.Decoder(list[FromWorker]).decode
from_dispatcher: Callable[[bytes], list[FromDispatcher]] = msgspec.msgpack.Decoder(list[FromDispatcher]).decode
_encoder = msgspec.msgpack.Encoder()


def frame(messages: list[Any]) -> bytes:
    """All of them in one piece."""
    data = _encoder.encode(messages)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class Frames:
    """Takes bytes as they come, and gives back whole frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ``ValueError`` for a length that nobody would send."""
        data = self._buffer + data if self._buffer else data
        found: list[bytes] = []
        at = 0
        while len(data) - at >= LENGTH_BYTES:
            length = int.from_bytes(data[at : at + LENGTH_BYTES], "big")
            if length > MOST_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            end = at + LENGTH_BYTES + length
            if len(data) < end:
                break
            found.append(data[at + LENGTH_BYTES : end])
            at = end
        self._buffer = data[at:]
        return found
