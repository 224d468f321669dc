"""Writes that follow from what stands: when others were faster, they are decided anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ampacity.model.errors import Conflict, StaleVersion
from ampacity.model.event import Draft
from ampacity.store.base import Store

TRIES = 5

Found = TypeVar("Found")


def decide(store: Store, once: Callable[[], tuple[Found, Sequence[Draft]]], *, in_vain: str) -> Found:
    """Write what ``once`` makes of the rows as they are, in one transaction; returns what it says of that. Without
    drafts nothing is to be written.

    Raises:
        Conflict: others were faster every time; ``in_vain`` says so.
    """
    for _ in range(TRIES):
        found, drafts = once()
        if not drafts:
            return found
        try:
            store.append(drafts)
        except StaleVersion:
            continue
        return found
    raise Conflict(in_vain)
