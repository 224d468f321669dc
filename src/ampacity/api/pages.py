"""Pages of listings: a place in a listing as an opaque text, and the pages of what comes as a whole."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from ampacity.model.errors import InvalidSpec, Where

T = TypeVar("T")


def write_place(place: object) -> str:
    """The place as a text that is safe in a query."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_place(text: str | None, kind: type[T]) -> T | None:
    """What :func:`write_place` wrote; ``None`` = the beginning. Raises ``InvalidSpec``."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        hint = "Give back the `next` of the page before as it was."
        raise InvalidSpec(f"{text!r} is no place in the list.", where=Where(key="next"), hint=hint) from None


def page_of(
    everything: Sequence[T], key: Callable[[T], tuple[Any, ...]], *, limit: int, after: tuple[Any, ...] | None
) -> tuple[tuple[T, ...], str | None]:
    """Those after the place in the order of their keys, at most ``limit``, and where the next page begins.

    What is added or removed between two pages shifts nothing: a place is a key, and no number.
    """
    found = sorted((each for each in everything if after is None or key(each) > after), key=key)
    if len(found) <= limit:
        return tuple(found), None
    return tuple(found[:limit]), write_place(key(found[limit - 1]))
