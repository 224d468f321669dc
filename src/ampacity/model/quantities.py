"""Quantities as people write them (``H100:8``, ``16+``, ``128GB``, ``1h30m``): read and printed, each way exactly.

Every mistake is an :class:`InvalidSpec` without a place: the caller knows the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from fractions import Fraction
from math import isfinite

from .errors import InvalidSpec
from .resources import ANY_KIND, WHOLE_MILLI, AcceleratorRequest, Range

LARGEST = 2**53 - 1
"""The largest number taken: JSON readers everywhere hold it exactly."""

_DECIMAL = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
BYTE_UNITS = _DECIMAL | _BINARY
POWER_UNITS = {"W": 1, "kW": 10**3, "MW": 10**6}
DURATION_UNITS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_DURATION_WORDS = {
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hr": "h",
    "hrs": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "msec": "ms",
    "millis": "ms",
}

_Parse = Callable[[str], int]
_Print = Callable[[int], str]

_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)[ ]?([A-Za-z]*)")
_DURATION_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([A-Za-z]+)")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}(\+[a-z][a-z.]{0,15})?")
"""With what a profile has beyond its slices (``H100-1g.10gb+me``)."""


def parse_count_range(text: str) -> Range:
    """Whole numbers from 1: ``8``, ``8+`` (no upper bound), ``2..4``."""
    return _range(text, _count, "a number (8), a lower bound (8+) or a range (2..4)")


def parse_cpus(text: str) -> Range:
    """CPUs in thousandths of a core: ``16``, ``16+``, ``0.5``, ``2..4``."""
    return _range(text, _cpu_milli, "a number of CPUs (16 or 0.5), a lower bound (16+) or a range (2..4)")


def parse_memory(text: str) -> Range:
    """Bytes: ``128GB``, ``128GB+``, ``64GB..128GB``. ``GB`` is 10^9 bytes, ``GiB`` 2^30."""
    return _range(text, parse_bytes, "a size (128GB), a lower bound (128GB+) or a range (64GB..128GB)")


def parse_bytes(text: str) -> int:
    """Bytes: ``128GB``, ``512MiB``, ``1.5TB``."""
    text = text.strip()
    found = _NUMBER_AND_UNIT.fullmatch(text)
    if found is None:
        raise InvalidSpec(f"{_quoted(text)} is not a size.", hint="Write a number and a unit, such as 128GB or 512MiB.")
    number, unit = found.groups()
    if not unit:
        raise InvalidSpec(f"{_quoted(text)} has no unit.", hint=f"Did you mean {number}GB?")
    if unit not in BYTE_UNITS:
        raise InvalidSpec(
            f"{_quoted(text)}: unit {_quoted(unit)} is not known; did you mean {_nearest_byte_unit(unit)}?",
            hint=f"The units are {', '.join(BYTE_UNITS)}.",
        )
    return _whole(text, Fraction(number) * BYTE_UNITS[unit], "bytes")


def parse_duration(text: str) -> float:
    """Seconds: ``30s``, ``10m``, ``12h``, ``1h30m``, ``2d``, ``500ms``. Units come in falling order, each once."""
    text = text.strip()
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        if _NUMBER.fullmatch(text):
            raise InvalidSpec(f"{_quoted(text)} has no unit.", hint=f"Did you mean {text}s?")
        raise InvalidSpec(f"{_quoted(text)} is not a duration.", hint="Write it as 30s, 10m, 12h, 2d or 1h30m.")
    total, smallest = Fraction(0), None
    for number, unit in parts:
        size = DURATION_UNITS.get(unit)
        if size is None:
            raise InvalidSpec(
                f"{_quoted(text)}: unit {_quoted(unit)} is not known; did you mean {_nearest_duration_unit(unit)}?",
                hint="The units are ms, s, m, h and d.",
            )
        if smallest is not None and size >= smallest:
            raise InvalidSpec(f"{_quoted(text)} is not a duration.", hint="Write the larger unit first: 1h30m.")
        total, smallest = total + Fraction(number) * size, size
    if total > LARGEST:
        raise InvalidSpec(f"{_quoted(text)} is too long.", hint="Write a duration of at most some years.")
    if (total * 1000).denominator != 1:
        raise InvalidSpec(f"{_quoted(text)} is finer than a millisecond.", hint="Write whole milliseconds: 500ms.")
    return float(total)


def parse_accelerators(text: str) -> AcceleratorRequest:
    """``H100`` (one), ``H100:8``, ``H100:8+``, ``H100:2..4``, ``H100:0.5`` (half of one), ``8`` (of any kind), and with
    the least device memory between kind and count: ``A100:80GB:2``."""
    text = text.strip()
    if "|" in text or "," in text:
        raise InvalidSpec(
            f"{_quoted(text)} names more than one kind of accelerators.",
            hint="Write one kind, such as H100:8, or only the number for any kind.",
        )
    parts = [part.strip() for part in text.split(":")]
    kind = parts.pop(0) if _KIND.fullmatch(parts[0]) else ANY_KIND
    memory_bytes = parse_bytes(parts.pop(0)) if parts and re.match("[0-9].*[A-Za-z]", parts[0]) else None
    count = parts.pop(0) if parts else ("1" if kind != ANY_KIND or memory_bytes is not None else "")
    if parts or not count:
        raise InvalidSpec(
            f"{_quoted(text)} does not name accelerators.",
            hint="Write kind and number, such as H100:8, H100:0.5 or A100:80GB:2; or only the number for any kind.",
        )
    return _accelerators(text, kind, memory_bytes, count)


def parse_accelerator_choice(text: str) -> tuple[AcceleratorRequest, ...]:
    """``H100:8 | A100:16``: alternatives, the best liked first. Each as :func:`parse_accelerators` reads it."""
    if "," in text:
        raise InvalidSpec(
            f"{_quoted(text)}: different accelerators at the same time cannot be asked for.",
            hint=f"For a choice between them write {' | '.join(part.strip() for part in text.split(','))}.",
        )
    found = tuple(parse_accelerators(part) for part in text.split("|"))
    if len(set(found)) < len(found):
        raise InvalidSpec(f"{_quoted(text)} names the same accelerators twice.", hint="Write each alternative once.")
    return found


def parse_power(text: str) -> int:
    """Watts: ``700W``, ``3kW``, ``1.2MW``."""
    text = text.strip()
    found = _NUMBER_AND_UNIT.fullmatch(text)
    if found is None or found[2] not in POWER_UNITS:
        number = found[1] if found is not None else "700"
        raise InvalidSpec(f"{_quoted(text)} is not a power.", hint=f"Write watts: {number}W, {number}kW or {number}MW.")
    return _whole(text, Fraction(found[1]) * POWER_UNITS[found[2]], "watts")


def print_power(power_w: int) -> str:
    """``3kW``, ``700W``: what :func:`parse_power` reads back."""
    for unit, size in reversed(POWER_UNITS.items()):
        if power_w and power_w % size == 0:
            return f"{power_w // size}{unit}"
    return f"{power_w}W"


def _accelerators(text: str, kind: str, memory_bytes: int | None, count: str) -> AcceleratorRequest:
    if not _NUMBER.fullmatch(count) or Fraction(count).denominator == 1:
        return AcceleratorRequest(kind=kind, count=parse_count_range(count), memory_bytes=memory_bytes)
    share = Fraction(count)
    if share > 1:
        raise InvalidSpec(
            f"{_quoted(text)}: only one accelerator can be shared; {count} is more than one.",
            hint=f"Ask for a share below 1, such as 0.5, or for whole ones, such as {int(share) + 1}.",
        )
    milli = _whole(text, share * WHOLE_MILLI, "thousandths of an accelerator")
    if milli == 0:
        raise InvalidSpec(f"{_quoted(text)} asks for nothing.", hint="Ask for at least 0.001.")
    return AcceleratorRequest(kind=kind, count=Range.exactly(1), milli=milli, memory_bytes=memory_bytes)


def print_cpus(milli: int) -> str:
    """``16``, ``0.5``: what :func:`parse_cpus` reads back."""
    return _decimal(Fraction(milli, WHOLE_MILLI))


def print_bytes(size_bytes: int) -> str:
    """The largest unit that gives a whole number: ``128GB``, ``512MiB``. :func:`parse_bytes` reads it back."""
    for units in (_DECIMAL, _BINARY):
        for unit, size in reversed(units.items()):
            if size > 1 and size_bytes >= size and size_bytes % size == 0:
                return f"{size_bytes // size}{unit}"
    return f"{size_bytes}B"


def about_bytes(size_bytes: int) -> str:
    """For people: at most one decimal, ``263.9GB``."""
    for unit, size in reversed(_DECIMAL.items()):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f}".removesuffix(".0") + unit
    return f"{size_bytes}B"


def print_duration(seconds: float) -> str:
    """``1h30m``, ``500ms``. To the millisecond; :func:`parse_duration` reads it back."""
    if not isfinite(seconds) or seconds <= 0:
        return f"{seconds:g}s"
    left_ms = round(seconds * 1000)
    text = ""
    for unit, size in reversed(DURATION_UNITS.items()):
        count, left_ms = divmod(left_ms, int(size * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def print_cpu_range(cpus: Range) -> str:
    return _print_range(cpus, print_cpus)


def print_memory_range(memory: Range) -> str:
    return _print_range(memory, print_bytes)


def print_accelerators(wanted: AcceleratorRequest) -> str:
    """``H100:8``: what :func:`parse_accelerators` reads back."""
    count = print_cpus(wanted.milli) if wanted.milli < WHOLE_MILLI else str(wanted.count)
    memory = [] if wanted.memory_bytes is None else [print_bytes(wanted.memory_bytes)]
    kind = [] if wanted.kind == ANY_KIND else [wanted.kind]
    return ":".join([*kind, *memory, count])


def print_accelerator_choice(wanted: tuple[AcceleratorRequest, ...]) -> str:
    """``H100:8 | A100:16``: what :func:`parse_accelerator_choice` reads back."""
    return " | ".join(print_accelerators(each) for each in wanted)


def _range(text: str, one: _Parse, expected: str) -> Range:
    text = text.strip()
    if text.endswith("+"):
        return Range.at_least(one(text[:-1]))
    low, dots, high = text.partition("..")
    if not dots:
        return Range.exactly(one(text))
    if not low or not high:
        raise InvalidSpec(f"{_quoted(text)} is not a range.", hint=f"Write {expected}.")
    minimum, maximum = one(low), one(high)
    if minimum > maximum:
        raise InvalidSpec(f"{_quoted(text)} is an empty range.", hint=f"Did you mean {high}..{low}?")
    return Range(minimum=minimum, maximum=maximum)


def _count(text: str) -> int:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise InvalidSpec(f"{_quoted(text)} is not a number.", hint="Write 8, 8+ or 2..4.")
    value = _whole(text, Fraction(text), "a whole number")
    if value < 1:
        raise InvalidSpec(f"{_quoted(text)} is not a number from 1 on.", hint="Leave the key out for none.")
    return value


def _cpu_milli(text: str) -> int:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise InvalidSpec(f"{_quoted(text)} is not a number of CPUs.", hint="Write 16, 16+, 0.5 or 2..4.")
    return _whole(text, Fraction(text) * WHOLE_MILLI, "thousandths of a CPU")


def _whole(text: str, value: Fraction, what: str) -> int:
    if value > LARGEST:
        raise InvalidSpec(f"{_quoted(text)} is too large.", hint="Write a smaller number.")
    if value.denominator != 1:
        raise InvalidSpec(f"{_quoted(text)} is too fine: not a whole number of {what}.", hint="Write it rounded.")
    return int(value)


def _nearest_byte_unit(unit: str) -> str:
    lower = unit.lower()
    for known in BYTE_UNITS:
        if known.lower() == lower or (known in _BINARY and known.lower()[:-1] == lower):
            return known
    first = lower[0].upper()
    return next((known for known in _DECIMAL if known[0] == first), "GB")


def _nearest_duration_unit(unit: str) -> str:
    lower = unit.lower()
    if lower in DURATION_UNITS:
        return lower
    near = get_close_matches(lower, _DURATION_WORDS, n=1)
    if near:
        return _DURATION_WORDS[near[0]]
    return lower[0] if lower[0] in DURATION_UNITS else "s"


def _print_range(values: Range, one: _Print) -> str:
    if values.maximum is None:
        return f"{one(values.minimum)}+"
    if values.maximum == values.minimum:
        return one(values.minimum)
    return f"{one(values.minimum)}..{one(values.maximum)}"


def _decimal(value: Fraction) -> str:
    whole, rest = divmod(value, 1)
    if not rest:
        return str(whole)
    return f"{whole}.{int(rest * 1000):03d}".rstrip("0")


def _quoted(text: str) -> str:
    """The text as it was written, cut where it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
