"""Asking engines whether they are well, on a connection of their own: one question a second each."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .engines import Engine
from .health import PROBE_EVERY_S, PROBE_LIMIT_S
from .question import Question
from .upstream import Upstream
from .wheel import Wheel


class Probe(Question):
    """``changed`` is called after each answer, and each that did not come."""

    def __init__(self, engine: Engine, path: str, wheel: Wheel, changed: Callable[[], None]) -> None:
        request = f"GET {path} HTTP/1.1\r\nhost: {engine.host.decode()}\r\nconnection: close\r\n\r\n".encode()
        super().__init__(engine, request, wheel, limit_s=PROBE_LIMIT_S)
        self._changed = changed

    def begin(self) -> None:
        """Ask for the first time a moment from now."""
        self.again(PROBE_EVERY_S)

    def piece(self, upstream: Upstream, data: bytes) -> None:
        """What it says beside its status is of no interest."""

    def answered(self, data: bytes) -> None:
        self._note(200 <= self.status < 300)

    def failed(self, *, refused: bool) -> None:
        self._note(False, refused=refused)

    def _note(self, well: bool, *, refused: bool = False) -> None:
        self.engine.health.probed(well, monotonic(), refused=refused)
        self._changed()
        self.again(PROBE_EVERY_S)
