"""The tokens that an engine says it has counted, found in an answer's bytes."""

from __future__ import annotations

import re

import msgspec

_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')
"""OpenAI's ``usage``, with its ``prompt_tokens_details`` within. A quote inside of a text has a backslash before it, so
that no words of a model can be taken for it."""


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


class Counted(msgspec.Struct, frozen=True):
    """``cached_tokens`` are some of the ``input_tokens``."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


_decoder = msgspec.json.Decoder(_Usage)


def counted_in(data: bytes) -> Counted | None:
    """What the last ``usage`` in it says, of chat, completions, embeddings or responses; ``None``: there is none."""
    at = data.rfind(b'"usage"')
    match = None if at < 0 else _USAGE.match(data, at)
    if match is None:
        return None
    try:
        said = _decoder.decode(match[1])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    given = said.prompt_tokens if said.input_tokens is None else said.input_tokens
    if given is None:
        return None
    made = said.completion_tokens if said.output_tokens is None else said.output_tokens
    details = said.prompt_tokens_details or said.input_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    return Counted(
        input_tokens=max(0, given), output_tokens=max(0, made or 0), cached_tokens=min(max(0, cached), max(0, given))
    )
