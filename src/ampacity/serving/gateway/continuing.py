"""A stream whose engine died, continued on another one: what was said so far, the request that asks for the rest, and
the rest made to look as if nothing had happened. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

CHAT, TEXT = b"/v1/chat/completions", b"/v1/completions"
DONE = b"data: [DONE]\n\n"

NOT_CONTINUED = ("logprobs", "top_logprobs", "prompt_logprobs", "echo", "suffix", "guided_json", "structured_outputs")
"""Fields of a request whose answer has a state that another engine cannot take up."""


class CannotContinue(Exception):
    """Why this stream cannot be taken up by another engine."""


@dataclass(slots=True)
class Progress:
    """What the client has seen of a stream. ``first``: the first event, for what all events have in common."""

    chat: bool
    text: str = ""
    tokens: int = 0
    resumed: int = 0
    role_seen: bool = False
    finished: bool = False
    done: bool = False
    first: dict[str, Any] = field(default_factory=dict)
    taken_over_at: int = 0

    def advanced(self) -> bool:
        """Whether a token has come since this was asked last."""
        before, self.taken_over_at = self.taken_over_at, self.tokens
        return self.tokens > before

    def note(self, event: dict[str, Any]) -> None:
        """One more event was passed on. Raises ``CannotContinue``."""
        self.first = self.first or event
        choices = event.get("choices") or []
        if len(choices) > 1 or any(choice.get("index", 0) for choice in choices):
            raise CannotContinue("it has several choices")
        for choice in choices:
            said = self._said(choice)
            if said:
                self.text += said
                self.tokens += 1
            self.finished = self.finished or choice.get("finish_reason") is not None

    def _said(self, choice: dict[str, Any]) -> str:
        if not self.chat:
            return str(choice.get("text") or "")
        delta = choice.get("delta") or {}
        for name, value in delta.items():
            if value and name not in ("role", "content"):
                raise CannotContinue(f"it has {name!r}")
        self.role_seen = self.role_seen or "role" in delta
        return str(delta.get("content") or "")


def events(content: bytes) -> list[bytes]:
    """The data of each event of a stream's content, which ends with an event's end."""
    found = []
    for block in content.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        if lines:
            found.append(b"\n".join(lines))
    return found


def progress_of(path: bytes, content: bytes) -> Progress:
    """What was said in the events that were passed on. Raises ``CannotContinue``."""
    if path not in (CHAT, TEXT):
        raise CannotContinue(f"{path.decode(errors='replace')} is not continued")
    progress = Progress(chat=path == CHAT)
    for data in events(content):
        if data == b"[DONE]":
            progress.done = True
            continue
        progress.note(_event(data))
    return progress


def _event(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CannotContinue("an event is not JSON") from error
    if not isinstance(event, dict) or "error" in event:
        raise CannotContinue("an event is none of a completion's")
    return event


def continued_body(body: bytes, progress: Progress) -> bytes:
    """The request for the rest: the prompt and what was said so far, and as many tokens less. Raises
    ``CannotContinue``."""
    asked: dict[str, Any] = msgspec.json.decode(body)
    _refuse_what_has_state(asked)
    if progress.text:
        if progress.chat:
            said = {"role": "assistant", "content": progress.text}
            asked["messages"] = [*asked["messages"], said]
            asked["continue_final_message"], asked["add_generation_prompt"] = True, False
        else:
            asked["prompt"] += progress.text
    for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
        if isinstance(asked.get(name), int):
            asked[name] = max(0 if name == "min_tokens" else 1, asked[name] - progress.tokens)
    return msgspec.json.encode(asked)


def is_spent(body: bytes, progress: Progress) -> bool:
    """Whether all tokens that were asked for have come, so that only the end is missing."""
    asked: dict[str, Any] = msgspec.json.decode(body)
    limits = [asked[name] for name in ("max_tokens", "max_completion_tokens") if isinstance(asked.get(name), int)]
    return bool(limits) and progress.tokens >= min(limits)


def _refuse_what_has_state(asked: dict[str, Any]) -> None:
    for name in NOT_CONTINUED:
        if asked.get(name):
            raise CannotContinue(f"it asks for {name!r}")
    if asked.get("n", 1) not in (1, None):
        raise CannotContinue("it asks for several choices")
    form = asked.get("response_format")
    if isinstance(form, dict) and form.get("type") not in (None, "text"):
        raise CannotContinue("it asks for a format")
    if "messages" in asked:
        if not isinstance(asked["messages"], list):
            raise CannotContinue("its messages are no list")
    elif not isinstance(asked.get("prompt"), str):
        raise CannotContinue("its prompt is no text")


def ending(progress: Progress) -> bytes:
    """The events that are missing when an engine died after the last token."""
    if progress.done:
        return b""
    if progress.finished:
        return DONE
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
    if progress.chat:
        choice["delta"] = {}
    else:
        choice["text"] = ""
    return _data({**progress.first, "choices": [choice]}) + DONE


class Rest:
    """Rewrites the events of a continuation into those of the stream that it continues."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._before = progress.tokens
        self._held = b""
        progress.resumed += 1

    def feed(self, content: bytes) -> bytes:
        """The events to pass on. Raises ``CannotContinue``."""
        data = self._held + content
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4)
        if end < 4:
            end = 0
        self._held = data[end:]
        return b"".join(self._rewritten(each) for each in events(data[:end]))

    def _rewritten(self, data: bytes) -> bytes:
        progress = self.progress
        if data == b"[DONE]":
            progress.done = True
            return DONE
        event = _event(data)
        before, had_role = progress.text, progress.role_seen
        for name in ("id", "created", "model", "system_fingerprint"):
            if name in progress.first:
                event[name] = progress.first[name]
        progress.note(event)
        self._count_usage(event)
        choices = event.get("choices") or []
        silent = bool(choices) and progress.text == before and choices[0].get("finish_reason") is None
        return b"" if silent and had_role else _data(event)

    def _count_usage(self, event: dict[str, Any]) -> None:
        """The continuation's prompt has what was said before in it: that was the answer's, not the question's."""
        usage = event.get("usage")
        if not isinstance(usage, dict):
            return
        usage["prompt_tokens"] = max(0, usage.get("prompt_tokens", 0) - self._before)
        usage["completion_tokens"] = usage.get("completion_tokens", 0) + self._before
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        usage["resumed"] = self.progress.resumed


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"
