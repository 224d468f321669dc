"""Prefix routing in the gateway: conversations stay where their beginning is, and nobody waits for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from gateway_process import Gateway, eventually

from engine_double import EngineDouble

CLIENT = httpx.Client(timeout=30, verify=False)  # one for all: each new one takes longer than its request


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    found = Gateway(tmp_path_factory.mktemp("gateway"), "--router", "prefix")
    yield found
    assert found.end() == 0
    assert "Traceback" not in found.log.read_text()


@pytest.fixture
def engines(gateway: Gateway) -> Iterator[list[EngineDouble]]:
    with ExitStack() as stack:
        found = [stack.enter_context(EngineDouble(name=name)) for name in "abc"]
        gateway.route({"tiny": found})
        yield found


def chat(gateway: Gateway, *said: str, pause_s: float = 0.0) -> str:
    """Which engine answered, after a pause."""
    messages = [{"role": "user", "content": each} for each in said]
    body = {"model": "tiny", "messages": messages, "pause_s": pause_s}
    answer = CLIENT.post(gateway.url + "/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def at_once(count: int, ask: Callable[[int], str]) -> list[str]:
    began = threading.Barrier(count)

    def one(number: int) -> str:
        began.wait(30)
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_each_conversation_stays_on_its_engine_and_they_are_spread(
    gateway: Gateway, engines: list[EngineDouble]
) -> None:
    system = "You are a helpful assistant. " * 100
    homes = at_once(12, lambda talk: chat(gateway, system, f"{talk} " * 3000, pause_s=1.5))
    assert set(homes) == {"a", "b", "c"}
    for turn in range(3):
        again = [
            chat(gateway, system, f"{talk} " * 3000, *[f"turn {number}" * 200 for number in range(turn)])
            for talk in range(12)
        ]
        assert again == homes


def test_many_at_once_all_get_their_answer(gateway: Gateway, engines: list[EngineDouble]) -> None:
    assert len(at_once(24, lambda number: chat(gateway, f"{number} " * 4000))) == 24
    assert sum(len(engine.seen) for engine in engines) == 24


def test_an_engine_that_dies_is_survived(gateway: Gateway, engines: list[EngineDouble]) -> None:
    text = "once upon a time " * 500
    home = chat(gateway, text)
    next(engine for engine in engines if engine.name == home).fault = "refuse_after_head"
    assert chat(gateway, text, "and then?") != home


def test_what_engines_report_is_asked_for_and_heeded(gateway: Gateway) -> None:
    """Others keep one of them busy: it is not given what the other one can do as well."""
    with (
        EngineDouble(name="busy", metrics=b"vllm:num_requests_waiting 50\n") as busy,
        EngineDouble(name="free") as free,
    ):
        gateway.route({"tiny": [busy, free]})
        chat(gateway, "a first word, so that it is known what a prefill takes", pause_s=0.05)
        for number in range(6):
            chat(gateway, f"{number} " * 3000, pause_s=0.02)
        eventually(lambda: busy.asked > 0)
        eventually(lambda: {chat(gateway, f"{time.monotonic()} " * 100) for _ in range(5)} == {"free"})
