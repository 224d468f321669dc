"""The prober against a real engine: each change of readiness is told once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ampacity.model.attempt import ReadinessChanged
from ampacity.model.ids import AttemptId, MemberKey
from ampacity.serving.prober import Prober, Target
from engine_double import EngineDouble

KEY = MemberKey(attempt=AttemptId("w.0.1"), member=0, epoch=1)


@pytest.fixture
def prober() -> Iterator[Prober]:
    found = Prober()
    yield found
    found.close()


def told(prober: Prober, count: int) -> list[ReadinessChanged]:
    facts: list[ReadinessChanged] = []
    deadline = time.monotonic() + 120
    while len(facts) < count and time.monotonic() < deadline:
        facts.extend(prober.facts())
        time.sleep(0.01)
    return facts


def target(engine: EngineDouble, path: str = "/health") -> Target:
    return Target(key=KEY, url=engine.url, path=path, interval_s=0.05, failures=2)


def test_ready_gone_and_ready_again_are_told_once_each(prober: Prober) -> None:
    with EngineDouble() as engine:
        prober.watch([target(engine)])
        assert [fact.ready for fact in told(prober, 1)] == [True]
        prober.watch([target(engine)])
    gone = told(prober, 1)
    assert [(fact.ready, fact.key) for fact in gone] == [(False, KEY)]
    assert gone[0].detail
    with EngineDouble(port=engine.port):
        assert [fact.ready for fact in told(prober, 1)] == [True]


def test_an_engine_that_hangs_or_talks_nonsense_is_not_ready(prober: Prober) -> None:
    with EngineDouble(fault="nonsense") as engine:
        prober.watch([target(engine)])
        fact = told(prober, 1)[0]
        assert (fact.ready, "not an HTTP answer" in fact.detail) == (False, True)


def test_one_that_is_no_longer_watched_is_not_told_of(prober: Prober) -> None:
    with EngineDouble() as engine:
        prober.watch([target(engine)])
        assert told(prober, 1)
        prober.watch([])
        time.sleep(0.1)
    assert prober.facts() == ()


def test_watching_anew_tells_the_state_again(prober: Prober) -> None:
    with EngineDouble() as engine:
        for _ in range(2):
            prober.watch([target(engine)])
            assert [fact.ready for fact in told(prober, 1)] == [True]
            prober.watch([])


def test_news_wakes_whoever_asked(prober: Prober) -> None:
    rings: list[int] = []
    prober.on_wake(lambda: rings.append(1))
    with EngineDouble() as engine:
        prober.watch([target(engine)])
        assert told(prober, 1)
    assert rings
