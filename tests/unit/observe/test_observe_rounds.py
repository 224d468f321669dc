"""The thread that sends round by round: it goes on after a round that failed, and its end waits for nobody for long."""

from __future__ import annotations

import logging
import threading

import pytest

from ampacity.observe.telemetry import rounds
from ampacity.observe.telemetry.rounds import Rounds

LIMIT_S = 30.0


def test_what_is_there_at_the_end_is_sent_in_a_last_round_before_the_connection_goes() -> None:
    told: list[object] = []
    begun = threading.Event()

    def send(last: bool) -> None:
        told.append(last)
        begun.set()

    sending = Rounds("sending", send, lambda: told.append("hung up"))
    sending.start()
    assert begun.wait(LIMIT_S)
    sending.close()
    assert told[0] is False
    assert told[-2:] == [True, "hung up"]


def test_a_round_that_fails_is_logged_and_the_next_one_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rounds, "EVERY_S", 0.001)
    count = 0
    again = threading.Event()

    def send(last: bool) -> None:
        nonlocal count
        count += 1
        if count == 1:
            raise RuntimeError("a fault of ours")
        again.set()

    sending = Rounds("sending", send, lambda: None)
    sending.start()
    assert again.wait(LIMIT_S)
    sending.close()
    assert "a round of sending failed" in caplog.text
    assert "RuntimeError: a fault of ours" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_round_that_hangs_is_ended_by_hanging_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LAST_WORDS_S", 0.05)
    begun, hung_up, ended = threading.Event(), threading.Event(), threading.Event()

    def send(last: bool) -> None:
        begun.set()
        assert hung_up.wait(LIMIT_S)
        if last:
            ended.set()

    sending = Rounds("sending", send, hung_up.set)
    sending.start()
    assert begun.wait(LIMIT_S)
    sending.close()
    assert hung_up.is_set()
    assert ended.wait(LIMIT_S)


def test_one_that_never_began_is_closed_at_once_and_twice() -> None:
    closed: list[str] = []
    sending = Rounds("sending", lambda last: None, lambda: closed.append("hung up"))
    sending.close()
    sending.close()
    assert closed == ["hung up", "hung up"]
