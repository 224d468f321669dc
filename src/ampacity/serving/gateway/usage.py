"""What an answer says that it took, found in its bytes without reading all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .desk import NOT_COUNTED, Counted

_INPUT = (b'"prompt_tokens"', b'"input_tokens"')
_OUTPUT = (b'"completion_tokens"', b'"output_tokens"')
_CACHED = (b'"cached_tokens"',)
_SPACE: Final = 32
_COLON: Final = 58
_ZERO: Final = 48
_NINE: Final = 57
_MOST_DIGITS: Final = 15


def counted_in(end: bytes) -> Counted:
    """From an answer's last bytes. Within a text the key would stand with backslashes, and so is not taken for one."""
    at = end.rfind(b'"usage"')
    if at < 0:
        return NOT_COUNTED
    usage = end[at + 7 :]
    return Counted(
        input_tokens=_number(usage, _INPUT),
        cached_tokens=_number(usage, _CACHED),
        output_tokens=_number(usage, _OUTPUT),
    )


def _number(usage: bytes, names: tuple[bytes, ...]) -> int | None:
    """What stands behind the first of these names that is there with a number."""
    for name in names:
        at = usage.find(name)
        if at >= 0:
            number = _number_at(usage, at + len(name))
            if number is not None:
                return number
    return None


def _number_at(text: bytes, at: int) -> int | None:
    """``: 12``, with spaces or without; ``None`` = something else stands there."""
    end = len(text)
    while at < end and text[at] <= _SPACE:
        at += 1
    if at >= end or text[at] != _COLON:
        return None
    at += 1
    while at < end and text[at] <= _SPACE:
        at += 1
    first, number = at, 0
    while at < end and _ZERO <= text[at] <= _NINE:
        number = number * 10 + text[at] - _ZERO
        at += 1
    return number if 0 < at - first <= _MOST_DIGITS else None


def events_in(pieces: Iterable[bytes], last: bytes) -> int:
    """How many events a streamed answer had: about a token each."""
    return sum(piece.count(b"data: ") for piece in pieces) + last.count(b"data: ")
