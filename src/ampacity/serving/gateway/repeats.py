"""A kept connection says the same head again and again, but for the body's length: then what was worked out for the
last one holds, and nothing need be parsed."""

from __future__ import annotations

import re

from .answers import Header
from .heads import RequestHead

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})\r\n", re.IGNORECASE)


class Repeat:
    """``before`` and ``after``: the head's bytes around the digits of its length."""

    __slots__ = ("_after", "_at", "_before", "head")

    def __init__(self, before: bytes, after: bytes, head: RequestHead) -> None:
        self._before, self._after, self._at = before, after, len(before)
        self.head = head

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if these bytes are the same head with a length and a body just as long; else ``None``."""
        if not data.startswith(self._before):
            return None
        end = data.find(b"\r", self._at, self._at + 10)
        digits = data[self._at : end]
        if end < 0 or not digits.isdigit() or not data.startswith(self._after, end):
            return None
        body = data[end + len(self._after) :]
        return body if len(body) == int(digits) else None


def repeat_of(read: bytes, head: RequestHead, headers: list[Header]) -> Repeat | None:
    """From the bytes of one whole request that the parser has accepted. ``None``: there is more to its head."""
    names = [name for name, _ in headers]
    if names.count(b"content-length") != 1 or b"expect" in names or b"transfer-encoding" in names:
        return None
    end = read.find(b"\r\n\r\n") + 4
    match = _LENGTH.search(read, 0, end - 2)
    if match is None:
        return None
    return Repeat(read[: match.start(1)], read[match.end(1) : end], head)
