"""The gateway's side of metering: a bounded buffer, emptied into the spool by a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path

from ampacity.model.request_usage import RequestRecord

from .meter_board import MeterBoard
from .spool import Line, SpoolWriter

log = logging.getLogger(__name__)

MOST_WAITING = 100_000
EVERY_S = 0.5
LOT = 5_000


class Recorder:
    """``record`` costs the hot path an append, and never waits. What finds no room is lost, counted, and said.

    ``lost``: so many since the start. ``left_out``: so many copies for shadows that were not made.
    """

    def __init__(self, folder: Path, *, most_waiting: int = MOST_WAITING, board: MeterBoard | None = None) -> None:
        self._board = board
        self._writer = SpoolWriter(folder)
        self._most_waiting = most_waiting
        self._waiting: deque[RequestRecord] = deque()
        self._untold = 0
        self._counting = threading.Lock()
        self.lost = self.left_out = 0
        self._trouble = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metering", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def record(self, record: RequestRecord) -> None:
        if len(self._waiting) >= self._most_waiting:
            self._lose(1)
        else:
            self._waiting.append(record)

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """Empty the buffer; what cannot be written now stays for the next time, as far as there is room."""
        while self._waiting or self._untold:
            lot = [self._waiting.popleft() for _ in range(min(LOT, len(self._waiting)))]
            untold = self._untold
            lines = [Line(record=record) for record in lot]
            if untold:
                lines.insert(0, Line(lost=untold))
            if not self._write(lines):
                self._waiting.extendleft(reversed(lot))
                while len(self._waiting) > self._most_waiting:
                    self._waiting.pop()
                    self._lose(1)
                return
            with self._counting:
                self._untold -= untold
            self._meter(lot)
        try:
            self._writer.close_file()
        except OSError as error:
            self._complain(str(error))

    def _meter(self, lot: list[RequestRecord]) -> None:
        if self._board is None:
            return
        try:
            self._board.observe(lot, self.lost, self.left_out)
        except OSError as error:
            self._complain(str(error))

    def _write(self, lines: list[Line]) -> bool:
        try:
            written = self._writer.write(lines)
        except OSError as error:
            self._complain(str(error))
            return False
        self._complain("" if written else "the spool is full: the control plane has booked nothing for long")
        return written

    def _lose(self, count: int) -> None:
        with self._counting:
            self.lost += count
            self._untold += count

    def _complain(self, trouble: str) -> None:
        """Once for each trouble."""
        if trouble and trouble != self._trouble:
            log.warning("records of usage cannot be written for now: %s", trouble)
        self._trouble = trouble
