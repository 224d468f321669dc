"""A stream that was interrupted anywhere goes on to the same text; and what cannot go on is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.traffic import Resume
from ampacity.serving.gateway.answers import LAST_CHUNK, chunk
from ampacity.serving.gateway.chunked import Dechunker
from ampacity.serving.gateway.continuing import (
    CHAT,
    DONE,
    TEXT,
    CannotContinue,
    Progress,
    Rest,
    continued_body,
    ending,
    events,
    is_spent,
    progress_of,
)
from ampacity.serving.gateway.heads import AnswerHead, request_head
from ampacity.serving.gateway.streams import ContinuedStream, Stream, stream_for
from ampacity.serving.gateway.takeover import Takeover
from ampacity.serving.table import ModelRoute

WORDS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8)


def event(word: str, *, chat: bool, finish: str | None = None, **more: Any) -> bytes:
    said: dict[str, Any] = {"delta": {"content": word} if word else {}} if chat else {"text": word}
    plain = {"id": "a", "created": 1, "model": "m", "choices": [{"index": 0, **said, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(plain).encode() + b"\n\n"


def stream_of(words: list[str], *, chat: bool, **more: Any) -> list[bytes]:
    role = b'data: {"id": "a", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
    said = [event(word, chat=chat, **more) for word in words]
    return [*([role] if chat else []), *said, event("", chat=chat, finish="stop"), DONE]


def text_of(content: bytes, *, chat: bool) -> str:
    found = ""
    for data in events(content):
        if data != b"[DONE]":
            choice = json.loads(data)["choices"][0]
            found += choice["delta"].get("content", "") if chat else choice["text"]
    return found


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
@settings(deadline=None)
@given(words=WORDS, cut=st.integers(0, 4000), again=st.integers(0, 4000))
def test_a_stream_that_broke_anywhere_goes_on_to_the_same_events(
    chat: bool, chunked: bool, words: list[str], cut: int, again: int
) -> None:
    path = CHAT if chat else TEXT
    body: dict[str, Any] = {"model": "m", "stream": True, "max_tokens": 100}
    body |= {"messages": [{"role": "user", "content": "q"}]} if chat else {"prompt": "q"}
    route = ModelRoute(name="m", workload="w", upstream="m", replicas=())
    request = request_head(b"POST", path, [], keep_alive=True, version="1.1")
    passed, out = b"", stream_of(words, chat=chat)
    head = AnswerHead(status=200, forward=b"", chunked=chunked, events=True)
    stream: Stream = stream_for(head, chunks=True)
    for where in (cut, again):
        raw = b"".join(map(chunk, out)) if chunked else b"".join(out)
        raw = raw[: where % (len(raw) + 1)]
        passed += stream.piece(raw)
        taken = Takeover(stream, [raw], request=request, route=route, body=json.dumps(body).encode())
        if taken.rest is not None:
            passed += (chunk(taken.rest) if taken.rest else b"") + LAST_CHUNK
            break
        asked = json.loads(taken.body)
        last = asked["messages"][-1] if chat else {"role": "assistant", "content": asked["prompt"][1:]}
        said = last["content"] if last["role"] == "assistant" else ""
        assert said == text_of(Dechunker().feed(passed), chat=chat)
        assert asked["max_tokens"] == 100 - taken.progress.tokens
        out = stream_of(words[taken.progress.tokens :], chat=chat)
        stream = ContinuedStream(head, taken.progress, chunks=True)
    else:
        raw = b"".join(map(chunk, out)) + LAST_CHUNK if chunked else b"".join(out)
        passed += stream.last(raw)
    reader = Dechunker()
    content = reader.feed(passed)
    assert reader.ended
    assert text_of(content, chat=chat) == "".join(words)
    assert content.count(DONE) == 1
    assert content.count(b'"role":') == chat


def test_the_rest_looks_like_the_stream_that_it_continues() -> None:
    progress = progress_of(TEXT, event("one ", chat=False))
    rest = Rest(progress)
    other = event(
        "two", chat=False, id="other", created=9, model="/x", usage={"prompt_tokens": 7, "completion_tokens": 1}
    )
    said = json.loads(events(rest.feed(other[:20]) + rest.feed(other[20:]))[0])
    assert (said["id"], said["created"], said["model"]) == ("a", 1, "m")
    assert said["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8, "resumed": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"prompt": [1, 2]},
        {"echo": True},
        {"messages": "x"},
    ],
)
def test_what_has_a_state_is_not_continued(fields: dict[str, Any]) -> None:
    body = {"model": "m", "prompt": "q", **fields}
    with pytest.raises(CannotContinue):
        continued_body(json.dumps(body).encode(), Progress(chat=False, text="a"))


@pytest.mark.parametrize(
    "content",
    [
        b'data: {"choices": [{"index": 0}, {"index": 1}]}\n\n',
        b'data: {"choices": [{"index": 1}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"id": "c"}]}}]}\n\n',
        b'data: {"error": {"message": "x"}}\n\n',
        b"data: nonsense\n\n",
        b"data: 7\n\n",
    ],
)
def test_events_that_are_no_plain_text_are_not_continued(content: bytes) -> None:
    with pytest.raises(CannotContinue):
        progress_of(CHAT, content)


def test_other_paths_and_engines_that_do_not_understand_it_are_not_asked() -> None:
    with pytest.raises(CannotContinue):
        progress_of(b"/v1/responses", b"")
    assert Resume.ALL.covers(chat=True)
    assert Resume.COMPLETIONS.covers(chat=False)
    assert not Resume.COMPLETIONS.covers(chat=True)
    assert not Resume.NONE.covers(chat=False)


def test_when_all_tokens_have_come_only_the_end_is_made_up() -> None:
    progress = progress_of(TEXT, event("one", chat=False) + event("two", chat=False))
    assert is_spent(b'{"max_tokens": 2}', progress)
    assert not is_spent(b'{"max_tokens": 3}', progress)
    assert not is_spent(b"{}", progress)
    last = json.loads(events(ending(progress))[0])
    assert (last["id"], last["choices"]) == ("a", [{"index": 0, "finish_reason": "length", "text": ""}])
    progress.finished = True
    assert ending(progress) == DONE
    progress.done = True
    assert ending(progress) == b""
