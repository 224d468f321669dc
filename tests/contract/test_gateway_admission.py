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

from ampacity.model.access import ApiKey, Budget, Limits, ProjectLimits, digest_of, key_id
from ampacity.model.ids import Project
from ampacity.model.request_usage import RequestRecord
from ampacity.model.service_terms import BrownOut, Overload, Price
from ampacity.serving.metering import Spool
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
        key("much", tokens_per_minute=8),
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
    assert gateway.ask(key="much").status_code == 200
    assert "8 tokens a minute" in gateway.ask(key="much").json()["error"]["message"]
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


def test_what_was_used_is_written_down_and_a_budget_is_spent(gateway: Gateway, engine: EngineDouble) -> None:
    rich, poor = key("rich"), key("poor", budget=Budget(amount=0.00003))
    gateway.route({"tiny": [engine]}, keys=(rich, poor), price=Price(input=1.0, output=2.0))
    spool = Spool(gateway.table.parent / "usage")
    assert gateway.ask(key="rich").status_code == 200
    client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="rich", max_retries=0)
    assert len(list(client.completions.create(model="tiny", prompt="x" * 400, stream=True))) == len(WORDS)
    with EngineDouble(fault="error") as unwell:
        assert [gateway.ask(key="poor").status_code for _ in range(5)] == [200, 200, 200, 200, 429]
        assert gateway.ask(key="poor").json()["error"]["code"] == "insufficient_quota"
        gateway.route({"tiny": [unwell]}, keys=(rich, poor))
        assert gateway.ask(key="rich").status_code == 500
    found: list[RequestRecord] = []

    def collect() -> bool:
        for lot in spool.lots():
            found.extend(record for record in lot.records if record.key in (rich.id, poor.id))
            spool.forget(lot)
        return len(found) >= 7

    eventually(collect)
    whole, stream, *of_poor, failed = found
    assert (whole.key, whole.model, whole.status, whole.counted) == (rich.id, "tiny", 200, True)
    assert (whole.input_tokens, whole.output_tokens, whole.ttft_s) == (1, 4, None)
    assert whole.money == pytest.approx(9e-6)
    assert whole.replica == f"{engine.name}-{engine.port}"
    assert (stream.counted, stream.output_tokens) == (False, len(WORDS) + 1)
    assert 90 <= stream.input_tokens <= 110
    assert stream.ttft_s is not None
    assert 0 < stream.ttft_s <= stream.total_s
    assert [each.key for each in of_poor] == [poor.id] * 4
    assert (failed.status, failed.input_tokens, failed.output_tokens, failed.money) == (500, 0, 0, 0.0)
