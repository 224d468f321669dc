"""The live screen: drawn anew every second, worked by single keys."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from ampacity.model.errors import AmpacityError, NotRunning

from .gather import Scene
from .screen import Screen, Sort

REFRESH_S = 1.0
SORT_KEYS = {sort.value[0]: sort for sort in Sort}
ENDS = ("q", "Q", "\x03", "\x1b")


def watch(look: Callable[[], Scene], sort: Sort, console: Console) -> None:
    """Show what ``look`` gives until ``q`` is pressed. A control plane that is gone for a while is waited for.

    Raises what the first look raises.
    """
    scene, problem = look(), ""
    with (
        _single_keys() as keys,
        Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as screen,
    ):
        while True:
            shown = Screen(scene, sort=sort, keys=True, height=console.size.height, problem=problem)
            screen.update(shown, refresh=True)
            key = keys(REFRESH_S)
            if key in ENDS:
                return
            if key in SORT_KEYS:
                sort = SORT_KEYS[key]
                continue
            try:
                scene, problem = look(), ""
            except NotRunning:
                problem = "The control plane does not answer: this is what was last seen."
            except AmpacityError as error:
                problem = str(error)


@contextmanager
def _single_keys() -> Iterator[Callable[[float], str]]:
    """Reads keys without Enter; the terminal is given back as it was. Where stdin is no terminal there are no keys."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield lambda timeout_s: _key(fd, timeout_s)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _key(fd: int, timeout_s: float) -> str:
    """The key that was pressed, or nothing when the time is up. Sequences (of arrows and the like) are no keys."""
    ready, _, _ = select.select([fd], [], [], timeout_s)
    pressed = os.read(fd, 16).decode(errors="replace") if ready else ""
    return pressed if len(pressed) == 1 else ""


def _sleep(timeout_s: float) -> str:
    time.sleep(timeout_s)
    return ""
