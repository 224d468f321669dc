"""What the gateway reads of a request's body: the model and whether to stream. The rest passes through as it came."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from .answers import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``fields`` are the body's top level, each value as its own bytes."""

    model: str
    stream: bool
    fields: dict[str, msgspec.Raw]


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_body(body: bytes) -> Asked:
    """Raises ``Refusal`` (400) for what is no JSON object with a ``model``."""
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"The body is not a JSON object: {error}.") from error
    return Asked(model=_model(fields), stream=bytes(fields.get("stream", b"")) == b"true", fields=fields)


def _model(fields: dict[str, msgspec.Raw]) -> str:
    if "model" not in fields:
        raise Refusal(400, "The body names no 'model'.")
    try:
        return msgspec.json.decode(fields["model"], type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, "The body's 'model' is not a string.") from error


def with_model(body: bytes, asked: Asked, upstream: str) -> bytes:
    """The body as the engine wants it: with its own name for the model."""
    if asked.model == upstream:
        return body
    return msgspec.json.encode({**asked.fields, "model": upstream})
