"""Clients that people have, unchanged: through the gateway they say and hear what they would at the engine itself."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from gateway_process import Gateway, running_gateway
from pydantic import BaseModel

from engine_double import EngineDouble

IMAGE = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 800).decode()
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Ör"}'}}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}


class Weather(BaseModel):
    place: str
    degrees: int


class Talking(EngineDouble):
    """Calls tools, keeps to schemas, sees images, and streams with its usage."""

    async def _answer(self, request: Any, reader: Any, writer: Any) -> bool:
        if request.method == "GET" or not request.path.endswith("/chat/completions"):
            return await super()._answer(request, reader, writer)
        asked = json.loads(request.body)
        if asked.get("stream"):
            data = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in self._events(asked))
            data += b"data: [DONE]\n\n"
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            writer.write(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
            return True
        message, reason = self._message(asked)
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
        data = json.dumps({**_facts(asked, "chat.completion"), "choices": [choice], "usage": USAGE}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(data) + data)
        return True

    @staticmethod
    def _message(asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
        if asked.get("tools"):
            return {"content": None, "tool_calls": [CALL]}, "tool_calls"
        if asked.get("response_format", {}).get("type") == "json_schema":
            return {"content": '{"place": "Ör", "degrees": -3}'}, "stop"
        parts = asked["messages"][-1]["content"]
        images = [part for part in parts if isinstance(part, dict) and part["type"] == "image_url"]
        return {"content": f"I see {len(images)} images of {sum(len(str(each)) for each in images)} letters."}, "stop"

    @staticmethod
    def _events(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        facts = _facts(asked, "chat.completion.chunk")
        if asked.get("tools"):
            deltas: list[dict[str, Any]] = [{"tool_calls": [{"index": 0, **CALL}]}]
        else:
            deltas = [{"content": word} for word in ("Grüß ", "dich", "!")]
        for number, delta in enumerate(deltas):
            reason = "stop" if number == len(deltas) - 1 else None
            yield {**facts, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        if asked.get("stream_options", {}).get("include_usage"):
            yield {**facts, "choices": [], "usage": USAGE}


def _facts(asked: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked["model"]}


@pytest.fixture(scope="module")
def engine() -> Iterator[Talking]:
    with Talking() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, engine: Talking) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        found.route({"tiny": [engine]})
        yield found


ASK: Any = [{"role": "user", "content": "How is the weather? 🌦"}]
SEE: Any = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
    }
]


def chat(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="tiny", messages=more.pop("messages", ASK), **more)


def streamed(client: openai.OpenAI, **more: Any) -> list[Any]:
    return [chunk.model_dump() for chunk in chat(client, stream=True, **more)]


def parsed(client: openai.OpenAI) -> Any:
    found = client.chat.completions.parse(model="tiny", messages=ASK, response_format=Weather)
    assert found.choices[0].message.parsed == Weather(place="Ör", degrees=-3)
    return found.model_dump()


def by_stream_helper(client: openai.OpenAI) -> Any:
    with client.chat.completions.stream(model="tiny", messages=ASK) as stream:
        return [event.type for event in stream], stream.get_final_completion().model_dump()


SAID: dict[str, Callable[[openai.OpenAI], Any]] = {
    "chat": lambda client: chat(client, temperature=0.25, seed=7, stop=["\n"], logit_bias={"5": -1}).model_dump(),
    "chat, streamed": lambda client: streamed(client, stream_options={"include_usage": True}),
    "tools": lambda client: chat(client, tools=[TOOL], tool_choice="auto").model_dump(),
    "tools, streamed": lambda client: streamed(client, tools=[TOOL]),
    "a structured answer": parsed,
    "an image": lambda client: chat(client, messages=SEE).model_dump(),
    "the stream helper": by_stream_helper,
    "a completion": lambda client: client.completions.create(model="tiny", prompt=["a", "b"], echo=True).model_dump(),
    "embeddings": lambda client: client.embeddings.create(
        model="tiny", input=["a"], encoding_format="float"
    ).model_dump(),
    "headers": lambda client: dict(chat(client, extra_headers={"x-mine": "yes"}).model_dump()),
}


@pytest.mark.parametrize("what", SAID)
def test_the_official_client_hears_what_it_would_at_the_engine(gateway: Gateway, engine: Talking, what: str) -> None:
    found = []
    for url in (engine.url, gateway.url):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        answer = SAID[what](client)
        seen = [each for each in engine.seen if each.method == "POST"][-1]
        found.append((answer, seen.path, json.loads(seen.body), seen.headers.get("x-mine")))
    assert found[0] == found[1]


def test_the_official_client_in_its_asynchronous_form(gateway: Gateway) -> None:
    async def talk() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
            many = [client.chat.completions.create(model="tiny", messages=ASK) for _ in range(20)]
            answers = await asyncio.gather(*many)
            assert len({answer.choices[0].message.content for answer in answers}) == 1
            stream = await client.chat.completions.create(model="tiny", messages=ASK, stream=True)
            return [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert asyncio.run(talk()) == ["Grüß ", "dich", "!"]


def test_langchain(gateway: Gateway, engine: Talking) -> None:
    chat_models = pytest.importorskip("langchain_openai", reason="langchain-openai is missing: pip install '.[dev]'")
    model = chat_models.ChatOpenAI(base_url=f"{gateway.url}/v1", api_key="any", model="tiny", max_retries=0)
    assert model.invoke("hello").content == "I see 0 images of 0 letters."
    assert "".join(piece.content for piece in model.stream("hello")) == "Grüß dich!"
    usage = model.invoke("hello").usage_metadata
    assert (usage["input_tokens"], usage["input_token_details"]["cache_read"]) == (7, 4)
    (call,) = model.bind_tools([TOOL]).invoke("weather?").tool_calls
    assert (call["name"], call["args"]) == ("weather", {"place": "Ör"})
    assert model.with_structured_output(Weather).invoke("weather?") == Weather(place="Ör", degrees=-3)
    assert [answer.content for answer in model.batch(["a", "b", "c"])] == ["I see 0 images of 0 letters."] * 3


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(gateway: Gateway) -> None:
    def curl(*arguments: str) -> str:
        command = ["curl", "-sS", "--fail", "--max-time", "20", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    url = f"{gateway.url}/v1/chat/completions"
    body = json.dumps({"model": "tiny", "messages": ASK})
    assert json.loads(curl(url, "--json", body))["usage"] == USAGE
    lines = curl("-N", url, "--json", json.dumps({"model": "tiny", "messages": ASK, "stream": True})).splitlines()
    assert lines[-2:] == ["data: [DONE]", ""]
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "Grüß "
    large = json.dumps(
        {"model": "tiny", "messages": SEE}
    )  # curl asks to continue before a body of more than a megabyte
    padded = json.dumps({**json.loads(large), "user": "x" * 1_200_000})
    for version in ("--http1.1", "--http1.0"):
        answer = subprocess.run(
            ["curl", "-sS", version, "--max-time", "20", url, "-H", "content-type: application/json", "-d", "@-"],
            input=padded,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "1 images" in json.loads(answer)["choices"][0]["message"]["content"]
    assert "tiny" in curl(f"{gateway.url}/v1/models")
