"""A kept connection says the same head again and again, but for the body's length: then what was worked out for the
last one holds, and nothing need be parsed."""

from __future__ import annotations

import re
from typing import Final

from .answers import Header
from .heads import AnswerHead

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})\r\n", re.IGNORECASE)
_ZERO: Final = 48
_NINE: Final = 57
_MOST_DIGITS: Final = 9


class Repeat:
    """``before`` and ``after``: the head's bytes around the digits of its length."""

    __slots__ = ("_after", "_at", "_before")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after, self._at = before, after, len(before)

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if these bytes are the same head with a length and a body just as long; else ``None``."""
        if not data.startswith(self._before):
            return None
        at, length = self._at, 0
        last = min(len(data), at + _MOST_DIGITS)
        while at < last and _ZERO <= data[at] <= _NINE:
            length = length * 10 + data[at] - _ZERO
            at += 1
        if at == self._at or not data.startswith(self._after, at):
            return None
        at += len(self._after)
        return data[at:] if len(data) - at == length else None


def repeat_of(read: bytes, headers: list[Header]) -> Repeat | None:
    """From the bytes of one whole request that the parser has accepted. ``None``: there is more to its head."""
    names = [name for name, _ in headers]
    if names.count(b"content-length") != 1 or b"expect" in names or b"transfer-encoding" in names:
        return None
    return _around_length(read[: read.find(b"\r\n\r\n") + 4])


def repeated_answer(raw: bytes, head: AnswerHead) -> Repeat | None:
    """From an answer's head that the parser has accepted, without the empty line at its end. ``None``: its length is
    not said in it once, or its connection is not kept."""
    if not head.keep_alive or head.chunked or head.length < 0 or head.status in (204, 304):
        return None
    if raw.lower().count(b"\r\ncontent-length") != 1:
        return None
    return _around_length(raw + b"\r\n\r\n")


def _around_length(head: bytes) -> Repeat | None:
    match = _LENGTH.search(head, 0, len(head) - 2)
    return None if match is None else Repeat(head[: match.start(1)], head[match.end(1) :])
