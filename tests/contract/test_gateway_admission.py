"""The real gateway under limits and overload: who is let in, held, cut short or refused, and what each is told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from gateway_process import ASK, Gateway, eventually, post, running_gateway

from ampacity.model.access import ApiKey, Limits, ProjectLimits, digest_of, key_id
from ampacity.model.ids import Project
from ampacity.model.service_terms import BrownOut, Overload
from engine_double import WORDS, EngineDouble, Seen

TEXT = "".join(WORDS)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    with EngineDouble() as found:
        yield found


def key(name: str, project: str = "default", **limits: Any) -> ApiKey:
    digest = digest_of(name)
    return ApiKey(id=key_id(digest), name=name, digest=digest, project=Project(project), limits=Limits(**limits))


def test_limits_of_a_key_and_of_its_project(gateway: Gateway, engine: EngineDouble) -> None:
    keys = (
        key("often", requests_per_minute=3),
        key("much", tokens_per_minute=100),
        key("free", "p"),
        key("other", "p"),
    )
    together = ProjectLimits(project=Project("p"), limits=Limits(concurrency=1))
    gateway.route({"tiny": [engine]}, keys=keys, limits=(together,))
    assert [gateway.ask(key="often").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = gateway.ask(key="often")
    assert refused.json()["error"] == {
        "message": "The key 'often' may make 3 requests a minute, and has made them.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert gateway.ask(key="much", prompt="x" * 4000).status_code == 200
    assert "100 tokens a minute" in gateway.ask(key="much").json()["error"]["message"]
    client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="other", max_retries=0)
    with client.completions.create(model="tiny", prompt="x", stream=True, extra_body={"pause_s": 5}) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="The project 'p' may have 1 requests"):
            client.completions.create(model="tiny", prompt="x")
        assert gateway.ask(key="free").status_code == 429
    eventually(lambda: gateway.ask(key="free").status_code == 200)


def test_a_replica_takes_what_it_can_and_the_others_stand_in_line(gateway: Gateway, engine: EngineDouble) -> None:
    gateway.route({"tiny": [engine]}, concurrency=1)
    most, now, lock = 0, 0, threading.Lock()
    serve = engine._complete

    async def counted(*args: Any) -> bool:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        done = await serve(*args)
        now -= 1
        return done

    engine._complete = counted  # type: ignore[method-assign]
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda _: gateway.ask(pause_s=0.02), range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    assert most == 1


def test_who_comes_too_late_is_told_at_once_and_the_engine_hears_nothing(
    gateway: Gateway, engine: EngineDouble
) -> None:
    gateway.route({"tiny": [engine]}, concurrency=1)
    for _ in range(6):
        assert gateway.ask(pause_s=0.2, timeout=30).status_code == 200
    assert all(b"timeout" not in seen.body for seen in heard(engine))
    before = len(heard(engine))
    with ThreadPoolExecutor(8) as clients:
        slow = [clients.submit(gateway.ask, pause_s=0.2) for _ in range(6)]
        eventually(lambda: len(heard(engine)) > before)
        for refused in (gateway.ask(timeout=0.05), gateway.ask(headers={"x-request-timeout": "0.05"})):
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "deadline_exceeded")
            assert int(refused.headers["retry-after"]) >= 1
        assert [each.result().status_code for each in slow] == [200] * 6
    assert len(heard(engine)) == before + 6
    for wrong in ("soon", "-1", "0"):
        answer = gateway.ask(headers={"timeout": wrong})
        assert (answer.status_code, "no number of seconds" in answer.json()["error"]["message"]) == (400, True)
    assert gateway.ask(timeout="x").status_code == 400


def test_whose_time_is_up_in_line_is_told_then_and_who_leaves_the_line_is_forgotten(
    gateway: Gateway, engine: EngineDouble
) -> None:
    gateway.route({"tiny": [engine]}, concurrency=1, overload=Overload(max_wait_s=0.5))
    endless = b'{"model": "tiny", "stream": true, "pause_s": 60}'
    with socket.create_connection(("127.0.0.1", gateway.port)) as next_one:
        with socket.create_connection(("127.0.0.1", gateway.port)) as blocking:
            blocking.sendall(post(endless))
            eventually(lambda: len(heard(engine)) == 1)
            next_one.sendall(post(ASK))
            refused = gateway.ask()
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "deadline_exceeded")
            assert "stood in line for 'tiny'" in refused.json()["error"]["message"]
            with socket.create_connection(("127.0.0.1", gateway.port)) as leaving:
                leaving.sendall(post(b'{"model": "tiny", "prompt": "left"}'))
        assert next_one.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert gateway.ask().status_code == 200
    assert len(heard(engine)) == 3
    assert not any(b"left" in seen.body for seen in heard(engine))


def heard(engine: EngineDouble) -> list[Seen]:
    """What it was asked, without the probes."""
    return [seen for seen in engine.seen if seen.method == "POST"]


def test_in_a_brown_out_answers_are_cut_or_come_from_another_model(gateway: Gateway, tmp_path: Path) -> None:
    with EngineDouble("big") as big, EngineDouble("small") as small:
        brown_out = BrownOut(after_s=0.05, max_tokens=7, model="small")
        for overload, name, note in (
            (Overload(brown_out=brown_out), "small", "model=small, max_tokens=7"),
            (Overload(brown_out=BrownOut(after_s=0.05, max_tokens=7)), "big", "max_tokens=7"),
        ):
            gateway.route({"big": [big], "small": [small]}, concurrency=1, overload=overload)
            for _ in range(6):
                answer = gateway.ask("big", pause_s=0.2)
                assert "x-ampacity-brown-out" not in answer.headers
            before = len(heard(big))
            slow = json.dumps({"model": "big", "prompt": "x", "pause_s": 0.2}).encode()
            with (
                socket.create_connection(("127.0.0.1", gateway.port)) as first,
                socket.create_connection(("127.0.0.1", gateway.port)) as second,
            ):
                for each in (first, second):
                    each.sendall(post(slow))
                eventually(lambda before=before: len(heard(big)) > before)
                answer = gateway.ask("big", max_tokens=100)
                assert (answer.status_code, answer.json()["id"]) == (200, name)
                assert answer.headers["x-ampacity-brown-out"] == note
                assert all(each.recv(65536).startswith(b"HTTP/1.1 200 ") for each in (first, second))
        assert all(b'"max_tokens":7' in seen.body for seen in (heard(small)[-1], heard(big)[-1]))
