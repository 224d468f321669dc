"""Arrays: many workloads of one submission that differ by their index alone."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InvalidSpec, Where

MAX_ELEMENTS = 10_000
"""The most that one array may have."""

MAX_INDEX = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPlace:
    """Which element of which array a workload is. ``size``: how many elements there are."""

    array: str
    index: int
    size: int


def parse_indices(text: str) -> tuple[int, ...]:
    """``0-999``, ``1,3,10-20`` or ``0-100:10`` (every tenth), ascending.

    Raises:
        InvalidSpec: it is none of these, names an index twice, or is more than ``MAX_ELEMENTS``.
    """
    found: list[int] = []
    for part in text.split(","):
        found.extend(_part(part.strip(), text))
        if len(found) > MAX_ELEMENTS:
            raise _wrong(text, f"has more than {MAX_ELEMENTS:,} elements", "Submit it in parts.")
    if len(set(found)) < len(found):
        raise _wrong(text, "names an index twice", "Name each index once.")
    return tuple(sorted(found))


def element_name(name: str, index: int) -> str:
    return f"{name}-{index}"


def _part(part: str, text: str) -> range:
    span, colon, step = part.partition(":")
    first, dash, last = span.partition("-")
    numbers = [first, *([last] if dash else []), *([step] if colon else [])]
    if not all(number.isascii() and number.isdigit() for number in numbers) or (colon and not dash):
        raise _wrong(text, f"has a part {part!r} that is no range", "Such as 0-999, 1,3,10-20 or 0-100:10.")
    start, end, stride = int(first), int(last or first), int(step or 1)
    if end < start:
        raise _wrong(text, f"has a range {part!r} that ends before it begins", f"Write {end}-{start}.")
    if stride == 0 or end > MAX_INDEX:
        raise _wrong(
            text, f"has a part {part!r} that is out of bounds", f"Indices go up to {MAX_INDEX:,}, steps from 1."
        )
    return range(start, end + 1, stride)


def _wrong(text: str, what: str, hint: str) -> InvalidSpec:
    return InvalidSpec(f"{text!r} {what}.", where=Where(key="array"), hint=hint)
