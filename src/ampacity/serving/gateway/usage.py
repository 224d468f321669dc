"""What an answer says that it took, found in its bytes without reading all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .desk import NOT_COUNTED, Counted

_INPUT = re.compile(rb'"(?:prompt_tokens|input_tokens)"\s*:\s*(\d+)')
_OUTPUT = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d+)')
_CACHED = re.compile(rb'"cached_tokens"\s*:\s*(\d+)')


def counted_in(end: bytes) -> Counted:
    """From an answer's last bytes. Within a text the key would stand with backslashes, and so is not taken for one."""
    at = end.rfind(b'"usage"')
    if at < 0:
        return NOT_COUNTED
    return Counted(
        input_tokens=_number(_INPUT, end, at),
        cached_tokens=_number(_CACHED, end, at),
        output_tokens=_number(_OUTPUT, end, at),
    )


def _number(pattern: re.Pattern[bytes], text: bytes, at: int) -> int | None:
    match = pattern.search(text, at)
    return None if match is None else int(match[1])


def events_in(pieces: Iterable[bytes], last: bytes) -> int:
    """How many events a streamed answer had: about a token each."""
    return sum(piece.count(b"data: ") for piece in pieces) + last.count(b"data: ")
