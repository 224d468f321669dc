"""Times, sizes and numbers for people: two significant parts, no more."""

from __future__ import annotations

import time

from ampacity.model.quantities import about_bytes, print_cpus

__all__ = ["about_bytes", "about_count", "about_duration", "clock", "files_text", "loss_text", "print_cpus"]

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def about_duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``3m 5s``, ``2h 10m``, ``4d 3h``."""
    if seconds < 0:
        return "0s"
    if seconds < 9.95:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    for index, (size, unit) in enumerate(_STEPS):
        count, rest = divmod(whole, size)
        if count:
            below = _STEPS[index + 1 : index + 2]
            smaller = [f"{rest // size_below}{unit_below}" for size_below, unit_below in below if rest // size_below]
            return " ".join([f"{count}{unit}", *smaller])
    return "0s"


def about_count(count: int) -> str:
    """``950``, ``12.3K``, ``494M``, ``7.1B``."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            value = count / size
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + unit
    return str(count)


def files_text(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def clock(at: float, *, now: float) -> str:
    """Local time: ``14:03:22`` today, else with the date."""
    then, today = time.localtime(at), time.localtime(now)
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", then)


def loss_text(loss: float) -> str:
    return f"{loss:.4g}"
