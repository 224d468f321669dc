"""What an answer took is found at its end, and nowhere in its text."""

from __future__ import annotations

import json

from ampacity.serving.gateway.desk import NOT_COUNTED, Counted
from ampacity.serving.gateway.usage import counted_in, events_in

USAGE = {"prompt_tokens": 20, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 16}}


def test_an_answers_usage_is_read_whatever_its_text_says() -> None:
    text = 'the "usage": {"prompt_tokens": 99}'
    body = {"choices": [{"message": {"content": text}}], "usage": USAGE}
    for separators in ((",", ":"), (", ", ": ")):
        told = json.dumps(body, separators=separators).encode()
        assert counted_in(told) == Counted(input_tokens=20, cached_tokens=16, output_tokens=3)
    assert counted_in(json.dumps({"usage": USAGE, "text": text}).encode()).input_tokens == 20


def test_responses_count_under_other_names_and_some_say_nothing() -> None:
    assert counted_in(b'{"usage": {"input_tokens": 7, "output_tokens": 2}}') == Counted(input_tokens=7, output_tokens=2)
    assert counted_in(b'{"usage": null}') == Counted()
    assert counted_in(b"{}") is NOT_COUNTED


def test_a_stream_that_does_not_count_has_about_a_token_an_event() -> None:
    assert events_in([b"data: a\n\ndata: b\n\n", b"data: c\n\n"], b"data: [DONE]\n\n") == 4
