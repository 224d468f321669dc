"""The real gateway process before engines that fail in every way: clients see answers, or clear refusals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from gateway_process import ASK, Gateway, eventually, post, running_gateway
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampacity.model.access import ApiKey, digest_of, key_id
from engine_double import WORDS, EngineDouble

TEXT = "".join(WORDS)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    with EngineDouble() as found:
        yield found


@pytest.fixture
def tiny(gateway: Gateway, engine: EngineDouble) -> Gateway:
    gateway.route({"tiny": [engine]})
    return gateway


def sdk(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="none", max_retries=0)


def test_the_official_client_in_all_its_ways(tiny: Gateway) -> None:
    client = sdk(tiny)
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.completions.create(model="tiny", prompt="x").choices[0].text == TEXT
    messages: Any = [{"role": "user", "content": "x"}]
    assert client.chat.completions.create(model="tiny", messages=messages).choices[0].message.content == TEXT
    pieces = [chunk.choices[0].text for chunk in client.completions.create(model="tiny", prompt="x", stream=True)]
    assert pieces == WORDS
    deltas = client.chat.completions.create(model="tiny", messages=messages, stream=True)
    assert [chunk.choices[0].delta.content for chunk in deltas] == WORDS
    assert client.embeddings.create(model="tiny", input="x", encoding_format="float").data[0].embedding == [0.5, 0.25]


def test_the_engine_hears_its_own_name_for_the_model(gateway: Gateway, engine: EngineDouble) -> None:
    gateway.route({"tiny": [engine]}, upstream="/models/abc")
    body = {"model": "tiny", "prompt": "ä\u0000\n", "n": 1e3, "deep": {"model": "tiny"}}
    assert httpx.post(gateway.url + "/v1/completions?x=1", json=body, headers={"x-request-id": "r1"}).status_code == 200
    seen = engine.seen[-1]
    assert json.loads(seen.body) == {**body, "model": "/models/abc"}
    assert (seen.path, seen.headers["x-request-id"]) == ("/v1/completions?x=1", "r1")
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("fault", ["refuse_after_head", "garbage", "half_body"])
def test_a_replica_that_dies_before_its_answer_is_whole_costs_nothing(gateway: Gateway, fault: str) -> None:
    with EngineDouble("bad", fault=fault) as bad, EngineDouble("good") as good:
        gateway.route({"tiny": [bad, good]})
        answers = [gateway.ask() for _ in range(6)]
        assert [answer.json()["id"] for answer in answers] == ["good"] * 6
        assert bad.seen, "the bad one was tried"


def test_a_killed_replica_under_load_costs_no_request(gateway: Gateway) -> None:
    with EngineDouble("a") as first, EngineDouble("b") as second:
        gateway.route({"tiny": [first, second]})
        codes: list[int] = []
        clients = [
            threading.Thread(target=lambda: codes.extend(gateway.ask().status_code for _ in range(50)))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        eventually(lambda: len(codes) > 20 or not any(client.is_alive() for client in clients))
        first.stop()
        for client in clients:
            client.join()
        assert codes == [200] * 200


def test_a_kept_connection_that_the_engine_closed_is_not_held_against_it(gateway: Gateway) -> None:
    with EngineDouble(close_after=True) as only:
        gateway.route({"tiny": [only]})
        assert [gateway.ask().status_code for _ in range(5)] == [200] * 5


def test_a_stream_that_cannot_be_continued_ends_with_an_error_and_a_cut(gateway: Gateway) -> None:
    with EngineDouble(fault="half_stream") as bad:
        gateway.route({"tiny": [bad]})
        answer = gateway.raw(post(b'{"model": "tiny", "stream": true, "prompt": "x", "n": 2}'))
        assert b"one " in answer
        assert b'"code":"replica_lost"' in answer
        assert b"several choices" in answer
        assert not answer.endswith(b"0\r\n\r\n")
        with pytest.raises(openai.APIError, match="The replica was lost"):
            list(sdk(gateway).completions.create(model="tiny", prompt="x", stream=True, n=2))


@pytest.mark.parametrize("fault", ["half_stream", "freeze"])
def test_a_stream_whose_engine_dies_goes_on_on_another(gateway: Gateway, fault: str) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    options: Any = {"include_usage": True}
    with EngineDouble("bad", fault=fault) as bad, EngineDouble("good") as good:
        gateway.route({"tiny": [bad, good]})
        client = sdk(gateway)
        while not bad.seen:  # the first engine that is asked may be either
            pieces = list(client.completions.create(model="tiny", prompt="x", stream=True, stream_options=options))
            assert [choice.text for piece in pieces for choice in piece.choices] == WORDS
        usage = pieces[-1].usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1, 4, 5)
        assert getattr(usage, "resumed", None) == 1
        assert json.loads(good.seen[-1].body)["prompt"] == "x" + "".join(WORDS[:2])
        if fault == "freeze":
            return
        gateway.route({"tiny": []})
        gateway.route({"tiny": [bad, good]})
        bad.seen.clear()
        while not bad.seen:
            deltas = list(client.chat.completions.create(model="tiny", messages=messages, stream=True, max_tokens=9))
            assert [delta.choices[0].delta.content for delta in deltas] == WORDS
        rest = json.loads(good.seen[-1].body)
        assert rest["messages"][-1] == {"role": "assistant", "content": "".join(WORDS[:2])}
        assert (rest["continue_final_message"], rest["max_tokens"]) == (True, 7)


def test_a_request_that_ends_every_engine_is_given_up(gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        engines = [stack.enter_context(EngineDouble(str(n), fault="refuse_after_head")) for n in range(5)]
        gateway.route({"tiny": engines})
        answer = gateway.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "replica_lost")
        assert sum(len(engine.seen) for engine in engines) == 3


def test_a_slow_first_token_is_hedged(gateway: Gateway) -> None:
    with EngineDouble("slow", fault="hang") as slow, EngineDouble("quick") as quick:
        gateway.route({"tiny": [slow, quick]}, hedge_after_s=0.2)
        while not slow.seen:
            assert gateway.ask().json()["id"] == "quick"
        eventually(lambda: slow.gone == len(slow.seen))
        pieces = sdk(gateway).completions.create(model="tiny", prompt="x", stream=True)
        assert [piece.choices[0].text for piece in pieces] == WORDS


def test_an_engines_own_error_is_passed_on(gateway: Gateway) -> None:
    with EngineDouble(fault="error") as unwell:
        gateway.route({"tiny": [unwell]})
        answer = gateway.ask()
        assert (answer.status_code, answer.json()["error"]["message"]) == (500, "the engine is unwell")
        assert len(unwell.seen) == 1


def test_a_request_waits_for_a_replica_that_is_about_to_come(gateway: Gateway, engine: EngineDouble) -> None:
    gateway.route({"tiny": []})
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.ask().status_code))
    asking.start()
    time.sleep(0.3)
    gateway.route({"tiny": [engine]})
    asking.join()
    assert answers == [200]


def test_without_any_replica_the_refusal_says_when_to_come_again(gateway: Gateway) -> None:
    gateway.route({"tiny": []})
    answer = gateway.ask()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"]["message"] == "No replica of 'tiny' is ready."


def test_an_unknown_model_is_refused_with_near_names(tiny: Gateway) -> None:
    answer = tiny.ask("tinny")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": "The model 'tinny' is not served here. Did you mean tiny?",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    with pytest.raises(openai.NotFoundError):
        sdk(tiny).completions.create(model="other", prompt="x")


def test_a_closed_endpoint_lets_in_keys_that_work_and_shows_each_its_models(
    gateway: Gateway, engine: EngineDouble
) -> None:
    digests = {name: digest_of(name) for name in ("all", "narrow", "old")}
    keys = {name: ApiKey(id=key_id(digest), name=name, digest=digest) for name, digest in digests.items()}
    keys["narrow"] = replace(keys["narrow"], models=("other",))
    keys["old"] = replace(keys["old"], expires_at=1.0)
    gateway.route({"tiny": [engine], "other": [engine]}, keys=tuple(keys.values()))

    def client(key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=gateway.url + "/v1", api_key=key, max_retries=0)

    assert client("all").completions.create(model="tiny", prompt="x").choices[0].text == TEXT
    assert [model.id for model in client("narrow").models.list()] == ["other"]
    assert client("narrow").completions.create(model="other", prompt="x").choices[0].text == TEXT
    with pytest.raises(openai.PermissionDeniedError, match="does not open the model 'tiny'"):
        client("narrow").completions.create(model="tiny", prompt="x")
    for wrong, words in (("wrong", "not known"), ("old", "has expired")):
        with pytest.raises(openai.AuthenticationError, match=words) as refused:
            client(wrong).completions.create(model="tiny", prompt="x")
        assert refused.value.code == "invalid_api_key"
    answer = gateway.ask()
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "asks for an API key" in answer.json()["error"]["message"]
    assert gateway.try_health() == 200
    assert all("authorization" not in seen.headers for seen in engine.seen)


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (post(b"{"), 400, b"not a JSON object"),
        (post(b"[]"), 400, b"not a JSON object"),
        (post(b'{"prompt": "x"}'), 400, b"names no 'model'"),
        (post(b'{"model": 7}'), 400, b"is not a string"),
        (post(b'{"model": "\xff\xfe"}'), 400, b"error"),
        (post(b"", b"content-length: 99999999999"), 413, b"larger than"),
        (b"GET /v1/completions HTTP/1.1\r\nhost: x\r\n\r\n", 405, b"POST is"),
        (b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n", 404, b"nothing at /other"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 70_000, 431, b"longer than"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, b"no HTTP/1.1 request"),
        (post(b"", b"content-length: -1"), 400, b"no HTTP/1.1 request"),
        (post(ASK, b"content-length: 32", b"transfer-encoding: chunked"), 400, b"no HTTP/1.1 request"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(tiny: Gateway, request_: bytes, status: int, words: bytes) -> None:
    answer = tiny.raw(request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert words in answer
    assert answer.count(b"\r\nconnection: ") == 1


def test_a_body_in_chunks_and_one_that_asks_to_continue(tiny: Gateway) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (ASK[:7], ASK[7:])) + b"0\r\n\r\n"
    assert tiny.raw(post(chunks, b"transfer-encoding: chunked", b"connection: close")).startswith(b"HTTP/1.1 200 ")
    answer = tiny.raw(post(ASK, b"content-length: %d" % len(ASK), b"expect: 100-continue", b"connection: close"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_a_connection_is_kept_for_the_next_request(tiny: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", tiny.port)) as connection:
        for _ in range(3):
            connection.sendall(post(ASK))
            answer = b""
            while TEXT.encode() not in answer or not answer.rstrip().endswith(b"}"):
                answer += connection.recv(65536)
            assert b"connection: keep-alive" in answer


def test_a_second_request_before_the_first_is_answered_is_not_served(tiny: Gateway, engine: EngineDouble) -> None:
    answer = tiny.raw(post(ASK) + post(ASK))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert len(engine.seen) == 1


def test_a_client_that_leaves_frees_its_engine(gateway: Gateway) -> None:
    with EngineDouble(fault="hang") as engine:
        gateway.route({"tiny": [engine]})
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(post(ASK))
            eventually(lambda: len(engine.seen) == 1)
        eventually(lambda: engine.gone == 1, limit_s=5.0)


def test_a_slow_client_gets_every_byte_of_a_long_stream(tiny: Gateway) -> None:
    body = json.dumps({"model": "tiny", "stream": True, "repeat": 1000}).encode()
    with socket.create_connection(("127.0.0.1", tiny.port)) as connection:
        connection.sendall(post(body, b"content-length: %d" % len(body)))
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(2048)
    assert received.count(b'"text": "four"') == 1000
    assert received.count(b"[DONE]") == 1


def test_a_broken_or_missing_table_leaves_the_last_one_in_force(tiny: Gateway) -> None:
    good = tiny.table.read_bytes()
    for damage in (b"{", b'{"version": 1, "format": 99}', None):
        if damage is None:
            tiny.table.unlink()
        else:
            tiny.table.write_bytes(damage)
        time.sleep(0.25)
        assert tiny.ask().status_code == 200
    tiny.table.write_bytes(good)
    assert "the routing table cannot be read" in tiny.log.read_text()


def test_a_port_in_use_is_one_clear_line(tiny: Gateway) -> None:
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--table", "x", "--port", str(tiny.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: The port {tiny.port} on 127.0.0.1 cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_lets_what_is_under_way_end(tmp_path: Path) -> None:
    with EngineDouble() as engine:
        gateway = Gateway(tmp_path)
        gateway.route({"tiny": [engine]})
        pieces: list[str] = []
        stream = sdk(gateway).completions.create(model="tiny", prompt="x", stream=True, extra_body={"pause_s": 0.1})
        for chunk in stream:
            pieces.append(chunk.choices[0].text)
            if len(pieces) == 1:
                os.kill(gateway.process.pid, signal.SIGTERM)
        assert pieces == WORDS
        assert gateway.process.wait(120) == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 200),
    noise=st.binary(max_size=60),
    headers=st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=3),
)
def test_no_bytes_bring_the_gateway_down(tiny: Gateway, cut: int, noise: bytes, headers: list[bytes]) -> None:
    whole = post(ASK, *headers, b"content-length: %d" % len(ASK))
    with socket.create_connection(("127.0.0.1", tiny.port)) as connection:
        connection.sendall(whole[:cut] + noise + whole[cut:])
    assert tiny.process.poll() is None
