"""Following a stream that is cut: each sealed line once, and an end to patience."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.api.wire import EndReason, StreamLine
from ampacity.client.follow import Patience, follow
from ampacity.model.errors import NotFound, NotRunning
from ampacity.model.view import LogRecord


def record(index: int) -> StreamLine:
    return StreamLine(record=LogRecord(at=0.0, replica=0, epoch=1, member=0, rank=-1, stream="out", text=str(index)))


class Source:
    """``pages`` of lines, cut after so many lines of each opening; the last opening is whole."""

    def __init__(self, pages: list[int], cuts: list[int], *, graceful: bool) -> None:
        self._pages, self._cuts, self._graceful = pages, list(cuts), graceful
        self.renewed = 0
        self.closed = 0

    def open_at(self, cursor: str | None) -> Generator[StreamLine | None, None, None]:
        budget = self._cuts.pop(0) if self._cuts else None
        page = int(cursor or 0)
        try:
            yield None  # a heartbeat: it answers
            for number in range(page, len(self._pages)):
                first = sum(self._pages[:number])
                lines = [record(first + index) for index in range(self._pages[number])]
                for line in [*lines, StreamLine(cursor=str(number + 1))]:
                    if budget == 0:
                        if self._graceful and line.record is None:
                            yield StreamLine(end=EndReason.SHUTDOWN)
                        raise NotRunning("cut")
                    budget = None if budget is None else budget - 1
                    yield line
            yield StreamLine(end=EndReason.ENDED)
        finally:
            self.closed += 1

    def renew(self) -> None:
        self.renewed += 1


@given(
    pages=st.lists(st.integers(0, 5), max_size=6),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    graceful=st.booleans(),
)
def test_each_line_comes_once_wherever_it_is_cut(pages: list[int], cuts: list[int], graceful: bool) -> None:
    source = Source(pages, cuts, graceful=graceful)
    patience = Patience(60.0, sleep=lambda _: None)
    lines = list(follow(source.open_at, renew=source.renew, patience=patience))
    assert [line.record.text for line in lines if line.record] == [str(index) for index in range(sum(pages))]
    assert source.closed == source.renewed + 1


def test_the_first_refusal_is_the_answer() -> None:
    def refuse(cursor: str | None) -> Generator[StreamLine | None, None, None]:
        raise NotRunning("nobody")
        yield

    with pytest.raises(NotRunning, match="nobody"):
        list(follow(refuse, renew=lambda: None, patience=Patience(60.0)))


def test_an_error_in_the_stream_is_raised_as_its_type_after_what_was_sealed() -> None:
    def fail(cursor: str | None) -> Generator[StreamLine | None, None, None]:
        yield record(0)
        yield StreamLine(cursor="1")
        yield record(1)
        yield StreamLine(error={"code": "not_found", "message": "gone", "hint": "", "where": {}})

    lines = follow(fail, renew=lambda: None, patience=Patience(60.0))
    assert next(lines) == record(0)
    with pytest.raises(NotFound, match="gone"):
        next(lines)


def test_patience_pauses_ever_longer_and_ends() -> None:
    now, pauses = [0.0], []

    def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        now[0] += pause_s

    patience = Patience(3.0, sleep=sleep, clock=lambda: now[0])
    while now[0] < 3.0:
        patience.pause(NotRunning("gone"))
    with pytest.raises(NotRunning, match="gone"):
        patience.pause(NotRunning("gone"))
    assert pauses == sorted(pauses[:-1]) + pauses[-1:]
    assert sum(pauses) == pytest.approx(3.0)
    patience.renew()
    patience.pause(NotRunning("again"))
    assert pauses[-1] == pauses[0]
